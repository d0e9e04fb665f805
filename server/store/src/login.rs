//! Persons who logged in, what they allowed to whom, and what is under way between two steps of that.

use std::fmt;
use std::time::Duration;

use oauth4os_tokens::clock::UnixTime;

use crate::{Pending, RevokedToken, SecretHash};

/// What a ticket is for. One is never taken for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TicketKind {
    /// A browser is at the provider.
    Login,
    /// A person is asked for consent.
    Consent,
}

impl TicketKind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Consent => "consent",
        }
    }
}

/// Something that is under way.
#[derive(Clone)]
pub struct Ticket {
    /// What for.
    pub kind: TicketKind,
    /// The SHA-256 of the random value that finds it.
    pub hash: SecretHash,
    /// What has to be known to go on; sealed on the disk.
    pub content: Vec<u8>,
    /// From this on it is worth nothing.
    pub ends_at: UnixTime,
}

/// A person who logged in at a provider.
#[derive(Clone)]
pub struct Login {
    /// Its id, which the tokens that come of it name.
    pub id: String,
    /// The SHA-256 of what the browser shows.
    pub browser: SecretHash,
    /// The provider's name.
    pub provider: String,
    /// The person, `provider/name`.
    pub user: String,
    /// The provider's own session.
    pub provider_session: Option<String>,
    /// What the provider said; sealed on the disk.
    pub content: Vec<u8>,
    /// When the person proved who they are.
    pub authenticated_at: UnixTime,
    /// When the browser was last here.
    pub seen_at: UnixTime,
    /// From this on it holds no more.
    pub ends_at: UnixTime,
}

/// What descends from one consent in one login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family {
    /// Its id.
    pub id: String,
    /// The login it came from.
    pub login_id: String,
    /// The client that acts for the person.
    pub client_id: String,
    /// The person, `provider/name`.
    pub user: String,
    /// The scopes that were allowed, separated by spaces.
    pub scope: String,
    /// The SHA-256 of the authorization code.
    pub code: SecretHash,
    /// The `code_challenge` (RFC 7636, S256).
    pub challenge: String,
    /// Where the code was sent.
    pub redirect_uri: String,
    /// From this on the code is worth nothing.
    pub code_ends_at: UnixTime,
}

/// What a person has allowed to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consent {
    /// The person, `provider/name`.
    pub user: String,
    /// The client.
    pub client_id: String,
    /// The scopes, separated by spaces.
    pub scope: String,
    /// Since when.
    pub created_at: UnixTime,
}

/// What became of a code that was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redeemed {
    /// It is redeemed by this call.
    Now(Family),
    /// It was redeemed before: what came of it is revoked by this call, or was.
    Again {
        /// What it was for.
        family: Family,
        /// The tokens that were in force.
        revoked: Vec<RevokedToken>,
    },
    /// It has ended, or was taken back.
    Ended,
    /// No such code was given out.
    Unknown,
}

/// A refresh token: what is kept of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshToken {
    /// Its SHA-256.
    pub hash: SecretHash,
    /// The family it renews.
    pub family: String,
    /// From this on it is worth nothing.
    pub ends_at: UnixTime,
    /// When it was used.
    pub used_at: Option<UnixTime>,
}

/// What became of a refresh token that was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotated {
    /// It is used by this call, and replaced.
    Now,
    /// It was used within the grace before: nothing has changed.
    JustUsed,
    /// It was used longer ago: what came of its family is revoked by this call, or was.
    Again {
        /// The family.
        family: Box<Family>,
        /// The tokens that were in force.
        revoked: Vec<RevokedToken>,
    },
    /// It has ended, or was taken back, or there is none.
    Ended,
}

/// The repository of logins.
pub trait Logins {
    /// Keeps a ticket.
    ///
    /// # Errors
    /// [`TooManyTickets`](crate::StoreError::TooManyTickets).
    fn keep_ticket(&self, ticket: Ticket) -> Pending<'_, ()>;

    /// What a ticket says, if it has not ended.
    fn ticket(&self, kind: TicketKind, hash: &SecretHash) -> Pending<'_, Option<Vec<u8>>>;

    /// The same, and the ticket is gone: of several callers one gets it.
    fn take_ticket(&self, kind: TicketKind, hash: &SecretHash) -> Pending<'_, Option<Vec<u8>>>;

    /// Keeps a login.
    fn start_login(&self, login: Login) -> Pending<'_, ()>;

    /// A login that has not ended, by its id.
    fn login(&self, id: &str) -> Pending<'_, Option<Login>>;

    /// A login that has not ended, by what the browser shows.
    fn login_of_browser(&self, browser: &SecretHash) -> Pending<'_, Option<Login>>;

    /// What the provider says of the person from now on.
    fn renew_login(&self, id: &str, content: Vec<u8>) -> Pending<'_, ()>;

    /// Keeps the first refresh token of a family.
    fn start_refresh(&self, token: RefreshToken) -> Pending<'_, ()>;

    /// A refresh token, used or not, with its family, if that is in use and neither it nor its login has ended.
    fn refresh_token(&self, hash: &SecretHash) -> Pending<'_, Option<(RefreshToken, Family)>>;

    /// Uses a refresh token and keeps the one that replaces it. Of several callers exactly one gets [`Rotated::Now`]. Without a
    /// successor one that was not used stays so.
    fn rotate_refresh(
        &self,
        hash: &SecretHash,
        successor: Option<RefreshToken>,
        grace: Duration,
    ) -> Pending<'_, Rotated>;

    /// Every login that has not ended, for the data plane's memory.
    fn logins(&self) -> Pending<'_, Vec<Login>>;

    /// Remembers that the browser was here.
    fn login_seen(&self, id: &str, at: UnixTime) -> Pending<'_, ()>;

    /// Ends a login and all that came of it, all or nothing; returns the tokens that were in force.
    fn end_login(&self, id: &str) -> Pending<'_, Vec<RevokedToken>>;

    /// Keeps a family before its code is given out.
    fn start_family(&self, family: Family) -> Pending<'_, ()>;

    /// Redeems a code. Of several callers exactly one gets [`Redeemed::Now`]; the others revoke what it gets.
    fn redeem_code(&self, code: &SecretHash) -> Pending<'_, Redeemed>;

    /// Takes a family out of use, with its tokens; returns those that were in force.
    fn revoke_family(&self, id: &str) -> Pending<'_, Vec<RevokedToken>>;

    /// What a person has allowed to a client.
    fn consent(&self, user: &str, client_id: &str) -> Pending<'_, Option<Consent>>;

    /// What a person has allowed, the latest first.
    fn consents(&self, user: &str) -> Pending<'_, Vec<Consent>>;

    /// Remembers what a person allows to a client, in place of what was allowed before.
    fn keep_consent(&self, consent: Consent) -> Pending<'_, ()>;

    /// Takes back what a person has allowed to a client, with all that came of it; returns the tokens that were in force.
    fn withdraw_consent(&self, user: &str, client_id: &str) -> Pending<'_, Vec<RevokedToken>>;

    /// Forgets the logins that ended before `before`.
    fn purge_logins(&self, before: UnixTime) -> Pending<'_, u64>;
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("id", &self.id).field("user", &self.user).finish_non_exhaustive()
    }
}
