//! Issuers that vouch for workloads, and what they have said of one.

use std::collections::HashMap;
use std::sync::Arc;

use oauth4os_config::{ClaimPath, TrustedIssuer as Config, WorkloadRule};
use oauth4os_telemetry::metrics::Metrics;
use oauth4os_tokens::clock::{Clock, UnixTime};
use oauth4os_tokens::jose::{Algorithm, ForeignToken};
use serde_json::Value;

use crate::assertion::{AssertionRefused, Once, check_signature, check_times, check_type, jti, name_of};
use crate::assertion_keys::{AssertionKeys, KeysError, Publication};
use crate::claims;
use crate::workload;

/// Every trusted issuer, found by its issuer name.
#[derive(Debug, Default)]
pub struct TrustedIssuers(HashMap<String, TrustedIssuer>);

/// An issuer that vouches for workloads.
#[derive(Debug)]
pub struct TrustedIssuer {
    config: Config,
    keys: AssertionKeys,
}

/// What an issuer says of a workload, verified.
#[derive(Debug)]
pub struct Workload<'a> {
    /// Who it is, named after its issuer: `github/repo:acme/app:ref:refs/heads/main`.
    pub subject: String,
    /// That the assertion is good for one token, when it is.
    pub once: Option<Once>,
    /// The rules that it fits, in the order of the configuration.
    pub rules: Vec<&'a WorkloadRule>,
}

/// A trusted issuer cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the trusted issuer `{name}` cannot be used: {source}")]
pub struct TrustedIssuerError {
    /// Its name.
    name: String,
    /// Why.
    source: KeysError,
}

impl TrustedIssuers {
    /// The issuers of a configuration. Their keys are fetched in the runtime this is called in; without one they are not.
    ///
    /// # Errors
    /// [`TrustedIssuerError`].
    pub fn new(configs: &[Config], clock: &Arc<dyn Clock>, metrics: &Arc<Metrics>) -> Result<Self, TrustedIssuerError> {
        let issuer = |config: &Config| {
            let keys = keys(config, clock, metrics)
                .map_err(|source| TrustedIssuerError { name: config.name.clone(), source })?;
            Ok((config.issuer.clone(), TrustedIssuer { config: config.clone(), keys }))
        };
        configs.iter().map(issuer).collect::<Result<_, _>>().map(Self)
    }

    /// The issuer an assertion claims to be from, if it is one of these: character for character.
    #[must_use]
    pub fn of_assertion(&self, assertion: &str) -> Option<&TrustedIssuer> {
        self.0.get(&ForeignToken::claimed_issuer(assertion)?)
    }
}

fn keys(config: &Config, clock: &Arc<dyn Clock>, metrics: &Arc<Metrics>) -> Result<AssertionKeys, KeysError> {
    let taken: Vec<Algorithm> =
        config.algorithms.iter().filter_map(|algorithm| Algorithm::from_name(algorithm.as_str())).collect();
    if let Some(jwks) = &config.jwks {
        return AssertionKeys::written(&jwks.keys, &taken);
    }
    let publication = Publication {
        name: config.name.clone(),
        issuer: config.issuer.clone(),
        url: config.jwks_uri.clone(),
        ca: config.ca.clone(),
        taken,
    };
    AssertionKeys::published(publication, clock, Some(metrics))
}

impl TrustedIssuer {
    /// Its configuration.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Its keys.
    #[must_use]
    pub const fn keys(&self) -> &AssertionKeys {
        &self.keys
    }

    /// Whom the issuer speaks of, if it does, for this gateway alone, and at `now`. That no rule fits is no error here.
    ///
    /// # Errors
    /// [`AssertionRefused`].
    pub fn verify(&self, assertion: &str, now: UnixTime) -> Result<Workload<'_>, AssertionRefused> {
        let token = ForeignToken::parse(assertion)?;
        check_signature(&token, &self.keys)?;
        check_type(&token, &["authorization-grant+jwt"])?;
        let (config, claims) = (&self.config, &token.claims);
        if claims.get("iss").and_then(Value::as_str) != Some(config.issuer.as_str()) {
            return Err(AssertionRefused::Issuer);
        }
        self.check_audience(claims.get("aud"))?;
        let until = check_times(claims, now, config.leeway.as_duration(), config.max_lifetime.as_duration())?;
        let subject = subject(&token)?;
        let id = match jti(claims)? {
            Some(jti) => name_of(&["issuer", &config.issuer, "jti", jti]),
            // Not its signature: of some algorithms there are several for the same words.
            None => name_of(&["issuer", &config.issuer, "whole", token.signed]),
        };
        Ok(Workload {
            subject: format!("{}/{subject}", config.name),
            once: config.single_use.then_some(Once { id, until }),
            rules: config.rules.iter().filter(|rule| workload::fits(rule, claims)).collect(),
        })
    }

    /// One audience and no other, as a text or as a list of one: what is meant for others as well, they could bring here.
    fn check_audience(&self, aud: Option<&Value>) -> Result<(), AssertionRefused> {
        let sole = match aud {
            Some(Value::String(one)) => Some(one.as_str()),
            Some(Value::Array(list)) => match list.as_slice() {
                [Value::String(one)] => Some(one.as_str()),
                _ => None,
            },
            _ => None,
        };
        let ours = self.config.audience.values();
        if sole.is_some_and(|sole| ours.iter().any(|ours| ours == sole)) {
            Ok(())
        } else {
            Err(AssertionRefused::Audience(ours.join("` or `")))
        }
    }
}

fn subject(token: &ForeignToken<'_>) -> Result<String, AssertionRefused> {
    claims::name(&token.claims, &ClaimPath::of_one("sub"))
        .map_err(|_| AssertionRefused::Claim("sub".to_owned()))?
        .ok_or(AssertionRefused::Missing("sub"))
}

#[cfg(test)]
mod tests;
