//! Whether the users of the cluster, or the principal, as which requests go are there, and may not do more than they should.

use oauth4os_config::StrictAliases;
use oauth4os_tokens::clock::Clock;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::ClientScopes;
use super::aliases::list;
use super::probe::{AUTHINFO, escape};
use super::report::Report;
use crate::backend_users::UserKind;
use crate::catalog::CatalogReader;
use crate::client::EngineClient;
use crate::guard;
use crate::hand_over::{HandOver, Sender};
use crate::setup::API;

/// Roles and backend roles that may do everything, or change who may.
const POWERFUL: [&str; 4] = ["all_access", "security_manager", "security_rest_api_access", "admin"];

/// What a check works with where the engine is not told the scopes.
#[derive(Clone, Copy, Debug)]
pub struct OwnUsersCheck<'a> {
    /// Speaks to the engine without a credential of its own ([`EngineClient::plain`]).
    pub engine: &'a EngineClient,
    /// Whether it shows the gateway's certificate.
    pub shows_certificate: bool,
    /// As the gateway makes identities.
    pub hand_over: &'a HandOver,
    /// The configured clients and their scopes.
    pub clients: &'a [ClientScopes],
    /// What the gateway does about aliases that lead out of scopes.
    pub strict_aliases: StrictAliases,
    /// The time.
    pub clock: &'a dyn Clock,
}

impl OwnUsersCheck<'_> {
    /// Runs every check. What goes wrong is an item of the report.
    pub async fn run(&self) -> Report {
        let mut report = Report::default();
        match self.hand_over {
            HandOver::Told(_) => {}
            HandOver::Users(users) => {
                for name in users.names() {
                    let subject = match users.kind() {
                        UserKind::Password => "user",
                        UserKind::ApiKey => "API key",
                    };
                    let what = format!("the {subject} `{}`", escape(&name));
                    match users.identity(&name, self.clock.now()) {
                        Ok(identity) => self.log_in(&what, subject, Sender::Fields(&identity), &mut report).await,
                        Err(error) => report.failure(subject, error.to_string()),
                    }
                }
            }
            HandOver::Signed(signer) => {
                let sender = Sender::Signed(signer, self.clock.now());
                self.log_in("the principal that signs", "principal", sender, &mut report).await;
            }
        }
        if self.shows_certificate {
            match guard::is_no_administrator(self.engine).await {
                Ok(()) => report.ok("administrator", "the gateway's own connections have no administrator's rights"),
                Err(error) => report.failure("administrator", error.to_string()),
            }
        }
        if self.strict_aliases == StrictAliases::Off {
            report.warning("aliases", "nobody looks whether an alias leads out of a scope (`strict_aliases: off`)");
        } else {
            let reader = CatalogReader::new(self.engine.clone(), self.hand_over.clone());
            match reader.read(self.clock.now()).await {
                Ok(catalog) => list(&catalog, self.clients, self.strict_aliases, &mut report),
                Err(error) => report.failure("aliases", error.to_string()),
            }
        }
        report.ok(
            "scopes",
            "the engine enforces the roles of these users; scopes are held by the gateway alone: whatever goes wrong there, no more than these roles is to be had",
        );
        report
    }

    async fn log_in(&self, what: &str, subject: &'static str, sender: Sender<'_>, report: &mut Report) {
        let answer = match self.engine.send_by(sender, Method::GET, AUTHINFO).await {
            Ok(answer) => answer,
            Err(error) => return report.failure(subject, error.to_string()),
        };
        match answer.status {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return report.failure(
                    subject,
                    format!(
                        "the engine does not take {what} (status {}, {}): compare name and secret, and look whether the engine blocks the gateway's address after wrong ones",
                        answer.status.as_u16(),
                        answer.reason()
                    ),
                );
            }
            // A managed service may not have it.
            StatusCode::NOT_FOUND if subject == "principal" => {
                report.not_checked(subject, "the roles of the principal: the service does not tell them");
                return;
            }
            status => {
                return report.failure(subject, format!("{what} is answered {}: {}", status.as_u16(), answer.reason()));
            }
        }
        if subject == "API key" {
            // It has no roles: it permits what was said when it was made.
            return report.ok(subject, format!("{what} is taken"));
        }
        let roles = |field: &str| -> Vec<String> {
            let list = answer.body.get(field).and_then(Value::as_array).into_iter().flatten();
            list.filter_map(Value::as_str).map(escape).collect()
        };
        let (has, backend) = (roles("roles"), roles("backend_roles"));
        let powerful: Vec<&str> =
            POWERFUL.into_iter().filter(|name| has.iter().chain(&backend).any(|role| role == name)).collect();
        if !powerful.is_empty() {
            report.warning(
                subject,
                format!(
                    "{what} has `{}`: with it every mistake in a scope is a mistake with every right; give a user with the roles that are needed and no others",
                    powerful.join("`, `")
                ),
            );
        }
        match self.engine.send_by(sender, Method::GET, &format!("{API}/roles")).await {
            Ok(answer) if answer.status.is_success() => report.warning(
                subject,
                format!(
                    "{what} may read the security configuration, as only administrators of it do; take that right away"
                ),
            ),
            _ => {}
        }
        if has.iter().all(|role| role == "own_index") {
            report.warning(subject, format!("{what} is there and has no role but those everybody has; map one to it"));
        } else {
            report.ok(subject, format!("{what} is taken, with the roles {}", has.join(", ")));
        }
    }
}
