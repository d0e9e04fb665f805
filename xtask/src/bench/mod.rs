//! What a request costs in the gateway, beside HAProxy in the same run.
//!
//! Gateway and HAProxy stand in turn before the same trivial backend and get the very same requests. Each has one core;
//! load and backend have the other. What is compared is CPU time for each request by the system's own accounting,
//! because time on the wall depends on whatever else the machine does.

mod backend;
mod gateway;
mod haproxy;
mod idle;
mod load;
mod machine;
mod profile;
mod program;
mod report;
mod tokens;

use std::fmt;
use std::fs::File;
use std::path::PathBuf;

use anyhow::{Result, bail};
use serde::Serialize;

use crate::certs::Certificates;
use crate::progress::say;
use crate::{build, files};
use gateway::Gateway;
use haproxy::HAProxy;
use load::Requests;
use machine::{Machine, Versions};
use program::Program;
use tokens::Token;

/// Distinct tokens, each in use before the measurement begins.
const TOKENS: usize = 2_000;
/// TLS connections that are kept open.
const CONNECTIONS: usize = 32;
/// Cedar policies in force.
const POLICIES: usize = 100;
/// Idle connections that are counted.
const IDLE: usize = 2_000;
/// Seconds of load before each measurement.
const WARM_UP: u64 = 2;
/// A round is disturbed when others take more than this share of a proxy's core; then another is added, up to so many times
/// as many rounds as were asked for.
const QUIET: f64 = 0.15;
const ATTEMPTS: usize = 4;
/// The core of the proxies, and that of load and backend.
const PROXY_CORE: usize = 0;
const LOAD_CORE: usize = 1;

/// What is asked for.
pub struct Options {
    /// How the gateway is compiled.
    pub profile: Profile,
    /// A gateway that is compiled already.
    pub binary: Option<PathBuf>,
    /// An earlier build of the gateway that is measured in turn with the others.
    pub baseline: Option<PathBuf>,
    /// Undisturbed measurements of each proxy.
    pub rounds: usize,
    /// Seconds of each measurement.
    pub seconds: u64,
    /// Whether `benches/` gets the result; otherwise it is only printed.
    pub write: bool,
}

/// How the gateway is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Without link-time optimisation.
    Quick,
    /// As it is shipped, but with its symbols.
    Release,
}

/// One of those that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Proxy {
    Gateway,
    Haproxy,
    /// An earlier build of the gateway.
    Baseline,
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gateway => "the gateway",
            Self::Haproxy => "HAProxy",
            Self::Baseline => "the earlier build",
        })
    }
}

/// A proxy that takes part.
struct Contender {
    proxy: Proxy,
    program: Program,
    port: u16,
    requests: Requests,
    /// What it writes.
    written: Option<PathBuf>,
}

/// One measurement.
#[derive(Debug, Serialize)]
struct Round {
    round: usize,
    proxy: Proxy,
    requests: u64,
    /// Answers other than 2xx, and connections that failed.
    errors: u64,
    requests_per_second: f64,
    /// User and system time of the process, for each request, in microseconds.
    cpu_us: f64,
    user_us: f64,
    system_us: f64,
    p50_us: f64,
    p99_us: f64,
    /// Resident memory after the load, in kB.
    rss_kb: u64,
    /// How busy its core was with something else, as a share of the time.
    others_on_core: f64,
}

/// What an idle connection holds.
#[derive(Debug, Serialize)]
struct IdleMemory {
    proxy: Proxy,
    connections: usize,
    rss_before_kb: u64,
    rss_after_kb: u64,
    kb_per_connection: f64,
    cipher_suite: String,
}

/// Everything measured.
#[derive(Debug, Serialize)]
struct Measurements {
    machine: Machine,
    versions: Versions,
    /// Unknown where the gateway was compiled before.
    profile: Option<Profile>,
    setup: Setup,
    rounds: Vec<Round>,
    idle: Vec<IdleMemory>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cycles: Option<profile::Breakdown>,
}

/// How it was measured.
#[derive(Debug, Serialize)]
struct Setup {
    /// Rounds that count.
    rounds: usize,
    tokens: usize,
    token_characters: usize,
    connections: usize,
    policies: usize,
    clients: usize,
    seconds: u64,
    warm_up_seconds: u64,
    request_body_bytes: usize,
    answer_body_bytes: usize,
}

/// Measures, and writes `benches/REPORT.md` and `benches/quick.json`.
pub fn run(options: &Options) -> Result<()> {
    let versions = Versions::find()?;
    let machine = Machine::describe()?;
    if machine.cores < 2 {
        bail!("the benchmark needs two cores: one for the proxies, one for load and backend");
    }
    let binary = match &options.binary {
        Some(binary) => binary.clone(),
        None => compile(options.profile)?,
    };
    let folder = build::target().join("bench");
    files::empty_folder(&folder)?;
    let certificates = Certificates::ensure(&folder.join("certs"))?;
    let backend = backend::start(&folder)?;

    let gateway = Gateway::prepare(&folder.join("gateway"), &binary, &certificates, backend.port)?;
    let program = gateway.start()?;
    let tokens = gateway.tokens(TOKENS)?;
    let requests = Requests::write(&folder, &tokens)?;
    let haproxy = HAProxy::prepare(&folder, &certificates, backend.port)?;
    let mut contenders = vec![
        Contender {
            proxy: Proxy::Gateway,
            program,
            port: gateway.port,
            requests: requests.clone(),
            written: Some(gateway.audit()),
        },
        Contender { proxy: Proxy::Haproxy, program: haproxy.start()?, port: haproxy.port, requests, written: None },
    ];
    if let Some(binary) = &options.baseline {
        let folder = folder.join("baseline");
        let gateway = Gateway::prepare(&folder, binary, &certificates, backend.port)?;
        let program = gateway.start()?;
        let requests = Requests::write(&folder, &gateway.tokens(TOKENS)?)?;
        contenders.push(Contender {
            proxy: Proxy::Baseline,
            program,
            port: gateway.port,
            requests,
            written: Some(gateway.audit()),
        });
    }

    let rounds = take_rounds(&contenders, options)?;
    let cycles = match contenders.first() {
        Some(gateway) => profile::take(&folder, gateway.program.pid(), || {
            gateway.requests.send(gateway.port, options.seconds).map(drop)
        })?,
        None => None,
    };
    for contender in contenders {
        contender.program.stop()?;
    }

    let mut idle = Vec::new();
    for (proxy, program, port) in
        [(Proxy::Gateway, gateway.start()?, gateway.port), (Proxy::Haproxy, haproxy.start()?, haproxy.port)]
    {
        let memory = idle::measure(proxy, &program, port, &certificates.ca, &tokens)?;
        say(&format!("{proxy}: {:.1} kB for each idle connection", memory.kb_per_connection));
        idle.push(memory);
        program.stop()?;
    }
    backend.program.stop()?;

    let measurements = Measurements {
        machine,
        versions,
        profile: options.binary.is_none().then_some(options.profile),
        setup: Setup {
            rounds: options.rounds,
            tokens: tokens.len(),
            token_characters: tokens.first().map_or(0, |token| token.text.len()),
            connections: CONNECTIONS,
            policies: POLICIES,
            clients: gateway::CLIENTS,
            seconds: options.seconds,
            warm_up_seconds: WARM_UP,
            request_body_bytes: load::BODY.len(),
            answer_body_bytes: backend::ANSWER.len(),
        },
        rounds,
        idle,
        cycles,
    };
    report::publish(&measurements, options.write)
}

/// So many quiet rounds of each contender, in turn; and those that were disturbed, as far as there is patience for them.
fn take_rounds(contenders: &[Contender], options: &Options) -> Result<Vec<Round>> {
    let mut rounds: Vec<Round> = Vec::new();
    let mut order: Vec<&Contender> = contenders.iter().collect();
    for number in 1..=options.rounds * ATTEMPTS {
        for contender in &order {
            let round = contender.measure(number, options.seconds)?;
            say(&format!(
                "round {number}, {}: {:.2} us/request ({:.2} in the program), {:.0} requests/s, p50 {:.0} us, p99 {:.0} us, {:.0} % of the core taken by others",
                round.proxy,
                round.cpu_us,
                round.user_us,
                round.requests_per_second,
                round.p50_us,
                round.p99_us,
                round.others_on_core * 100.0,
            ));
            rounds.push(round);
        }
        // Whoever comes second may find traces of the first.
        order.reverse();
        let quiet = (1..=number).filter(|number| is_quiet(&rounds, *number)).count();
        if quiet >= options.rounds {
            break;
        }
    }
    Ok(rounds)
}

/// Whether every proxy had its core to itself in this round.
fn is_quiet(rounds: &[Round], number: usize) -> bool {
    disturbance(rounds, number) <= QUIET
}

/// How much of its core that proxy had to do without that was disturbed most in this round.
fn disturbance(rounds: &[Round], number: usize) -> f64 {
    rounds.iter().filter(|round| round.round == number).map(|round| round.others_on_core).fold(0.0, f64::max)
}

impl Contender {
    fn measure(&self, number: usize, seconds: u64) -> Result<Round> {
        let Self { proxy, program, port, requests, written } = self;
        requests.send(*port, WARM_UP)?;
        let core_before = machine::core_busy(PROXY_CORE)?;
        let before = program.usage()?;
        let load = requests.send(*port, seconds)?;
        let after = program.usage()?;
        let core_after = machine::core_busy(PROXY_CORE)?;
        if load.requests == 0 || load.errors > 0 {
            bail!(
                "{proxy} answered {} requests, and {} went wrong: nothing is measured by that; see the logs in {}",
                load.requests,
                load.errors,
                build::target().join("bench").display()
            );
        }
        #[expect(clippy::cast_precision_loss, reason = "counts of one run are far below 2^52")]
        let each = |seconds: f64| seconds * 1e6 / load.requests as f64;
        let (user, system) = (after.user - before.user, after.system - before.system);
        let others = (core_after - core_before - user - system).max(0.0);
        Ok(Round {
            round: number,
            proxy: *proxy,
            requests: load.requests,
            errors: load.errors,
            requests_per_second: load.requests_per_second(),
            cpu_us: each(user + system),
            user_us: each(user),
            system_us: each(system),
            p50_us: load.p50_us,
            p99_us: load.p99_us,
            rss_kb: {
                // What was written goes to the disk now, and not while the next one is measured.
                if let Some(file) = written {
                    File::open(file)?.sync_all()?;
                }
                program.rss_kb()?
            },
            others_on_core: others / load.seconds,
        })
    }
}

fn compile(profile: Profile) -> Result<PathBuf> {
    let (arguments, folder): (&[&str], _) = match profile {
        Profile::Quick => (&["--profile", "quick"], "quick"),
        // The profile of the run needs the names of functions, which take no part in it.
        Profile::Release => (&["--release", "--config", "profile.release.strip=\"debuginfo\""], "release"),
    };
    say("building the gateway (the first time takes some minutes)");
    let mut command = build::cargo();
    command.args(["build", "--locked", "--package", "oauth4os"]).args(arguments);
    build::run(&mut command, "the gateway does not build")?;
    Ok(build::target().join(folder).join("oauth4os"))
}
