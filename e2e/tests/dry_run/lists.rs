//! The two checked-in lists: where the gateway is narrower, and what the engine could not be asked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use e2e::{Answer, workspace};

use super::VERBS;
use super::requests::Route;

/// The engine has no such operation, or not with this method.
pub const NO_HANDLER: &str = "no handler on this node";

/// Operations that a verb has in the engine and not here.
#[derive(Default)]
pub struct Narrower {
    found: BTreeMap<String, BTreeSet<usize>>,
}

/// Routes without a decision of the engine, with what it answers instead.
#[derive(Default)]
pub struct NotAsked {
    found: BTreeMap<String, String>,
    /// The verbs that have them here all the same.
    granted: BTreeMap<String, Vec<&'static str>>,
}

impl Narrower {
    pub fn add(&mut self, route: &Route, verb: &str) {
        let at = VERBS.iter().position(|(name, _)| *name == verb).expect("a verb");
        self.found.entry(route.operation.clone()).or_default().insert(at);
    }

    /// Every operation the file names.
    pub fn written_operations() -> Vec<String> {
        read("narrower.txt").into_keys().filter_map(|key| Some(key.split_once(' ')?.0.to_owned())).collect()
    }

    /// What the file does not say, says too much, or says without a reason. Empty when it is exactly this.
    pub fn compare(&self) -> String {
        let written = read("narrower.txt");
        let found: BTreeSet<String> = self
            .found
            .iter()
            .flat_map(|(operation, verbs)| verbs.iter().map(move |at| format!("{operation} {}", VERBS[*at].0)))
            .collect();
        if is_to_be_written() {
            write("narrower.txt", self.lines(&written));
        }
        let known: BTreeSet<String> = written.keys().cloned().collect();
        let mut problems = differences("narrower.txt", &found, &known);
        for (key, _) in written.iter().filter(|(_, reason)| reason.len() < 10) {
            problems.push_str(&format!("narrower.txt gives no reason for `{key}`\n"));
        }
        problems
    }

    /// One line for the verbs of an operation that have the same reason.
    fn lines(&self, written: &BTreeMap<String, String>) -> Vec<String> {
        let mut lines = Vec::new();
        for (operation, verbs) in &self.found {
            let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
            for at in verbs {
                let verb = VERBS[*at].0;
                let reason = written.get(&format!("{operation} {verb}")).map_or("", String::as_str);
                match reasons.iter_mut().find(|(known, _)| *known == reason) {
                    Some((_, verbs)) => verbs.push(verb),
                    None => reasons.push((reason, vec![verb])),
                }
            }
            for (reason, verbs) in reasons {
                lines.push(format!("{operation:<40} {:<60} : {reason}", verbs.join(",")));
            }
        }
        lines
    }
}

impl NotAsked {
    pub fn add(&mut self, route: &Route, answer: &str) {
        self.found.entry(format!("{} {}", route.method, route.path)).or_insert_with(|| answer.to_owned());
    }

    pub fn grant(&mut self, route: &Route, verb: &str) {
        let verb = VERBS.iter().find(|(name, _)| *name == verb).expect("a verb").0;
        self.granted.entry(format!("{} {}", route.method, route.path)).or_default().push(verb);
    }

    /// What the file does not say, says too much, or says without a reason. Empty when it is exactly this.
    pub fn compare(&self) -> String {
        let found: BTreeSet<String> = self
            .found
            .iter()
            .map(|(route, answer)| match self.granted.get(route) {
                None => format!("{route} : {answer}"),
                Some(verbs) => format!("{route} : {answer} : granted to {}", verbs.join(",")),
            })
            .collect();
        // Behind who has it stands why the engine is not asked, and why it is right.
        let mut reasons = BTreeMap::new();
        for (key, rest) in lines("not_asked.txt") {
            let (answer, granted) = rest.split_once(" : granted to ").unwrap_or((&rest, ""));
            let (verbs, reason) = granted.split_once(" : ").unwrap_or((granted, ""));
            let line = match verbs {
                "" => format!("{key} : {answer}"),
                _ => format!("{key} : {answer} : granted to {verbs}"),
            };
            reasons.insert(line, reason.to_owned());
        }
        if is_to_be_written() {
            let with_reason = |line: &String| match reasons.get(line).filter(|reason| !reason.is_empty()) {
                Some(reason) => format!("{line} : {reason}"),
                None => line.clone(),
            };
            write("not_asked.txt", found.iter().map(with_reason).collect());
        }
        let mut problems = differences("not_asked.txt", &found, &reasons.keys().cloned().collect());
        for (line, _) in reasons.iter().filter(|(line, reason)| line.contains(" : granted to ") && reason.len() < 10) {
            problems.push_str(&format!("not_asked.txt gives no reason for `{line}`\n"));
        }
        problems
    }
}

/// Status and type of error, which do not change from run to run.
pub fn describe(answer: &Answer) -> String {
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    match body["error"]["type"].as_str() {
        Some(kind) => format!("{} {kind}", answer.status),
        None => answer.status.to_string(),
    }
}

/// `operation verb` to reason.
fn read(file: &str) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (key, reason) in lines(file) {
        let (operation, verbs) = key.split_once(' ').unwrap_or_else(|| panic!("{file}: no verb in `{key}`"));
        for verb in verbs.trim().split(',') {
            let before = all.insert(format!("{operation} {verb}"), reason.clone());
            assert!(before.is_none(), "{file}: `{operation} {verb}` is there twice");
        }
    }
    all
}

/// Left and right of ` : `, without the head of the file.
fn lines(file: &str) -> impl Iterator<Item = (String, String)> {
    let text = std::fs::read_to_string(path(file)).unwrap_or_default();
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let file = file.to_owned();
    lines.into_iter().filter(|line| !line.is_empty() && !line.starts_with('#')).map(move |line| {
        let (key, rest) = line.split_once(" :").unwrap_or_else(|| panic!("{file}: no ` : ` in `{line}`"));
        (key.trim().to_owned(), rest.trim().to_owned())
    })
}

fn write(file: &str, lines: Vec<String>) {
    let text = std::fs::read_to_string(path(file)).unwrap_or_default();
    let head: String = text
        .lines()
        .take_while(|line| line.is_empty() || line.starts_with('#'))
        .map(|line| format!("{line}\n"))
        .collect();
    let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(path(file), head + &body).expect("write the list");
}

fn is_to_be_written() -> bool {
    std::env::var_os("OAUTH4OS_WRITE_LISTS").is_some()
}

fn path(file: &str) -> PathBuf {
    workspace().join("server/classify").join(file)
}

/// The lines that only one side has.
fn differences(file: &str, found: &BTreeSet<String>, written: &BTreeSet<String>) -> String {
    let missing = found.difference(written).map(|line| format!("{file} lacks `{line}`\n"));
    let too_many = written.difference(found).map(|line| format!("{file} has `{line}`, which was not found\n"));
    missing.chain(too_many).collect()
}
