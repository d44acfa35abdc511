//! Amounts as people type and read them: sizes (`4k 64K 1M 8G`), counts (`1M` is a million), times (`500ms 30s 10m 2h`), ratios.

use std::time::Duration;

/// Bytes, with an IEC suffix in either case: `4k`, `64K`, `1M`, `8G`, `1T`, `1Ki`, `1KiB`.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let (number, suffix) = split_suffix(text);
    let suffix = suffix.strip_suffix(['b', 'B']).unwrap_or(suffix);
    let suffix = suffix.strip_suffix('i').unwrap_or(suffix);
    let shift = match suffix {
        "" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        "t" | "T" => 40,
        "p" | "P" => 50,
        "e" | "E" => 60,
        _ => {
            return Err(format!(
                "'{text}' is not a size: write bytes, or a number with one of K M G T P E, such as 64K"
            ));
        }
    };
    scaled(text, number, 1u64 << shift)
}

/// A count, with an SI suffix: `1M` is a million.
pub fn parse_count(text: &str) -> Result<u64, String> {
    let (number, suffix) = split_suffix(text);
    let factor = match suffix {
        "" => 1,
        "k" | "K" => 1_000,
        "m" | "M" => 1_000_000,
        "g" | "G" => 1_000_000_000,
        "t" | "T" => 1_000_000_000_000,
        "p" | "P" => 1_000_000_000_000_000,
        "e" | "E" => 1_000_000_000_000_000_000,
        _ => return Err(format!("'{text}' is not a count: write a number, or one with K M G T P E, such as 1M")),
    };
    scaled(text, number, factor)
}

/// A time: seconds when bare, else with `ms`, `s`, `m`, `h` or `d`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, suffix) = split_suffix(text);
    let factor_ms = match suffix {
        "ms" => 1,
        "" | "s" | "sec" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => {
            return Err(format!(
                "'{text}' is not a time: write seconds, or a number with ms, s, m, h or d, such as 10m"
            ));
        }
    };
    scaled(text, number, factor_ms).map(Duration::from_millis)
}

fn split_suffix(text: &str) -> (&str, &str) {
    let digits = text.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(text.len());
    text.split_at(digits)
}

/// `number` (digits with at most one point) times `factor`, rounded down; refused if it doesn't fit.
fn scaled(text: &str, number: &str, factor: u64) -> Result<u64, String> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return Err(format!("'{text}' is not a number with an optional suffix"));
    }
    let too_large = || format!("'{text}' is too large: at most {} fits", u64::MAX);
    let whole: u64 = whole.parse().map_err(|_| too_large())?;
    let whole = whole.checked_mul(factor).ok_or_else(too_large)?;
    let fraction_value: u128 = if fraction.is_empty() { 0 } else { fraction.parse().map_err(|_| too_large())? };
    let fraction = fraction_value * u128::from(factor) / 10u128.pow(fraction.len() as u32);
    whole.checked_add(u64::try_from(fraction).map_err(|_| too_large())?).ok_or_else(too_large)
}

/// As Ceph prints sizes: `0 B`, `12 KiB`, `1.3 KiB`.
pub fn format_bytes(bytes: u64) -> String {
    format_scaled(bytes, 1024, &[" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"])
}

/// As Ceph prints counts: `249`, `1.24k`, `3M`.
pub fn format_count(count: u64) -> String {
    format_scaled(count, 1000, &["", "k", "M", "G", "T", "P", "E"])
}

fn format_scaled(value: u64, base: u64, suffixes: &[&str; 7]) -> String {
    let mut divisor = 1u64;
    let mut suffix = "";
    for (unit, name) in (0u32..).zip(suffixes) {
        let scale = base.pow(unit);
        if unit == 0 || value >= scale {
            (divisor, suffix) = (scale, *name);
        }
    }
    if value.is_multiple_of(divisor) {
        return format!("{}{suffix}", value / divisor);
    }
    // As many decimals, two at most, as keep the whole within Ceph's seven characters.
    let quotient = value as f64 / divisor as f64;
    let with = |decimals: usize| format!("{quotient:.decimals$}{suffix}");
    (1..=2).rev().map(with).find(|text| text.len() <= 7).unwrap_or_else(|| with(0))
}

/// An age as Ceph prints it: `45s`, `3m`, `2h`, `5d`, `3w`.
pub fn format_age(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        172_800..1_209_600 => format!("{}d", seconds / 86_400),
        _ => format!("{}w", seconds / 604_800),
    }
}

/// A moment of the wall clock as Ceph prints it, without its fraction: `2026-11-22T02:35:53+0000`.
pub fn format_utc(unix_s: u64) -> String {
    let (days, second_of_day) = (unix_s / 86_400, unix_s % 86_400);
    // Days to civil date (H. Hinnant, "chrono-compatible low-level date algorithms"): years begin in March, eras have 400 of them.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second_of_day / 3_600, second_of_day / 60 % 60, second_of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}+0000")
}
