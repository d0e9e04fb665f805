//! A process that outlives the command that started it: identified by its id **and** its start time, so that
//! nobody else's process is ever ended.

use std::fs::File;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, WaitOptions};
use serde::{Deserialize, Serialize};

use crate::account::Account;
use crate::files;
use crate::progress::Progress;

/// How long a process may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(30);

/// A process we started.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Started {
    /// Its id; it is also the leader of its process group.
    pub pid: u32,
    /// When it began, in the system's own spelling.
    pub began: String,
    /// The port it listens on.
    pub http_port: u16,
}

/// Where its output goes and what it runs as.
pub struct Launch<'a> {
    /// What to run.
    pub command: Command,
    /// Everything it prints.
    pub log: &'a Path,
    /// Whom it runs as; `None`: ourselves.
    pub account: Option<&'a Account>,
    /// The port it will listen on.
    pub http_port: u16,
    /// The file that remembers it.
    pub record: &'a Path,
}

impl Launch<'_> {
    /// Starts it in a process group of its own, so that an interrupt of this command does not reach it, and
    /// remembers it.
    pub fn start(mut self) -> Result<(Child, Started)> {
        let log = File::create(self.log).with_context(|| format!("{} cannot be written", self.log.display()))?;
        self.command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        if let Some(account) = self.account {
            // Set by root, this also drops the supplementary groups.
            self.command.uid(account.uid).gid(account.gid);
        }
        let program = self.command.get_program().to_string_lossy().into_owned();
        let child = self.command.spawn().with_context(|| format!("`{program}` cannot be started"))?;
        let pid = child.id();
        let began =
            start_time(pid).with_context(|| format!("`{program}` ended at once: see {}", self.log.display()))?;
        let started = Started { pid, began, http_port: self.http_port };
        files::write_json(self.record, &started)?;
        Ok((child, started))
    }
}

impl Started {
    /// The process remembered in this file, if it still runs.
    pub fn running(record: &Path) -> Option<Self> {
        let started: Self = serde_json::from_slice(&std::fs::read(record).ok()?).ok()?;
        started.runs().then_some(started)
    }

    /// Whether it still runs.
    pub fn runs(&self) -> bool {
        start_time(self.pid).is_some_and(|began| began == self.began)
    }

    /// Ends it with everything it started: asks, waits, and after a while insists. Its record is deleted.
    pub fn stop(&self, record: &Path, mut progress: Progress) -> Result<()> {
        let ours = self.runs();
        if ours {
            self.signal(Signal::TERM);
        }
        let asked = Instant::now();
        let mut insisted = false;
        // The id of a group is not given to anybody else while one of its members lives.
        while self.runs() || (ours && self.group_lives()) {
            if asked.elapsed() > PATIENCE && !insisted {
                self.signal(Signal::KILL);
                insisted = true;
            }
            if asked.elapsed() > PATIENCE * 2 {
                bail!("process {} does not end: end it by hand (kill -9 {})", self.pid, self.pid);
            }
            progress.tick("");
            std::thread::sleep(Duration::from_millis(50));
        }
        files::remove(record)?;
        progress.done(if insisted { "it had to be killed" } else { "" });
        Ok(())
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group() {
            // It may have ended in between; the loop that waits for it sees that.
            let _ = rustix::process::kill_process_group(group, signal);
        }
    }

    /// Whether somebody of its group is alive. The dead count as members until their parent has waited for them: that
    /// may be us, and it may be another program that started this one and goes on.
    fn group_lives(&self) -> bool {
        let _ = rustix::process::waitpid(self.group(), WaitOptions::NOHANG);
        self.group().is_some_and(|group| rustix::process::test_kill_process_group(group).is_ok())
            && has_living_member(self.pid)
    }

    fn group(&self) -> Option<Pid> {
        i32::try_from(self.pid).ok().and_then(Pid::from_raw)
    }
}

/// Whether a process of this group is more than an entry nobody has waited for; where nobody can say, there is one.
fn has_living_member(group: u32) -> bool {
    let Ok(processes) = std::fs::read_dir("/proc") else { return true };
    let mut seen_any = false;
    for process in processes.flatten() {
        let Ok(stat) = std::fs::read_to_string(process.path().join("stat")) else { continue };
        seen_any = true;
        // The second field is the program's name in parentheses and may hold anything; then state, parent, group.
        let Some((_, fields)) = stat.rsplit_once(')') else { continue };
        let mut fields = fields.split_ascii_whitespace();
        let is_dead = fields.next().is_some_and(|state| matches!(state, "Z" | "X"));
        if !is_dead && fields.nth(1) == Some(group.to_string().as_str()) {
            return true;
        }
    }
    !seen_any
}

/// Refuses with a sentence if the port is taken. A program that was just killed may hold its port a moment
/// longer, so a taken port is asked again for two seconds.
pub fn require_free_port(port: u16, purpose: &str, advice: &str) -> Result<()> {
    let began = Instant::now();
    loop {
        match TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                if began.elapsed() > Duration::from_secs(2) {
                    bail!("port {port} ({purpose}) is in use by another program: {advice}");
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            Err(error) => bail!("port {port} ({purpose}) cannot be opened ({error}): {advice}"),
        }
    }
}

/// When a process began, or `None` if there is none of this id (a dead one nobody waited for counts as none).
fn start_time(pid: u32) -> Option<String> {
    if Path::new("/proc/self/stat").exists() {
        let stat = std::fs::read_to_string(PathBuf::from(format!("/proc/{pid}/stat"))).ok()?;
        // The second field is the program's name in parentheses and may hold anything.
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_ascii_whitespace();
        let state = fields.next()?;
        let began = fields.nth(18)?;
        return (!matches!(state, "Z" | "X")).then(|| began.to_owned());
    }
    let asked = Command::new("ps").args(["-o", "stat=,lstart=", "-p", &pid.to_string()]).output().ok()?;
    let line = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
    let (state, began) = line.split_once(' ')?;
    (!state.starts_with('Z')).then(|| began.trim().to_owned())
}

/// Where a program is on the search path.
pub fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|found| found.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start_time_too() {
        let folder = tempfile::tempdir().unwrap();
        let record = folder.path().join("process.json");
        let mut command = Command::new("sleep");
        command.arg("60");
        let launch = Launch { command, log: &folder.path().join("log"), account: None, http_port: 1, record: &record };
        let (_child, started) = launch.start().unwrap();
        assert_eq!(Started::running(&record), Some(started.clone()));

        let other = Started { began: "1".into(), ..started.clone() };
        assert!(!other.runs());
        other.stop(&folder.path().join("none"), Progress::start("stopping nothing")).unwrap();
        assert!(started.runs(), "a process that began at another time is left alone");

        started.stop(&record, Progress::start("stopping")).unwrap();
        assert!(!started.runs() && !started.group_lives());
        assert!(!record.exists());
    }

    #[test]
    fn what_a_process_started_ends_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let record = folder.path().join("process.json");
        let mut command = Command::new("sh");
        // The child goes on when its parent is asked to end.
        command.args(["-c", "sleep 60 & trap 'exit 0' TERM; wait"]);
        let launch = Launch { command, log: &folder.path().join("log"), account: None, http_port: 1, record: &record };
        let (_child, started) = launch.start().unwrap();
        started.stop(&record, Progress::start("stopping")).unwrap();
        assert!(!started.group_lives());
    }

    /// As when a test ends what the program around it has started: nobody waits for the dead process meanwhile.
    #[test]
    fn a_dead_process_that_nobody_has_waited_for_is_dead() {
        let mut child = Command::new("sleep").arg("60").process_group(0).spawn().unwrap();
        assert!(has_living_member(child.id()));
        child.kill().unwrap();
        let stat = PathBuf::from(format!("/proc/{}/stat", child.id()));
        let is_dead = || std::fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") Z "));
        while stat.exists() && !is_dead() {
            std::thread::yield_now();
        }
        assert!(!stat.exists() || !has_living_member(child.id()));
        child.wait().unwrap();
    }

    #[test]
    fn a_taken_port_is_refused() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = require_free_port(port, "HTTP", "choose another").unwrap_err().to_string();
        assert!(error.contains("is in use"), "{error}");
    }
}
