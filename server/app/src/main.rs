//! The oauth4os gateway: arguments, configuration, life and death of the process.

mod arguments;
mod engine;
mod first_admin;
mod monitor;
mod names;
mod parts;
mod reload;
mod serve;
mod state;
mod tls;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use oauth4os_config::{Config, LogFormat};
use oauth4os_policy::Policies;
use oauth4os_telemetry::log;

use crate::arguments::{Arguments, Command, EngineCommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Whatever ends the process early: one sentence, or several lines when there are several reasons.
type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("oauth4os: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    tls::install_provider()?;
    match &arguments.command {
        Command::Serve { config: path } => {
            let config = load(path)?;
            log::start(&config.log.level, config.log.format == LogFormat::Json)?;
            serve::run(config, path)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::CheckConfig { config } => {
            let config = load(config)?;
            let policies = parts::policies(&config)?;
            parts::client_scopes(&config, &policies)?;
            parts::check_providers(&config)?;
            tls::ServerTls::load(&config.tls, config.limits.http2_streams > 0)?;
            tls::EngineTls::load(&config.upstream.engine)?;
            config.upstream.dashboards.iter().try_for_each(|it| tls::dashboards(it).map(drop))?;
            println!("{}", summary(&config, &policies));
            Ok(ExitCode::SUCCESS)
        }
        Command::Engine { config, command } => {
            let config = load(config)?;
            log::start("warn", false)?;
            match command {
                EngineCommand::Setup { action, admin } => engine::setup(&config, action, admin),
                EngineCommand::Check { admin } => engine::check(&config, admin),
            }
        }
    }
}

fn load(path: &Path) -> Result<Config, Failure> {
    Ok(Config::load(path)?)
}

fn summary(config: &Config, policies: &Policies) -> String {
    let decided_by = if policies.are_configured() {
        format!("{} Cedar policies", policies.ids().count())
    } else {
        "no Cedar policies, so scopes alone decide".to_owned()
    };
    format!(
        "the configuration is valid: {} on {}, engine {}, {} clients, {} providers, {decided_by}",
        config.issuer,
        config.listen,
        config.upstream.engine.url.values().join(", "),
        config.clients.len(),
        config.providers.len(),
    )
}
