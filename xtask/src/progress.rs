//! What is happening, shown while one waits: one line that updates itself on a terminal, a plain line every
//! few seconds elsewhere. Everything goes to standard error, so that standard output stays for results.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often a line is printed where it cannot update itself.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);
const TERMINAL_INTERVAL: Duration = Duration::from_millis(200);

/// One task in progress.
pub struct Progress {
    task: String,
    began: Instant,
    shown: Instant,
    terminal: bool,
}

impl Progress {
    /// Says that `task` begins ("starting OpenSearch 3.4.0").
    pub fn start(task: impl Into<String>) -> Self {
        let now = Instant::now();
        let progress = Self { task: task.into(), began: now, shown: now, terminal: std::io::stderr().is_terminal() };
        if progress.terminal {
            progress.redraw("");
        } else {
            eprintln!("{} ...", progress.task);
        }
        progress
    }

    /// Says how far it is; call as often as you like.
    pub fn tick(&mut self, detail: &str) {
        let interval = if self.terminal { TERMINAL_INTERVAL } else { PLAIN_INTERVAL };
        if self.shown.elapsed() < interval {
            return;
        }
        self.shown = Instant::now();
        if self.terminal {
            self.redraw(detail);
        } else {
            eprintln!("{} ... {} s{}", self.task, self.began.elapsed().as_secs(), with_comma(detail));
        }
    }

    /// Says that it is done.
    pub fn done(self, detail: &str) {
        let line = format!("{}: done in {:.1} s{}", self.task, self.began.elapsed().as_secs_f64(), with_comma(detail));
        if self.terminal {
            eprintln!("\r\x1b[K{line}");
        } else {
            eprintln!("{line}");
        }
    }

    /// How long it has taken.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    fn redraw(&self, detail: &str) {
        let mut out = std::io::stderr().lock();
        // Progress is a courtesy: where it cannot be written, the work goes on.
        let _ = write!(out, "\r\x1b[K{} ... {} s{}", self.task, self.began.elapsed().as_secs(), with_comma(detail));
        let _ = out.flush();
    }
}

/// One line about something that needs no waiting.
pub fn say(line: &str) {
    eprintln!("{line}");
}

/// "133 MB".
pub fn megabytes(bytes: u64) -> String {
    if bytes < 1_000_000 { format!("{} kB", bytes.div_ceil(1_000)) } else { format!("{} MB", bytes / 1_000_000) }
}

fn with_comma(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(", {detail}") }
}
