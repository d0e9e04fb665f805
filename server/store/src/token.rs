//! Issued tokens: what was given to whom, and what of it was taken back.

use oauth4os_tokens::access::Actor;
use oauth4os_tokens::clock::UnixTime;

use crate::{Page, PageRequest, Pending, SecretHash};

/// A token that was issued. The token itself is not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedToken {
    /// Its id, the `jti`.
    pub id: String,
    /// The client it was issued to.
    pub client_id: String,
    /// Whom it is about, the `sub`.
    pub subject: String,
    /// The granted scopes, separated by spaces.
    pub scope: String,
    /// The resources it is for.
    pub audience: Vec<String>,
    /// When it was issued.
    pub issued_at: UnixTime,
    /// When it ends.
    pub expires_at: UnixTime,
    /// When it was revoked.
    pub revoked_at: Option<UnixTime>,
    /// The hash of an opaque token; none for one that carries its claims.
    pub hash: Option<SecretHash>,
    /// The id of the token that was shown for this one, when that was one of ours.
    pub parent: Option<String>,
    /// Who acts for the subject, the present one first.
    pub act: Vec<Actor>,
}

impl IssuedToken {
    /// The token's state at `now`. A revoked token stays revoked after its end.
    #[must_use]
    pub fn state(&self, now: UnixTime) -> TokenState {
        if self.revoked_at.is_some() {
            TokenState::Revoked
        } else if now >= self.expires_at {
            TokenState::Expired
        } else {
            TokenState::Active
        }
    }
}

/// Where a token is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenState {
    /// In force.
    Active,
    /// Taken back.
    Revoked,
    /// Over.
    Expired,
}

/// Which tokens to list; the default is all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenFilter {
    /// Only this client's.
    pub client_id: Option<String>,
    /// Only those in this state.
    pub state: Option<TokenState>,
}

/// A revoked token that has not expired: what the data plane must know.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RevokedToken {
    /// Its id, the `jti`.
    pub id: String,
    /// When it can be forgotten.
    pub expires_at: UnixTime,
}

/// What became of a revocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// The token is revoked by this call, and with it whatever was given out for it: the token itself first.
    Revoked(Vec<RevokedToken>),
    /// It was revoked before; what that took out of use.
    AlreadyRevoked(Vec<RevokedToken>),
    /// It has expired; there is nothing to revoke.
    Expired,
    /// No such token was issued.
    Unknown,
}

/// The repository of issued tokens.
pub trait Tokens {
    /// Records a token, before it is given out. Calls that arrive together share one commit.
    ///
    /// # Errors
    /// [`Exists`](crate::StoreError::Exists) for an id recorded before; [`ParentEnded`](crate::StoreError::ParentEnded) when the
    /// token it is given out for is not in force. Of a revocation and a record exactly one comes first: either the revocation
    /// takes the record with it, or there is no record.
    fn record_issued(&self, token: IssuedToken) -> Pending<'_, ()>;

    /// One token.
    fn token(&self, id: &str) -> Pending<'_, Option<IssuedToken>>;

    /// The opaque token with this hash, in whatever state.
    fn opaque_token(&self, hash: &SecretHash) -> Pending<'_, Option<IssuedToken>>;

    /// Every opaque token in force, for the data plane's memory.
    fn opaque_tokens(&self) -> Pending<'_, Vec<IssuedToken>>;

    /// Tokens, the latest first.
    fn tokens(&self, filter: TokenFilter, page: PageRequest) -> Pending<'_, Page<IssuedToken>>;

    /// Revokes a token and all that was given out for it, over any number of steps, in one step. Of several callers exactly one
    /// gets [`Revocation::Revoked`].
    fn revoke_token(&self, id: &str) -> Pending<'_, Revocation>;

    /// Revokes every token of a client that is in force with all that was given out for them, and returns these.
    fn revoke_client_tokens(&self, client_id: &str) -> Pending<'_, Vec<RevokedToken>>;

    /// Every revoked token that has not expired, for the data plane's memory.
    fn revoked_tokens(&self) -> Pending<'_, Vec<RevokedToken>>;

    /// Forgets the tokens that expired before `before`, and says how many.
    fn purge_expired(&self, before: UnixTime) -> Pending<'_, u64>;
}
