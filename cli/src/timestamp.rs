//! Points in time as text, in UTC; and how long ago they were.

use basalt_cluster::quantity::format_age;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `2026-11-22T13:02:02.123456+0000`, from nanoseconds since 1970.
pub fn utc(nanoseconds: u64) -> String {
    let seconds = nanoseconds / 1_000_000_000;
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let microsecond = nanoseconds / 1000 % 1_000_000;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{microsecond:06}+0000")
}

/// `3m`, `2h`, `5d`: how long ago a moment in seconds since 1970 was.
pub fn age(unix_seconds: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    format_age(Duration::from_secs(now.saturating_sub(unix_seconds)))
}

/// The proleptic Gregorian date of a day since 1970-01-01, counted in eras of 400 years that begin in March, so that the leap day
/// comes last (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(utc(0), "1970-01-01T00:00:00.000000+0000");
        assert_eq!(utc(951_782_400_000_000_000), "2000-02-29T00:00:00.000000+0000");
        assert_eq!(utc(1_795_314_892_123_456_789), "2026-11-22T02:34:52.123456+0000");
        assert_eq!(utc(4_107_542_399_000_000_000), "2100-02-28T23:59:59.000000+0000");
        assert_eq!(utc(4_107_542_400_000_000_000), "2100-03-01T00:00:00.000000+0000");
    }
}
