//! What a client is told when a request was sent and no whole answer has come.
//!
//! Stock clients send again, three times at once, whatever is answered with 502, 503 or 504, and whatever the connection
//! breaks for, writes too. So these are for requests that are the same when they are done twice, and for those of which nothing can
//! have got to the engine. For the others there is 500, which nobody sends again, and their answers are held back until they
//! are whole, as far as there is room.

use std::cell::Cell;
use std::fmt::Display;

use oauth4os_classify::Operation;

use crate::refusal::Refusal;

/// The most of one answer that is held back: some 5,000 items of a bulk.
const MAX_HELD: usize = 1024 * 1024;

/// The most of all answers that one worker holds back at a time.
const MAX_HELD_TOGETHER: usize = 16 * 1024 * 1024;

thread_local! {
    /// What this worker holds back.
    static HELD: Cell<usize> = const { Cell::new(0) };
}

/// What it means to do a request twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Twice {
    /// The same as once.
    Harmless,
    /// A second scroll or point in time is open, until its time is up.
    Opens,
    /// The page that was not answered is never seen.
    Skips,
    /// What it does may be done twice.
    Harmful,
}

impl Twice {
    pub(crate) fn of(operation: &Operation) -> Self {
        if operation.is_repeatable() {
            return Self::Harmless;
        }
        match operation.name {
            "scroll" => Self::Skips,
            "search" | "create_pit" => Self::Opens,
            _ => Self::Harmful,
        }
    }

    pub(crate) const fn is_harmless(self) -> bool {
        matches!(self, Self::Harmless)
    }

    /// The answer when there is none, or none that can be used.
    pub(crate) fn broken(self, happened: impl Display) -> Refusal {
        match self.unknown() {
            None => Refusal::bad_gateway(format!("{happened}; it may be sent again, since it changes nothing")),
            Some(unknown) => Refusal::unknown_outcome(format!("{happened}; {unknown}")),
        }
    }

    /// The answer when none has come in time.
    pub(crate) fn timed_out(self, who: &str) -> Refusal {
        match self.unknown() {
            None => Refusal::timeout(who),
            Some(unknown) => Refusal::unknown_outcome(format!("{who} did not answer in time; {unknown}")),
        }
    }

    /// What nobody knows, and what to do about it.
    const fn unknown(self) -> Option<&'static str> {
        match self {
            Self::Harmless => None,
            Self::Opens => Some(
                "it is not known whether a scroll or point in time was opened; open another, since the first ends when its time is up",
            ),
            Self::Skips => Some(
                "it is not known whether the scroll has gone on, and the next page may not be this one; begin it again",
            ),
            Self::Harmful => Some(
                "it is not known whether the request was carried out; look before you send it again (documents with ids of your own can be written again)",
            ),
        }
    }
}

/// Room for an answer that is held back until it is whole: one that breaks off then is never begun.
pub(crate) struct Hold {
    taken: usize,
    is_over: bool,
}

impl Hold {
    pub(crate) const fn new(is_wanted: bool) -> Self {
        Self { taken: 0, is_over: !is_wanted }
    }

    /// Whether there is room for so many bytes. When there was none once, the answer is on its way.
    pub(crate) fn has_room_for(&mut self, bytes: usize) -> bool {
        if self.is_over {
            return false;
        }
        let together = HELD.get() - self.taken + bytes;
        if bytes > MAX_HELD || together > MAX_HELD_TOGETHER {
            self.give_back();
            self.is_over = true;
            return false;
        }
        HELD.set(together);
        self.taken = bytes;
        true
    }

    fn give_back(&mut self) {
        HELD.set(HELD.get() - self.taken);
        self.taken = 0;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn twice(request: &str) -> Twice {
        let (method, target) = request.split_once(' ').unwrap();
        Twice::of(&oauth4os_classify::classify(method, target).unwrap())
    }

    #[test]
    fn only_what_is_the_same_twice_is_answered_with_what_clients_send_again_for() {
        for (request, means, statuses) in [
            ("GET /logs-a/_search", Twice::Harmless, [502, 504]),
            ("POST /logs-a/_search", Twice::Harmless, [502, 504]),
            ("POST /logs-a/_search?scroll=1m", Twice::Opens, [500, 500]),
            ("POST /logs-a/_search/point_in_time?keep_alive=1m", Twice::Opens, [500, 500]),
            ("POST /_search/scroll", Twice::Skips, [500, 500]),
            ("DELETE /_search/scroll", Twice::Harmful, [500, 500]),
            ("POST /logs-a/_doc", Twice::Harmful, [500, 500]),
            ("POST /_bulk", Twice::Harmful, [500, 500]),
            ("POST /logs-a/_refresh", Twice::Harmful, [500, 500]),
        ] {
            let found = twice(request);
            assert_eq!(found, means, "{request}");
            assert_eq!([found.broken("it broke").status, found.timed_out("the engine").status], statuses, "{request}");
        }
    }

    #[test]
    fn what_is_held_back_has_its_room_and_gives_it_back() {
        let mut one = Hold::new(true);
        assert!(one.has_room_for(10) && one.has_room_for(MAX_HELD));
        assert_eq!(HELD.get(), MAX_HELD);
        assert!(
            !one.has_room_for(MAX_HELD + 1) && !one.has_room_for(1),
            "what is on its way is not held back any more"
        );
        assert_eq!(HELD.get(), 0);
        let mut many: Vec<Hold> = (0..MAX_HELD_TOGETHER / MAX_HELD).map(|_| Hold::new(true)).collect();
        assert!(many.iter_mut().all(|hold| hold.has_room_for(MAX_HELD)));
        assert!(!Hold::new(true).has_room_for(1));
        drop(many);
        assert_eq!(HELD.get(), 0);
        assert!(!Hold::new(false).has_room_for(1));
    }
}
