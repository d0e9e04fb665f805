//! A program under measurement: pinned to a core, its times and memory read from the system, ended when dropped.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal};

use crate::files;

/// How long a program may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much a session under measurement is preferred, on the scale of `nice`.
const PREFERENCE: &str = "-15";

/// A program that runs.
pub struct Program {
    name: String,
    child: Child,
}

/// Processor time used so far, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    pub user: f64,
    pub system: f64,
}

/// A command that runs on one core, in a session of its own: the kernel shares time out between sessions first, so that a
/// program does not get less of its core the more is going on elsewhere in this one.
pub fn on_core(core: usize, program: &Path) -> Command {
    // Each of these becomes the next, so the id stays the same. In a session of its own the program would not hear of an
    // interrupt, and outlive this one.
    let mut command = Command::new("setsid");
    command.args(["setpriv", "--pdeathsig", "TERM", "taskset", "--cpu-list"]).arg(core.to_string()).arg(program);
    command
}

/// Gives a program's session the precedence over others, so that a measurement is not disturbed by what else runs. Only
/// root may; without it, or where the kernel does not group sessions, rounds are disturbed more often and measured again.
pub fn prefer(child: &Child) {
    let group = format!("/proc/{}/autogroup", child.id());
    let session = |text: &str| text.split_whitespace().next().map(str::to_owned);
    let own = std::fs::read_to_string("/proc/self/autogroup").ok();
    let began = Instant::now();
    // Until `setsid` has run, the session is ours.
    while began.elapsed() < Duration::from_secs(1) {
        let Ok(text) = std::fs::read_to_string(&group) else { return };
        if session(&text) != own.as_deref().and_then(session) {
            let _ = std::fs::write(&group, PREFERENCE);
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

impl Program {
    /// Starts it, with everything it prints in `log`.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let output = File::create(log).with_context(|| format!("{} cannot be written", log.display()))?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().with_context(|| format!("{name} cannot be started"))?;
        prefer(&child);
        Ok(Self { name: name.to_owned(), child })
    }

    /// Waits until `ready` says so.
    pub fn wait_until(&mut self, log: &Path, mut ready: impl FnMut() -> bool) -> Result<()> {
        let began = Instant::now();
        while !ready() {
            if self.child.try_wait()?.is_some() {
                bail!("{} ended; the end of its log:\n{}", self.name, files::last_lines(log, 10));
            }
            if began.elapsed() > PATIENCE {
                bail!("{} does not answer; the end of its log:\n{}", self.name, files::last_lines(log, 10));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Its id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The time all its threads have used, by the system's accounting.
    pub fn usage(&self) -> Result<Usage> {
        let stat = self.read("stat")?;
        // The second field is the program's name in parentheses and may hold anything.
        let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_ascii_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|ticks| ticks.parse::<f64>().ok());
        let (Some(user), Some(system)) = (ticks(11), ticks(12)) else {
            bail!("the times of {} cannot be read", self.name);
        };
        #[expect(clippy::cast_precision_loss, reason = "the system's ticks are some hundred in a second")]
        let per_second = rustix::param::clock_ticks_per_second() as f64;
        Ok(Usage { user: user / per_second, system: system / per_second })
    }

    /// Its resident memory.
    pub fn rss_kb(&self) -> Result<u64> {
        let status = self.read("status")?;
        status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?.trim().parse().ok())
            .with_context(|| format!("the memory of {} cannot be read", self.name))
    }

    /// Ends it.
    pub fn stop(mut self) -> Result<()> {
        self.end().with_context(|| format!("{} (process {}) cannot be ended", self.name, self.child.id()))
    }

    fn read(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.child.id());
        std::fs::read_to_string(&path).with_context(|| format!("{path} cannot be read"))
    }

    fn end(&mut self) -> std::io::Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            rustix::process::kill_process(pid, Signal::TERM)?;
        }
        let asked = Instant::now();
        while self.child.try_wait()?.is_none() {
            if asked.elapsed() > PATIENCE {
                self.child.kill()?;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // An error was reported by `stop`, or another one is on its way.
        let _ = self.end();
    }
}

/// A port that is free now.
pub fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).context("no port is free")?;
    Ok(listener.local_addr()?.port())
}

/// Whether something listens on a port of this machine.
pub fn listens(port: u16) -> bool {
    std::net::TcpStream::connect((std::net::Ipv4Addr::LOCALHOST, port)).is_ok()
}
