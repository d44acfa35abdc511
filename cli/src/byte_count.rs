//! Byte counts and object counts as Ceph's users read them: `291 MiB`, `1.3 KiB`, `12.35k`.

const BYTE_UNITS: [&str; 7] = [" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"];
const COUNT_UNITS: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];

/// `12 KiB`.
pub fn bytes(count: u64) -> String {
    scaled(count, 1024, &BYTE_UNITS)
}

/// `12.35k`.
pub fn count(count: u64) -> String {
    scaled(count, 1000, &COUNT_UNITS)
}

/// As many decimals, at most two, as leave seven characters in all; none where the value is an exact multiple of its unit.
fn scaled(value: u64, step: u64, units: &[&str; 7]) -> String {
    let mut divisor = 1u64;
    let mut index = 0;
    while index + 1 < units.len() && value / divisor >= step {
        divisor *= step;
        index += 1;
    }
    let unit = units.get(index).copied().unwrap_or_default();
    if value.is_multiple_of(divisor) {
        return format!("{}{unit}", value / divisor);
    }
    let scaled = value as f64 / divisor as f64;
    for decimals in [2, 1] {
        let text = format!("{scaled:.decimals$}{unit}");
        if text.len() <= 7 {
            return text;
        }
    }
    format!("{scaled:.0}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_look_as_in_ceph() {
        let seen = [0, 200, 1331, 4096, 11_880, 304_766_976, 12_580_134_912, 12_884_901_888, u64::MAX].map(bytes);
        assert_eq!(seen, ["0 B", "200 B", "1.3 KiB", "4 KiB", "12 KiB", "291 MiB", "12 GiB", "12 GiB", "16 EiB"]);
    }

    #[test]
    fn counts_look_as_in_ceph() {
        assert_eq!([0, 248, 12_345, 2_000_000].map(count), ["0", "248", "12.35k", "2M"]);
    }
}
