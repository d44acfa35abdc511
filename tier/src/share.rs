//! How the hot slice is shared among pools: given targets first, the rest by need.

/// One pool's claim on the slice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Claim {
    /// `target_max_bytes`.
    Given(u64),
    /// No target: recent traffic in bytes.
    Need(f64),
}

/// When pools without a target compete with targets that fill the slice, so much of it is still theirs.
const NEED_SHARE_MIN: u64 = 16;
/// Each pool counts as if it had this part of the shared bytes in traffic, so that idle pools start equal and none starves.
const PRIOR_SHARE: f64 = 1.0 / 16.0;

/// A target for each claim, in order. Their sum is never above `available`.
pub fn targets(available: u64, claims: &[Claim]) -> Vec<u64> {
    let given: u128 =
        claims.iter().map(|claim| if let Claim::Given(bytes) = claim { u128::from(*bytes) } else { 0 }).sum();
    let needs: Vec<f64> =
        claims.iter().filter_map(|claim| if let Claim::Need(need) = claim { Some(*need) } else { None }).collect();
    let least = if needs.is_empty() { 0 } else { available / NEED_SHARE_MIN };
    let for_given = u128::from(available - least).min(given);
    let shared = available - for_given as u64;
    let prior = shared as f64 * PRIOR_SHARE + 1.0;
    let weights = needs.iter().sum::<f64>() + prior * needs.len() as f64;
    claims
        .iter()
        .map(|claim| match claim {
            Claim::Given(bytes) => (u128::from(*bytes) * for_given).checked_div(given).unwrap_or(0) as u64,
            // A part in 2^20 less, so that rounding never adds up to more than there is.
            Claim::Need(need) if needs.len() > 1 => {
                ((shared - (shared >> 20)) as f64 * ((need + prior) / weights)) as u64
            }
            Claim::Need(_) => shared,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_lone_pool_gets_all_and_idle_pools_get_equal_parts() {
        assert_eq!(targets(1 << 30, &[Claim::Need(0.0)]), [1 << 30]);
        let equal = targets(1 << 30, &[Claim::Need(0.0), Claim::Need(0.0)]);
        assert_eq!(equal[0], equal[1]);
        assert!(equal[0] > (1 << 29) - (1 << 12));
    }

    #[test]
    fn a_busy_pool_gets_nearly_all_of_what_idle_ones_leave() {
        let busy = targets(1 << 30, &[Claim::Need(10e9), Claim::Need(0.0), Claim::Given(1 << 28)]);
        assert!(busy[0] as f64 > 0.97 * 0.75 * (1u64 << 30) as f64 && busy[1] > 0, "{busy:?}");
        assert_eq!(busy[2], 1 << 28);
    }

    proptest! {
        #[test]
        fn targets_never_exceed_the_slice(
            available in 0u64..1 << 45,
            claims in proptest::collection::vec(
                prop_oneof![any::<u64>().prop_map(Claim::Given), (0.0..1e15).prop_map(Claim::Need)], 0..20),
        ) {
            let targets = targets(available, &claims);
            prop_assert!(targets.iter().map(|&target| u128::from(target)).sum::<u128>() <= u128::from(available));
            for (target, claim) in targets.iter().zip(&claims) {
                if let Claim::Given(given) = claim {
                    prop_assert!(target <= given);
                }
            }
        }
    }
}
