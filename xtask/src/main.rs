//! Everything a contributor runs: `cargo xtask <command>`.
//!
//! The real parts (an OpenSearch with its security plugin, a Keycloak) are assembled from packages whose
//! versions and sums are pinned in `parts.json`, run on loopback as ordinary processes, and each has a
//! state file that says how to talk to it.

mod account;
mod bench;
mod build;
mod cache;
mod certs;
mod check;
mod corpus;
mod data;
mod demo;
mod download;
mod engine;
mod files;
mod generate;
mod http;
mod java;
mod keycloak;
mod parts;
mod process;
mod progress;
mod secrets;
mod test;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::engine::Version;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Everything a contributor runs")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A real OpenSearch with the security plugin and TLS, on loopback
    Engine {
        #[command(subcommand)]
        action: EngineAction,
    },
    /// A real Keycloak with a realm for the tests, on loopback
    Keycloak {
        #[command(subcommand)]
        action: KeycloakAction,
    },
    /// Load the generated logs, metrics and customers into the engine (does nothing where they are complete)
    Data {
        /// The state file of the engine (default: that of the default engine)
        #[arg(long, value_name = "FILE")]
        engine_json: Option<PathBuf>,
    },
    /// The main job, end to end, on real parts, with a narration; everything keeps running
    Demo {
        /// End what the demo started
        #[arg(long)]
        down: bool,
        /// Stand before this engine (its state file) instead of one of the demo's own
        #[arg(long, value_name = "FILE")]
        engine_json: Option<PathBuf>,
        /// Bring everything up and say nothing more
        #[arg(long)]
        no_narration: bool,
    },
    /// All tests, on real parts
    Test {
        /// Only checks and unit tests
        #[arg(long)]
        units: bool,
        /// Only against this OpenSearch
        #[arg(long)]
        version: Option<Version>,
    },
    /// What a request costs, beside HAProxy, on this machine
    Bench {
        /// The short form: three rounds of some seconds
        #[arg(long, required = true)]
        quick: bool,
        /// Measure the gateway as it is shipped; takes minutes longer to compile
        #[arg(long)]
        release: bool,
        /// Measure this build of the gateway instead of compiling one
        #[arg(long, value_name = "BINARY", conflicts_with = "release")]
        binary: Option<PathBuf>,
        /// An earlier build of the gateway to measure in turn with the others
        #[arg(long, value_name = "BINARY")]
        baseline: Option<PathBuf>,
        /// Undisturbed measurements of each proxy
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..))]
        rounds: u8,
        /// Seconds of each measurement
        #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=600))]
        seconds: u64,
        /// Only print the report, leave the one in `benches/` alone
        #[arg(long)]
        no_write: bool,
    },
    /// Format, generated files, lints, licences and bans of dependencies, unit tests
    Check {
        /// Ask instead whether weaknesses of the dependencies are known; needs the network
        #[arg(long)]
        advisories: bool,
    },
    /// The engine's own REST tests, from their package, as seeds for the fuzz targets; they stay in the cache
    Corpus,
    /// Write the generated files of the repository
    Generate {
        /// Write nothing; fail if a file is not what would be written
        #[arg(long)]
        check: bool,
    },
}

#[derive(Subcommand)]
enum EngineAction {
    /// Start it and wait until the security plugin answers; reuses a running one
    Up {
        #[command(flatten)]
        place: EnginePlace,
        /// The port of its HTTPS listener (default: 19200 for 3.4.0, 19219 for 2.19.4); transport is 100 above
        #[arg(long)]
        http_port: Option<u16>,
        /// Begin with an empty data folder
        #[arg(long)]
        fresh: bool,
    },
    /// Stop it
    Down {
        #[command(flatten)]
        place: EnginePlace,
    },
    /// Print how to talk to it
    Status {
        #[command(flatten)]
        place: EnginePlace,
    },
}

#[derive(clap::Args)]
struct EnginePlace {
    /// Which OpenSearch
    #[arg(long, default_value = "3.4.0")]
    version: Version,
    /// Where it lives (default: `target/engine/<version>`)
    #[arg(long)]
    dir: Option<PathBuf>,
}

#[derive(Subcommand)]
enum KeycloakAction {
    /// Start it and wait until the realm answers; reuses a running one
    Up {
        /// The port of its HTTP listener
        #[arg(long)]
        http_port: Option<u16>,
        /// Begin with an empty data folder
        #[arg(long)]
        fresh: bool,
        /// Where it lives (default: `target/keycloak`)
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Stop it
    Down {
        /// Where it lives (default: `target/keycloak`)
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Print how to talk to it
    Status {
        /// Where it lives (default: `target/keycloak`)
        #[arg(long)]
        dir: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // A second installation in one process is the only way this fails, and it would change nothing.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match run(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Engine { action } => run_engine(action),
        Command::Keycloak { action } => run_keycloak(action),
        Command::Data { engine_json } => {
            let engine = match engine_json {
                Some(file) => engine::State::read(&file)?,
                None => engine::status(Version::V3_4_0, None)?,
            };
            data::load(&engine)?;
            Ok(())
        }
        Command::Demo { down: true, .. } => demo::down(),
        Command::Demo { engine_json, no_narration, .. } => demo::up(engine_json.as_deref(), no_narration),
        Command::Test { units, version } => test::run(&test::Options { units, version }),
        Command::Bench { quick: _, release, binary, baseline, rounds, seconds, no_write } => {
            bench::run(&bench::Options {
                profile: if release { bench::Profile::Release } else { bench::Profile::Quick },
                binary,
                baseline,
                rounds: rounds.into(),
                seconds,
                write: !no_write,
            })
        }
        Command::Check { advisories: true } => check::advisories(),
        Command::Check { .. } => check::run(),
        Command::Corpus => {
            println!("{}", corpus::ensure_made()?.display());
            Ok(())
        }
        Command::Generate { check } => generate::run(check),
    }
}

fn run_engine(action: EngineAction) -> anyhow::Result<()> {
    match action {
        EngineAction::Up { place, http_port, fresh } => {
            let options = engine::Options { version: place.version, dir: place.dir, http_port, fresh };
            let state = engine::up(&options)?;
            println!("OpenSearch {} answers at {}", state.version, state.url);
            println!("state: {}", state.dir.join(engine::STATE_FILE).display());
            Ok(())
        }
        EngineAction::Down { place } => engine::down(place.version, place.dir),
        EngineAction::Status { place } => print_json(&engine::status(place.version, place.dir)?),
    }
}

fn run_keycloak(action: KeycloakAction) -> anyhow::Result<()> {
    match action {
        KeycloakAction::Up { http_port, fresh, dir } => {
            let state = keycloak::up(&keycloak::Options { dir, http_port, fresh })?;
            println!("Keycloak {} answers at {}", state.version, state.url);
            println!("state: {}", state.dir.join(keycloak::STATE_FILE).display());
            Ok(())
        }
        KeycloakAction::Down { dir } => keycloak::down(dir),
        KeycloakAction::Status { dir } => print_json(&keycloak::status(dir)?),
    }
}

fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}
