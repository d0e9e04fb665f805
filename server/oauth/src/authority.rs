//! Who issues and revokes: everything the endpoints share.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::body::Bytes;
use oauth4os_federation::{Outsider, Provider, Providers, Refused, TrustedIssuers};
use oauth4os_policy::{Clusters, ScopeError, ScopeSet};
use oauth4os_store::{
    IssuedToken, Login, Redeemed, RefreshToken, Revocation, RevokedToken, Rotated, SecretHash, Store, StoreError,
};
use oauth4os_telemetry::audit::Audit;
use oauth4os_telemetry::metrics::Metrics;
use oauth4os_tokens::access::Verifier;
use oauth4os_tokens::clock::{Clock, UnixTime};
use oauth4os_tokens::keys::{Algorithm, KeySet};

use crate::EngineKeys;
use crate::clients::{ClientDirectory, DirectoryError, GuessLimit};
use crate::login::{Renewals, Said};

/// What the operator decided.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The `iss` of every token and the base of every endpoint's address; without a final slash.
    pub issuer: String,
    /// The `aud` of every token.
    pub audience: String,
    /// How long a token is valid, unless its client has a lifetime of its own. Whole seconds count.
    pub token_lifetime: Duration,
    /// The clusters a scope may name.
    pub clusters: Clusters,
    /// How long a person stays logged in.
    pub session_lifetime: Duration,
    /// After how long without use a person has to log in again.
    pub session_idle: Duration,
    /// How long a refresh token is good that is not used.
    pub refresh_idle: Duration,
}

/// What an [`Authority`] is made of.
#[derive(Debug)]
pub struct Parts {
    /// What the operator decided.
    pub settings: Settings,
    /// The keys of access tokens (ES256).
    pub keys: KeySet,
    /// What is remembered.
    pub store: Arc<dyn Store>,
    /// Who may ask for tokens.
    pub clients: Arc<ClientDirectory>,
    /// Who vouches for workloads.
    pub trusted_issuers: TrustedIssuers,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where events are recorded.
    pub audit: Audit,
    /// Where events are counted.
    pub metrics: Arc<Metrics>,
    /// Who must know of revoked tokens.
    pub revocations: Arc<dyn RevocationSink>,
    /// Who must know of opaque tokens.
    pub opaque: Arc<dyn OpaqueSink>,
    /// Outside providers, where persons log in, and whose tokens may be exchanged.
    pub providers: Arc<Providers>,
    /// Who must know of persons who log in.
    pub logins: Arc<dyn LoginSink>,
    /// What else must work for the gateway to be ready.
    pub readiness: Arc<dyn Readiness>,
    /// The keys of the tokens the engine is handed.
    pub engine_keys: Arc<dyn EngineKeys>,
}

/// Takes tokens out of use on the data plane.
pub trait RevocationSink: Send + Sync + fmt::Debug {
    /// Called when the store holds the revocation and before the caller is told. When it returns, no request that
    /// begins later may pass with one of these tokens. May be called again for the same token; must not block.
    fn revoked(&self, tokens: &[RevokedToken]);
}

/// Puts opaque tokens in force on the data plane.
pub trait OpaqueSink: Send + Sync + fmt::Debug {
    /// Whether a client may have one more: they are kept in memory.
    fn has_room(&self, client_id: &str) -> bool;

    /// Called when the store holds the token and before it is given out. When it returns, every request that begins later
    /// may show it. Must not block.
    fn issued(&self, hash: &SecretHash, token: &IssuedToken);
}

/// Puts logins in force on the data plane: without that no token of a person is taken.
pub trait LoginSink: Send + Sync + fmt::Debug {
    /// Called when the store holds the login and before a token comes of it. Must not block.
    fn logged_in(&self, id: &str, person: LoggedInPerson);

    /// Called when the store has ended the login and before the caller is told. When it returns, no request that begins later
    /// may pass with a token of it. Must not block.
    fn logged_out(&self, id: &str);
}

/// A person who is logged in.
#[derive(Debug)]
pub struct LoggedInPerson {
    /// Where.
    pub provider: Arc<Provider>,
    /// Who, and what the person may have.
    pub outsider: Outsider,
    /// When the login ends.
    pub ends_at: UnixTime,
}

/// What the gateway as a whole knows of its ability to serve.
pub trait Readiness: Send + Sync + fmt::Debug {
    /// What is missing, one sentence each; empty when ready. The sentences are shown without authentication. Answered
    /// from what is known already: it must neither wait nor connect to anything, for anybody may ask as often as they like.
    fn problems(&self) -> Vec<String>;
}

/// The authorization server.
pub struct Authority {
    pub(crate) settings: Settings,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clients: Arc<ClientDirectory>,
    pub(crate) trusted_issuers: TrustedIssuers,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) audit: Audit,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) readiness: Arc<dyn Readiness>,
    pub(crate) engine_keys: Arc<dyn EngineKeys>,
    pub(crate) guesses: GuessLimit,
    pub(crate) opaque: Arc<dyn OpaqueSink>,
    pub(crate) providers: Arc<Providers>,
    pub(crate) logins: Arc<dyn LoginSink>,
    pub(crate) renewals: Renewals,
    revocations: Arc<dyn RevocationSink>,
    signing: ArcSwap<Signing>,
}

/// An authority could not be made, or its keys not be replaced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// A token could live for less than a second.
    #[error("tokens must be valid for at least one second")]
    Lifetime,
    /// Access tokens are ES256.
    #[error("access tokens are signed with ES256, and the key `{kid}` is for {algorithm}")]
    WrongKey {
        /// The key.
        kid: String,
        /// What it is for.
        algorithm: Algorithm,
    },
}

/// Nobody knows any more who has logged in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PersonError {
    #[error("the provider of this login is not configured any more")]
    NoProvider,
    #[error("what the provider said cannot be read")]
    Unreadable,
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// The keys in force and what is made of them.
#[derive(Debug)]
pub(crate) struct Signing {
    pub(crate) keys: KeySet,
    pub(crate) verifier: Verifier,
    pub(crate) jwks: Bytes,
}

impl Authority {
    /// An authority.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn new(parts: Parts) -> Result<Self, AuthorityError> {
        if parts.settings.token_lifetime < Duration::from_secs(1) {
            return Err(AuthorityError::Lifetime);
        }
        let signing = ArcSwap::from_pointee(Signing::new(&parts.settings, parts.keys)?);
        Ok(Self {
            settings: parts.settings,
            store: parts.store,
            clients: parts.clients,
            trusted_issuers: parts.trusted_issuers,
            clock: parts.clock,
            audit: parts.audit,
            metrics: parts.metrics,
            readiness: parts.readiness,
            engine_keys: parts.engine_keys,
            guesses: GuessLimit::default(),
            opaque: parts.opaque,
            providers: parts.providers,
            logins: parts.logins,
            renewals: Renewals::default(),
            revocations: parts.revocations,
            signing,
        })
    }

    /// The client directory.
    #[must_use]
    pub const fn clients(&self) -> &Arc<ClientDirectory> {
        &self.clients
    }

    /// What tells this authority's tokens from all others. Immutable: ask again after [`replace_keys`](Self::replace_keys).
    #[must_use]
    pub fn verifier(&self) -> Verifier {
        self.signing.load().verifier.clone()
    }

    /// Puts other keys in force, for signing, verifying and the published document at once.
    ///
    /// # Errors
    /// [`AuthorityError::WrongKey`]; the keys in force stay.
    pub fn replace_keys(&self, keys: KeySet) -> Result<(), AuthorityError> {
        self.signing.store(Arc::new(Signing::new(&self.settings, keys)?));
        Ok(())
    }

    /// Removes a client of the store, with its secrets, and takes its tokens out of use; returns these.
    ///
    /// # Errors
    /// [`DirectoryError::Configured`], or the store's.
    pub async fn delete_client(self: &Arc<Self>, id: &str) -> Result<Vec<RevokedToken>, DirectoryError> {
        let (authority, id) = (Arc::clone(self), id.to_owned());
        to_the_end(async move {
            let revoked = authority.clients.delete(&id).await?;
            authority.revocations.revoked(&revoked);
            Ok(revoked)
        })
        .await
        .unwrap_or(Err(DirectoryError::Store(StoreError::Closed)))
    }

    /// Revokes a token and what was exchanged for it: on the disk, then on the data plane.
    pub(crate) async fn revoke(self: &Arc<Self>, id: &str) -> Result<Revocation, StoreError> {
        let (authority, id) = (Arc::clone(self), id.to_owned());
        to_the_end(async move {
            let revocation = authority.store.revoke_token(&id).await?;
            // Also when another call was first: that one may be still on its way to the data plane.
            if let Revocation::Revoked(tokens) | Revocation::AlreadyRevoked(tokens) = &revocation {
                authority.revocations.revoked(tokens);
            }
            Ok(revocation)
        })
        .await
        .unwrap_or(Err(StoreError::Closed))
    }

    /// Takes what descends from a code out of use that was shown twice, and gives what became of a code.
    pub(crate) async fn redeem_code(self: &Arc<Self>, code: SecretHash) -> Result<Redeemed, StoreError> {
        let authority = Arc::clone(self);
        to_the_end(async move {
            let redeemed = authority.store.redeem_code(&code).await?;
            if let Redeemed::Again { revoked, .. } = &redeemed {
                authority.revocations.revoked(revoked);
            }
            Ok(redeemed)
        })
        .await
        .unwrap_or(Err(StoreError::Closed))
    }

    /// Puts a refresh token out of use and its successor in its place, and takes the family out of use of one that was used.
    pub(crate) async fn rotate_refresh(
        self: &Arc<Self>,
        hash: SecretHash,
        successor: Option<RefreshToken>,
        grace: Duration,
    ) -> Result<Rotated, StoreError> {
        let authority = Arc::clone(self);
        to_the_end(async move {
            let rotated = authority.store.rotate_refresh(&hash, successor, grace).await?;
            if let Rotated::Again { revoked, .. } = &rotated {
                authority.revocations.revoked(revoked);
            }
            Ok(rotated)
        })
        .await
        .unwrap_or(Err(StoreError::Closed))
    }

    /// Takes a family out of use, with its tokens.
    pub(crate) async fn revoke_family(self: &Arc<Self>, id: &str) -> Result<(), StoreError> {
        let (authority, id) = (Arc::clone(self), id.to_owned());
        to_the_end(async move {
            let revoked = authority.store.revoke_family(&id).await?;
            authority.revocations.revoked(&revoked);
            Ok(())
        })
        .await
        .unwrap_or(Err(StoreError::Closed))
    }

    /// Ends a login with all that came of it: on the disk, then on the data plane.
    pub(crate) async fn end_login(self: &Arc<Self>, id: &str) -> Result<(), StoreError> {
        let (authority, id) = (Arc::clone(self), id.to_owned());
        to_the_end(async move {
            let revoked = authority.store.end_login(&id).await?;
            authority.revocations.revoked(&revoked);
            authority.logins.logged_out(&id);
            Ok(())
        })
        .await
        .unwrap_or(Err(StoreError::Closed))
    }

    /// Takes back what a person has allowed to a client, with all that came of it.
    pub(crate) async fn withdraw_consent(self: &Arc<Self>, user: &str, client_id: &str) -> Result<(), StoreError> {
        let (authority, user, client_id) = (Arc::clone(self), user.to_owned(), client_id.to_owned());
        to_the_end(async move {
            let revoked = authority.store.withdraw_consent(&user, &client_id).await?;
            authority.revocations.revoked(&revoked);
            Ok(())
        })
        .await
        .unwrap_or(Err(StoreError::Closed))
    }

    /// Puts the logins of the store in force, to be called before the first request. One whose provider is gone, or gives the person
    /// nothing that can be read any more, stays out of force.
    ///
    /// # Errors
    /// The store's.
    pub async fn restore_logins(&self) -> Result<(), StoreError> {
        for login in self.store.logins().await? {
            match self.person(&login) {
                Ok(person) => self.logins.logged_in(&login.id, person),
                Err(error) => tracing::warn!(login = login.id, %error, "a login is not in force any more"),
            }
        }
        Ok(())
    }

    /// Who a login is of, by what the provider said then and the mapping says now.
    pub(crate) fn person(&self, login: &Login) -> Result<LoggedInPerson, PersonError> {
        let provider = self.providers.named(&login.provider).ok_or(PersonError::NoProvider)?;
        let said: Said = serde_json::from_slice(&login.content).map_err(|_| PersonError::Unreadable)?;
        let outsider = provider.person(&said.claims)?;
        Ok(LoggedInPerson { provider: Arc::clone(provider), outsider, ends_at: login.ends_at })
    }

    pub(crate) fn signing(&self) -> arc_swap::Guard<Arc<Signing>> {
        self.signing.load()
    }

    pub(crate) fn now(&self) -> UnixTime {
        self.clock.now()
    }

    pub(crate) fn parse_scopes(&self, list: &str) -> Result<ScopeSet, ScopeError> {
        ScopeSet::parse(list, &self.settings.clusters)
    }

    /// The address of one of the endpoints.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.settings.issuer)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("settings", &self.settings)
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

impl Signing {
    fn new(settings: &Settings, keys: KeySet) -> Result<Self, AuthorityError> {
        let active = keys.active();
        if active.algorithm() != Algorithm::Es256 {
            return Err(AuthorityError::WrongKey { kid: active.kid().to_owned(), algorithm: active.algorithm() });
        }
        Ok(Self {
            verifier: Verifier::new(&settings.issuer, &settings.audience, &keys),
            jwks: keys.jwks().to_string().into(),
            keys,
        })
    }
}

/// Runs `work` to its end even when the caller hangs up and its future is dropped: what is on the disk must also be in
/// force. None when the runtime is being shut down.
pub(crate) async fn to_the_end<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Option<T> {
    tokio::spawn(work).await.ok()
}
