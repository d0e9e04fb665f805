//! Times as the standard writes them, and as files of keys do.

use std::time::Duration;

use oauth4os_tokens::clock::UnixTime;

const DAY: i64 = 86_400;

/// The time of a signature.
pub(super) struct Stamp {
    /// `20260101`.
    pub(super) day: String,
    /// `20260101T000000Z`.
    pub(super) time: String,
}

impl Stamp {
    pub(super) fn of(now: UnixTime) -> Self {
        let seconds = now.as_secs();
        let (year, month, day) = date(seconds.div_euclid(DAY));
        let rest = seconds.rem_euclid(DAY);
        let day = format!("{year:04}{month:02}{day:02}");
        let time = format!("{day}T{:02}{:02}{:02}Z", rest / 3_600, rest / 60 % 60, rest % 60);
        Self { day, time }
    }
}

/// A time in the form of RFC 3339: `2026-01-01T00:00:00Z`, with a fraction or an offset if need be.
pub(super) fn parse(text: &str) -> Option<UnixTime> {
    let number = |range: std::ops::Range<usize>| {
        let digits = text.get(range)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<i64>().ok())?
    };
    let has = |at: usize, letters: &[u8]| text.as_bytes().get(at).is_some_and(|byte| letters.contains(byte));
    let is_formed = has(4, b"-") && has(7, b"-") && has(10, b"Tt ") && has(13, b":") && has(16, b":");
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let is_in_range = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    let mut rest = text.get(19..)?;
    if let Some(fraction) = rest.strip_prefix('.') {
        rest = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    let offset = match rest {
        "Z" | "z" => 0,
        _ => {
            let sign = if rest.starts_with('-') { -1 } else { 1 };
            let (hours, minutes) = rest.strip_prefix(['+', '-'])?.split_once(':')?;
            if hours.len() != 2 || minutes.len() != 2 {
                return None;
            }
            sign * (hours.parse::<i64>().ok()? * 3_600 + minutes.parse::<i64>().ok()? * 60)
        }
    };
    (is_formed && is_in_range).then(|| {
        let seconds = days(year, month, day) * DAY + hour * 3_600 + minute * 60 + second - offset;
        UnixTime::default() + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    })
}

/// The date so many days after 1970-01-01, in years that begin in March: leap days then come last.
const fn date(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (year_of_era + era * 400 + next, month, day)
}

const fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_the_time_in_utc() {
        for (seconds, expected) in [
            (0, "19700101T000000Z"),
            (951_782_399, "20000228T235959Z"),
            (951_782_400, "20000229T000000Z"),
            (1_440_938_160, "20150830T123600Z"),
            (4_107_542_399, "21000228T235959Z"),
            (4_107_542_400, "21000301T000000Z"),
        ] {
            let stamp = Stamp::of(UnixTime::from_secs(seconds));
            assert_eq!(stamp.time, expected);
            assert!(stamp.time.starts_with(&stamp.day));
        }
        for day in (-1_000..60_000).step_by(7) {
            let (year, month, of_month) = date(day);
            assert_eq!(days(year, month, of_month), day);
        }
    }

    #[test]
    fn expirations_are_read_and_nothing_else() {
        for text in [
            "2015-08-30T12:36:00Z",
            "2015-08-30T12:36:00.999Z",
            "2015-08-30T14:36:00+02:00",
            "2015-08-30T11:06:00-01:30",
        ] {
            assert_eq!(parse(text), Some(UnixTime::from_secs(1_440_938_160)), "{text}");
        }
        for text in [
            "",
            "2015-08-30",
            "2015-08-30T12:36:00",
            "2015-8-30T12:36:00Z",
            "2015-13-30T12:36:00Z",
            "2015-08-30T12:36:00+2:00",
            "2015-08-30T12:36:00Zx",
            "+015-08-30T12:36:00Z",
            "2015-08-30T1ä:36:00Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
