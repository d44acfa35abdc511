//! How full an OSD is: three lines across its base device, as Ceph draws them, and which of them it has reached.
//!
//! The OSD refuses writes by this and the monitor reports by this, so that what `health` says is what clients feel.

use rkyv::{Archive, Deserialize, Serialize};

/// Shares of a base device, `0 < nearfull <= backfillfull <= full <= 1`.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
pub struct FullRatios {
    /// From here on people are warned.
    pub nearfull: f64,
    /// From here on nothing is moved there that is also elsewhere.
    pub backfillfull: f64,
    /// From here on only what frees space is taken.
    pub full: f64,
}

/// Ceph's defaults.
impl Default for FullRatios {
    fn default() -> FullRatios {
        FullRatios { nearfull: 0.85, backfillfull: 0.90, full: 0.95 }
    }
}

/// In ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fullness {
    Normal,
    NearFull,
    BackfillFull,
    Full,
}

impl Fullness {
    /// As Ceph names the state of an OSD; `None`: not worth a word.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Fullness::Normal => None,
            Fullness::NearFull => Some("nearfull"),
            Fullness::BackfillFull => Some("backfillfull"),
            Fullness::Full => Some("full"),
        }
    }
}

impl FullRatios {
    /// What is wrong with these ratios, and what would be right.
    pub fn check(&self) -> Result<(), String> {
        for (name, ratio) in self.named() {
            if !(ratio > 0.0 && ratio <= 1.0) {
                return Err(format!("{name} {ratio} is not above 0 and at most 1"));
            }
        }
        let [nearfull, backfillfull, full] = self.named();
        for ((lower_name, lower), (upper_name, upper)) in [(nearfull, backfillfull), (backfillfull, full)] {
            if lower > upper {
                return Err(format!(
                    "{lower_name} {lower} would be above {upper_name} {upper}; nearfull <= backfillfull <= full must hold, so change the other first"
                ));
            }
        }
        Ok(())
    }

    /// By the names that `osd dump` gives them.
    pub fn named(&self) -> [(&'static str, f64); 3] {
        [("nearfull_ratio", self.nearfull), ("backfillfull_ratio", self.backfillfull), ("full_ratio", self.full)]
    }

    /// How full a device is of which so many bytes are used or promised. One without bytes is full.
    pub fn judge(&self, used_bytes: u64, total_bytes: u64) -> Fullness {
        let reaches = |ratio: f64| used_bytes as f64 >= total_bytes as f64 * ratio;
        match () {
            () if reaches(self.full) => Fullness::Full,
            () if reaches(self.backfillfull) => Fullness::BackfillFull,
            () if reaches(self.nearfull) => Fullness::NearFull,
            () => Fullness::Normal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_full_at_its_ratio_and_an_empty_one_always() {
        let judge = |used, total| FullRatios::default().judge(used, total);
        assert_eq!(judge(84, 100), Fullness::Normal);
        assert_eq!(judge(85, 100), Fullness::NearFull);
        assert_eq!(judge(90, 100), Fullness::BackfillFull);
        assert_eq!(judge(94, 100), Fullness::BackfillFull);
        assert_eq!(judge(95, 100), Fullness::Full);
        assert_eq!(judge(0, 0), Fullness::Full);
    }

    #[test]
    fn ratios_out_of_order_or_range_are_refused_with_the_reason() {
        let with = |nearfull, backfillfull, full| FullRatios { nearfull, backfillfull, full }.check();
        assert_eq!(with(0.85, 0.9, 0.95), Ok(()));
        assert_eq!(with(1.0, 1.0, 1.0), Ok(()));
        assert!(
            with(0.91, 0.9, 0.95)
                .is_err_and(|why| why.contains("nearfull_ratio 0.91 would be above backfillfull_ratio 0.9"))
        );
        assert!(with(0.85, 0.96, 0.95).is_err_and(|why| why.contains("above full_ratio 0.95")));
        for wrong in [0.0, -0.1, 1.01, f64::NAN, f64::INFINITY] {
            assert!(with(0.1, 0.2, wrong).is_err_and(|why| why.starts_with("full_ratio")), "{wrong}");
        }
    }
}
