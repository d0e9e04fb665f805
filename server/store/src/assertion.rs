//! Assertions that were used: signed statements of others that are good for one use.

use oauth4os_tokens::clock::UnixTime;

use crate::Pending;

/// A statement that may be used once: a hash of who it is from and what names it, and when it ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SingleUse {
    /// The hash.
    pub id: [u8; 32],
    /// From then on it is refused for its age, and need not be remembered.
    pub expires_at: UnixTime,
}

/// The repository of used assertions.
pub trait Assertions {
    /// Uses one up. Of several callers with the same, whenever and on whichever replica, exactly one gets `true`.
    fn spend(&self, once: SingleUse) -> Pending<'_, bool>;

    /// Forgets those that ended before `before`, and says how many.
    fn forget_spent(&self, before: UnixTime) -> Pending<'_, u64>;
}
