//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// The access gateway for OpenSearch: scoped, short-lived, revocable OAuth 2.0 tokens, enforced by the gateway and by the
/// engine's own security plugin.
#[derive(Debug, Parser)]
#[command(name = "oauth4os", version, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The configuration file every command starts from.
const CONFIG_HELP: &str = "The configuration file";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve requests until SIGTERM or SIGINT. SIGHUP reloads clients, policies, limits for each client, and the
    /// listener's certificate.
    Serve {
        #[arg(long, value_name = "FILE", default_value = "oauth4os.yaml", env = "OAUTH4OS_CONFIG", help = CONFIG_HELP)]
        config: PathBuf,
    },
    /// Say whether the configuration can be run, and what is wrong with it if not.
    CheckConfig {
        #[arg(long, value_name = "FILE", default_value = "oauth4os.yaml", env = "OAUTH4OS_CONFIG", help = CONFIG_HELP)]
        config: PathBuf,
    },
    /// Prepare an OpenSearch cluster for the gateway, and prove that it enforces what tokens say.
    Engine {
        #[arg(long, value_name = "FILE", default_value = "oauth4os.yaml", env = "OAUTH4OS_CONFIG", global = true, help = CONFIG_HELP)]
        config: PathBuf,
        /// Which of the `clusters` of the configuration; needed when there are several
        #[arg(long, value_name = "NAME", global = true)]
        cluster: Option<String>,
        #[command(subcommand)]
        command: EngineCommand,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum EngineCommand {
    /// Show what must change in the engine's security configuration: one auth domain, the static roles, their mappings.
    /// Changes nothing unless told to.
    Setup {
        #[command(flatten)]
        action: SetupAction,
        #[command(flatten)]
        admin: Admin,
    },
    /// Have the gateway that runs replace the key it signs tokens for the engine with. Each cluster goes over to the new key
    /// once its engine takes it, and no request fails.
    RotateKey {
        /// Only say how far it is
        #[arg(long)]
        status: bool,
        #[command(flatten)]
        gateway: GatewayAccess,
    },
    /// Prove on the live cluster that a scoped token gets exactly its patterns, and warn of what would widen it.
    Check {
        #[command(flatten)]
        admin: Admin,
    },
}

#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct SetupAction {
    /// Print the configuration and how to load it by hand; asks the cluster nothing
    #[arg(long)]
    pub(crate) print: bool,
    /// Make the changes; what others have configured stays
    #[arg(long)]
    pub(crate) apply: bool,
    /// Take everything of the gateway's away again
    #[arg(long)]
    pub(crate) remove: bool,
}

/// Where the gateway that runs is, and how it knows its administrator: a client with the scope `admin:gateway`. Never kept.
#[derive(Debug, Args)]
pub(crate) struct GatewayAccess {
    /// Address of the gateway; default: `issuer`
    #[arg(long, value_name = "URL")]
    pub(crate) gateway: Option<String>,
    /// Certificates (PEM) of the authority that signed the gateway's; default: the system's authorities
    #[arg(long, value_name = "FILE")]
    pub(crate) gateway_ca: Option<PathBuf>,
    /// Id of the client; its secret comes from `--client-secret-file` or OAUTH4OS_CLIENT_SECRET
    #[arg(long, value_name = "ID")]
    pub(crate) client_id: String,
    /// A file that holds only the client's secret
    #[arg(long, value_name = "FILE")]
    pub(crate) client_secret_file: Option<PathBuf>,
}

/// How the engine knows its administrator: a certificate of `plugins.security.authcz.admin_dn`, or a user with a role of
/// `plugins.security.restapi.roles_enabled`. Never kept.
#[derive(Debug, Args)]
pub(crate) struct Admin {
    /// Certificate of the engine's administrator (PEM)
    #[arg(long, value_name = "FILE", requires = "admin_key", conflicts_with = "admin_user")]
    pub(crate) admin_cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", requires = "admin_cert")]
    pub(crate) admin_key: Option<PathBuf>,
    /// Name of the engine's administrator; the password comes from `--admin-password-file` or OAUTH4OS_ENGINE_PASSWORD
    #[arg(long, value_name = "NAME")]
    pub(crate) admin_user: Option<String>,
    /// A file that holds only the administrator's password
    #[arg(long, value_name = "FILE", requires = "admin_user")]
    pub(crate) admin_password_file: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn no_secret_is_taken_from_the_command_line() {
        let shown = format!("{:?}", Arguments::command().get_subcommands().collect::<Vec<_>>());
        assert!(!shown.contains("\"admin-password\""), "a password in argv can be read by every process");
    }
}
