//! The lengths of a straw bucket's straws, in 16.16 fixed point, as Ceph cuts them.
//!
//! From the lightest item up, each straw is longer than the last by what makes its chance of being the longest grow with the weight.
//! Nobody, Ceph's authors included, has shown that this gives chances in proportion to weights, and it does not quite: straw2 does.

/// One length an item. Version 0 cuts wrongly where items weigh the same or nothing; maps from then still lie by it.
pub fn lengths(weights: &[u32], straw_calc_version: u32) -> Vec<u32> {
    // Lightest first; those that weigh the same in their order.
    let mut order: Vec<(usize, u32)> = weights.iter().copied().enumerate().collect();
    order.sort_by_key(|(_, weight)| *weight);

    let mut lengths = vec![0; weights.len()];
    let mut left = order.len() as u32;
    let mut straw = 1.0f64;
    let mut below = 0.0f64;
    let mut weight_before_last = 0u32;
    let mut rest = order.as_slice();
    while let Some(((item, weight), after)) = rest.split_first() {
        rest = after;
        if *weight == 0 {
            if straw_calc_version > 0 {
                left -= 1;
            }
            continue;
        }
        if let Some(length) = lengths.get_mut(*item) {
            *length = (straw * 65536.0) as u32;
        }
        let Some((_, next)) = rest.first() else { break };
        if straw_calc_version == 0 && next == weight {
            continue;
        }
        below += (f64::from(*weight) - f64::from(weight_before_last)) * f64::from(left);
        if straw_calc_version > 0 {
            left -= 1;
        } else {
            let as_heavy = rest.iter().take_while(|(_, other)| other == next).count() as u32;
            left = left.saturating_sub(as_heavy);
        }
        // In 32 bits there, where it may wrap.
        let above = f64::from(left.wrapping_mul(next - weight));
        let share_below = below / (below + above);
        straw *= (1.0 / share_below).powf(1.0 / f64::from(left));
        weight_before_last = *weight;
    }
    lengths
}

#[cfg(test)]
mod tests {
    use super::lengths;

    #[test]
    fn items_of_one_weight_have_straws_of_one_length() {
        for version in [0, 1] {
            assert_eq!(lengths(&[5, 5, 5], version), [65536; 3]);
            assert_eq!(lengths(&[], version), [0u32; 0]);
            assert_eq!(lengths(&[0, 7, 0], version), [0, 65536, 0]);
        }
    }

    #[test]
    fn a_heavier_item_has_a_longer_straw() {
        for version in [0, 1] {
            assert!(lengths(&[1, 3, 2, 9], version).windows(2).all(|pair| pair[0] != pair[1]));
            assert!(lengths(&[65536, 131072, 196608], version).is_sorted());
        }
    }
}
