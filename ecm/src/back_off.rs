use std::time::Duration;

/// The longest pause before a call is repeated, unless the configured one is longer from the start.
const LONGEST: Duration = Duration::from_secs(2);

/// How long to wait before a call is repeated the `retry`th time, counted from 0: doubling from `first` on, of which
/// half is certain and half is drawn ("equal jitter": Marc Brooker, *Exponential Backoff And Jitter*, AWS Architecture
/// Blog, 2015). `draw` tells this pause from others.
pub(crate) fn pause(first: Duration, retry: u32, draw: u64) -> Duration {
    let whole = first.saturating_mul(1 << retry.min(31)).min(LONGEST.max(first));
    let half = u64::try_from(whole.as_nanos() / 2).unwrap_or(u64::MAX);
    let part = (u128::from(mixed(draw)) * (u128::from(half) + 1)) >> 64;
    whole - Duration::from_nanos(half) + Duration::from_nanos(part as u64)
}

/// The number of SplitMix64 after this state (Steele, Lea and Flood, *Fast splittable pseudorandom number generators*,
/// 2014).
fn mixed(state: u64) -> u64 {
    let mut mixed = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_from_one_half_to_the_whole_of_what_has_doubled() {
        let half_a_second = Duration::from_millis(500);
        for (retry, whole) in [(0, 500), (1, 1000), (2, 2000), (3, 2000), (u32::MAX, 2000)] {
            let whole = Duration::from_millis(whole);
            let pauses: Vec<_> = (0..1_000).map(|draw| pause(half_a_second, retry, draw)).collect();
            assert!(pauses.iter().all(|pause| (whole / 2..=whole).contains(pause)), "{retry}");
            let late = pauses.iter().filter(|&&pause| pause > whole * 3 / 4).count();
            // 500 are expected; four standard deviations are 64.
            assert!((436..=564).contains(&late), "{late} of 1000 in the later half");
        }
        let long = Duration::from_secs(10);
        assert!(pause(long, 5, 1) >= long / 2 && pause(long, 5, 1) <= long, "longer than the longest from the start");
        assert_eq!(pause(Duration::ZERO, 3, 1), Duration::ZERO);
    }
}
