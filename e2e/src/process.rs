//! Child processes that never outlive the test, however it ends.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::until;

/// Starts the program, says its id, and ends it when standard input ends: when the test says so, and also when the
/// test's process is gone without a word, which no destructor notices.
const KEEPER: &str = r#""$@" </dev/null >&2 & echo $!; while read -r signal; do kill -s "$signal" $!; done; kill -s KILL $! 2>/dev/null; wait $!; echo $?"#;

/// A running program.
pub(crate) struct Process {
    keeper: Child,
    stdout: BufReader<ChildStdout>,
    pid: u32,
}

impl Process {
    /// Starts `program` with its arguments and variables, and its output in `log`.
    pub(crate) fn start(program: &Command, log: &File) -> Self {
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, "sh"]).arg(program.get_program()).args(program.get_args());
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => keeper.env(name, value),
                None => keeper.env_remove(name),
            };
        }
        let mut keeper = keeper
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log.try_clone().expect("a log"))
            .spawn()
            .expect("start a shell");
        let mut stdout = BufReader::new(keeper.stdout.take().expect("the keeper speaks"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("the program's id");
        let pid = line.trim().parse().expect("the program's id is a number");
        Self { keeper, stdout, pid }
    }

    pub(crate) const fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it is there and no zombie.
    pub(crate) fn is_running(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
    }

    /// How a process that is over has ended, as a shell says it: above 128 by a signal.
    pub(crate) fn exit_status(&mut self) -> String {
        drop(self.keeper.stdin.take());
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("the program's end");
        line.trim().to_owned()
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&mut self, signal: &str) {
        let stdin = self.keeper.stdin.as_mut().expect("the keeper listens");
        writeln!(stdin, "{signal}").expect("tell the keeper");
    }

    /// Sends a signal by its name and waits for the end.
    pub(crate) fn signal_and_wait(&mut self, signal: &str) {
        self.signal(signal);
        until("the program to end", Duration::from_secs(40), || (!self.is_running()).then_some(()));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        // Whatever it answers, it is over.
        let _ = self.keeper.wait();
    }
}
