//! The oauth4os gateway: arguments, configuration, life and death of the process.

mod admin;
mod api_keys;
mod arguments;
mod cluster;
mod engine;
mod expiry;
mod first_admin;
mod hand_over;
mod keys;
mod monitor;
mod names;
mod parts;
mod reload;
mod rotate_key;
mod rotation;
mod serve;
mod state;
mod tls;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use oauth4os_config::{Cluster, Config, LogFormat};
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
            parts::check_providers(&config)?;
            parts::check_keys(&config)?;
            parts::check_workloads(&config)?;
            parts::rates(&config)?;
            tls::ServerTls::load(&config.tls, config.limits.http2_streams > 0)?;
            cluster::client_scopes(&config, &policies)?;
            for cluster in config.clusters() {
                tls::EngineTls::load(&cluster.upstream.engine)?;
                hand_over::own_users(&cluster.upstream.engine)?;
                cluster.upstream.dashboards.iter().try_for_each(|it| tls::dashboards(it).map(drop))?;
            }
            println!("{}", summary(&config, &policies));
            Ok(ExitCode::SUCCESS)
        }
        Command::Engine { config, cluster, command } => {
            let config = load(config)?;
            if let EngineCommand::RotateKey { status, gateway } = command {
                return rotate_key::run(&config, cluster.as_deref(), *status, gateway);
            }
            let cluster = engine::chosen(&config, cluster.as_deref())?;
            log::start("warn", false)?;
            match command {
                EngineCommand::Setup { action, admin } => engine::setup(&config, cluster, action, admin),
                EngineCommand::Check { admin } => engine::check(&config, cluster, admin),
                EngineCommand::RotateKey { status, gateway } => rotate_key::run(&config, None, *status, gateway),
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
        "the configuration is valid: {} on {}, {}, {} clients, {} providers, {decided_by}",
        config.issuer,
        config.listen,
        engines(config),
        config.clients.len(),
        config.providers.len(),
    )
}

/// Where the clusters are.
fn engines(config: &Config) -> String {
    let one = |cluster: &Cluster| {
        let urls = cluster.upstream.engine.url.values().join(", ");
        cluster.name.as_ref().map_or_else(|| format!("engine {urls}"), |name| format!("cluster {name} at {urls}"))
    };
    config.clusters().iter().map(one).collect::<Vec<_>>().join(", ")
}
