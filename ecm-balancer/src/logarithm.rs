/// How many binary digits a logarithm has after the point.
pub(crate) const FRACTION: u32 = 22;

/// 1 as a logarithm: twice as much.
pub(crate) const ONE: i64 = 1 << FRACTION;

const STEPS: u32 = 8;

/// log2(1 + i/256), in units of 2^-22.
static TABLE: [u32; (1 << STEPS) + 1] = table();

/// The binary logarithm of `n` in units of 2^-22, off by 20 of them at most; 0 of 0.
#[inline]
pub(crate) fn log2(n: u64) -> i64 {
    let n = n.max(1);
    let whole = 63 - n.leading_zeros();
    // What stands below the leading one, at the upper end.
    let below = (n << (63 - whole)) << 1;
    let step = (below >> (64 - STEPS)) as usize;
    let rest = (below << STEPS) >> 40;
    let (low, high) = (u64::from(TABLE[step]), u64::from(TABLE[step + 1]));
    i64::from(whole) * ONE + (low + (((high - low) * rest) >> 24)) as i64
}

/// What has this logarithm.
pub(crate) fn exp2(log2: i64) -> f64 {
    (log2 as f64 / ONE as f64).exp2()
}

/// Bit by bit: squaring a number doubles its logarithm.
const fn table() -> [u32; (1 << STEPS) + 1] {
    let mut table = [0; (1 << STEPS) + 1];
    let mut step = 0;
    while step < 1 << STEPS {
        let mut mantissa: u128 = (1 << 62) + ((step as u128) << (62 - STEPS));
        let (mut digits, mut digit) = (0, 0);
        // Two digits more than are kept, to round.
        while digit < FRACTION + 2 {
            mantissa = (mantissa * mantissa) >> 62;
            digits <<= 1;
            if mantissa >= 1 << 63 {
                mantissa >>= 1;
                digits |= 1;
            }
            digit += 1;
        }
        table[step] = (digits + 2) >> 2;
        step += 1;
    }
    table[1 << STEPS] = 1 << FRACTION;
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_that_of_the_standard_library(n in 1_u64..=u64::MAX, shift in 0_u32..64) {
            let n = (n >> shift).max(1);
            let exact = (n as f64).log2() * ONE as f64;
            prop_assert!((log2(n) as f64 - exact).abs() <= 20.0, "{} of {n}, not {exact}", log2(n));
            prop_assert!(log2(n) <= log2(n.saturating_add(1)));
            prop_assert!((exp2(log2(n)) / n as f64 - 1.0).abs() < 1e-5);
        }
    }

    #[test]
    fn powers_of_two_are_exact() {
        (0..64).for_each(|power| assert_eq!(log2(1 << power), i64::from(power) * ONE));
        assert_eq!(log2(0), 0);
    }
}
