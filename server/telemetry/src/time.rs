//! Times as audit events and answers show them.

use std::fmt::{self, Display};
use std::io::Write;

use oauth4os_tokens::clock::UnixTime;

/// Shows a time as RFC 3339 in UTC with milliseconds: `2026-11-22T06:30:00.000Z`.
#[derive(Debug, Clone, Copy)]
pub struct Rfc3339(pub UnixTime);

impl Rfc3339 {
    /// Appends it to a line.
    pub(crate) fn write(self, line: &mut Vec<u8>) {
        let milliseconds = self.0.as_millis();
        if milliseconds < 0 || self.0 > UnixTime::MAX {
            // Writing to memory does not fail.
            let _ = write!(line, "{self}");
            return;
        }
        let of_day = milliseconds % 86_400_000;
        let (year, month, day) = civil_from_days(milliseconds / 86_400_000);
        let (hour, minute, second) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1_000 % 60);
        let digit = |number: i64| b'0' + u8::try_from(number % 10).unwrap_or_default();
        line.extend_from_slice(&[
            digit(year / 1_000),
            digit(year / 100),
            digit(year / 10),
            digit(year),
            b'-',
            digit(month / 10),
            digit(month),
            b'-',
            digit(day / 10),
            digit(day),
            b'T',
            digit(hour / 10),
            digit(hour),
            b':',
            digit(minute / 10),
            digit(minute),
            b':',
            digit(second / 10),
            digit(second),
            b'.',
            digit(of_day / 100),
            digit(of_day / 10),
            digit(of_day),
            b'Z',
        ]);
    }
}

impl Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = self.0.as_millis();
        let days = milliseconds.div_euclid(86_400_000);
        let of_day = milliseconds.rem_euclid(86_400_000);
        let (year, month, day) = civil_from_days(days);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
            of_day / 3_600_000,
            of_day / 60_000 % 60,
            of_day / 1_000 % 60,
            of_day % 1_000
        )
    }
}

impl serde::Serialize for Rfc3339 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Year, month and day of a number of days since 1970-01-01, in the proleptic Gregorian calendar: the calendar is
/// taken in eras of 400 years (146,097 days) that begin on the first of March, so that a leap day is the last of its year.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_as_rfc_3339() {
        let cases = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_123, "2000-02-29T00:00:00.123Z"),
            (1_795_305_600_000, "2026-11-22T00:00:00.000Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799_000, "9999-12-31T23:59:59.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ];
        for (milliseconds, expected) in cases {
            let time = Rfc3339(UnixTime::from_millis(milliseconds));
            assert_eq!(time.to_string(), expected);
            let mut line = Vec::new();
            time.write(&mut line);
            assert_eq!(line, expected.as_bytes());
        }
    }
}
