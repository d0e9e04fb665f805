//! The gateway's other commands, run to their end.

use std::ffi::OsStr;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::gateway::Run;
use crate::{paths, until};

/// How long a command may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs `oauth4os` with these arguments and these variables on top of the test's own, and waits for its end.
///
/// # Panics
/// When it does not end in time.
#[must_use]
pub fn run_to_end(arguments: &[&OsStr], variables: &[(&str, &str)]) -> Run {
    let program = paths::binary("oauth4os");
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_remove("OAUTH4OS_ENGINE_PASSWORD")
        .env_remove("OAUTH4OS_CONFIG")
        .envs(variables.iter().copied());
    let child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("run the gateway");
    let mut child = Ended(Some(child));
    // What these commands print fits into a pipe.
    until(&format!("the end of `oauth4os {arguments:?}`"), LIMIT, || child.is_over().then_some(()));
    Run::from(child.0.take().expect("a child").wait_with_output().expect("its output"))
}

/// A child that does not outlive a test that gives up on it.
struct Ended(Option<std::process::Child>);

impl Ended {
    fn is_over(&mut self) -> bool {
        self.0.as_mut().is_some_and(|child| child.try_wait().expect("ask for the child").is_some())
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
