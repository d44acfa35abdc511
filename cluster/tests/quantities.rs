//! Amounts as people type and read them.

use basalt_cluster::quantity::*;
use proptest::prelude::*;
use std::time::Duration;

#[test]
fn amounts_are_printed_as_ceph_prints_them() {
    for (bytes, text) in [
        (0, "0 B"),
        (200, "200 B"),
        (1331, "1.3 KiB"),
        (2355, "2.3 KiB"),
        (3994, "3.9 KiB"),
        (11_880, "12 KiB"),
        (304_766_976, "291 MiB"),
        (12_580_134_912, "12 GiB"),
        (12_884_901_888, "12 GiB"),
        (10 << 30, "10 GiB"),
    ] {
        assert_eq!(format_bytes(bytes), text);
    }
    for (count, text) in [(249, "249"), (1_000_000, "1M"), (1_240, "1.24k")] {
        assert_eq!(format_count(count), text);
    }
    for (seconds, text) in [(0, "0s"), (119, "119s"), (211, "3m"), (7_200, "2h"), (172_800, "2d"), (1_814_400, "3w")] {
        assert_eq!(format_age(Duration::from_secs(seconds)), text);
    }
    assert_eq!(format_utc(0), "1970-01-01T00:00:00+0000");
    assert_eq!(format_utc(951_827_696), "2000-02-29T12:34:56+0000");
    assert_eq!(format_utc(1_795_314_953), "2026-11-22T02:35:53+0000");
}

#[test]
fn every_way_to_write_a_size_is_read() {
    for (text, bytes) in [
        ("0", 0),
        ("4k", 4096),
        ("64K", 65_536),
        ("1M", 1 << 20),
        ("8G", 8 << 30),
        ("1T", 1 << 40),
        ("1.5K", 1536),
        ("1Ki", 1024),
        ("1KiB", 1024),
        ("7B", 7),
        ("15E", 15 << 60),
    ] {
        assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
    }
    for wrong in ["", "k", "-1", "1 K", "1Q", "1.2.3", "16E", "99999999999999999999", "1e3", "٣"] {
        assert!(parse_bytes(wrong).is_err(), "{wrong}");
    }
    assert_eq!(parse_count("1.5k"), Ok(1500));
    for (text, ms) in [("500ms", 500), ("30s", 30_000), ("10m", 600_000), ("2h", 7_200_000), ("7", 7_000)] {
        assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,24}|[0-9]{1,22}\\.?[0-9]{0,12}[a-zA-Z]{0,3}") {
        let _ = (parse_bytes(&text), parse_count(&text), parse_duration(&text));
    }

    #[test]
    fn what_is_printed_is_near_what_was_meant(bytes in any::<u64>()) {
        let printed = format_bytes(bytes);
        let read = parse_bytes(&printed.replace(' ', ""));
        if let Ok(read) = read {
            prop_assert!(read.abs_diff(bytes) as f64 <= bytes as f64 * 0.06, "{bytes} → {printed} → {read}");
        }
        prop_assert!(printed.len() <= 8, "{printed}");
    }
}
