//! Lists in pages. A cursor names the last item seen, so that items that come or go meanwhile shift nothing.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use oauth4os_tokens::clock::UnixTime;

use crate::StoreError;

/// Which part of a list is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// Continue after this item; from the beginning when none.
    pub after: Option<Cursor>,
    /// At most so many items; taken as at least 1 and at most [`PageRequest::MAX_LIMIT`].
    pub limit: u32,
}

impl PageRequest {
    /// Most items of one page.
    pub const MAX_LIMIT: u32 = 1000;

    pub(crate) fn limit(&self) -> u32 {
        self.limit.clamp(1, Self::MAX_LIMIT)
    }
}

impl Default for PageRequest {
    /// The first 100.
    fn default() -> Self {
        Self { after: None, limit: 100 }
    }
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next page begins; none at the end of the list.
    pub next: Option<Cursor>,
}

/// A place in a list, opaque to the caller: [`fmt::Display`] writes it, [`FromStr`] reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub(crate) time: UnixTime,
    pub(crate) id: String,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = format!("{}.{}", self.time.as_millis(), self.id);
        f.write_str(&URL_SAFE_NO_PAD.encode(plain))
    }
}

impl FromStr for Cursor {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        let plain = URL_SAFE_NO_PAD.decode(text).map_err(|_| StoreError::Cursor)?;
        let plain = String::from_utf8(plain).map_err(|_| StoreError::Cursor)?;
        let (time, id) = plain.split_once('.').ok_or(StoreError::Cursor)?;
        let time = time.parse().map_err(|_| StoreError::Cursor)?;
        Ok(Self { time: UnixTime::from_millis(time), id: id.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_being_written() {
        for (time, id) in [(0, ""), (1_795_305_600_123, "tok_a.b"), (-1, "é")] {
            let cursor = Cursor { time: UnixTime::from_millis(time), id: id.to_owned() };
            assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
        }
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        for text in ["", "x", "é", "MTIz", "eC55", "MS5h=", " MS5h"] {
            assert!(matches!(text.parse::<Cursor>(), Err(StoreError::Cursor)), "{text}");
        }
    }
}
