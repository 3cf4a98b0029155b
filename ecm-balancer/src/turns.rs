use crate::shares::Shares;
use ecm_core::Node;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many rounds go on beside each other: as many as have counters that fill a cache line.
const ROUNDS: usize = 8;

/// 2^64 divided by the golden ratio.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// Goes round: hands out the turns of some shares, each as often as any other.
///
/// Sets of databases of different size go round apart from each other. Otherwise a database whose
/// breaker refuses would skew the rest: its calls are picked for again among one database less, and
/// counting both picks in one round leaves some databases the odd numbers only.
#[derive(Debug)]
pub(crate) struct Turns {
    /// The turns that were handed out so far.
    handed_out: [AtomicU64; ROUNDS],
    /// The last number of turns that was spread, above, with its stride, below.
    strides: [AtomicU64; ROUNDS],
}

impl Turns {
    pub(crate) const fn new() -> Self {
        Self { handed_out: [const { AtomicU64::new(0) }; ROUNDS], strides: [const { AtomicU64::new(0) }; ROUNDS] }
    }

    /// The database whose turn is next.
    #[inline]
    pub(crate) fn next(&self, nodes: &[Node], shares: Shares) -> Option<usize> {
        let round = shares.databases() % ROUNDS;
        let turn = self.handed_out[round].fetch_add(1, Ordering::Relaxed) % shares.turns();
        let turn = if shares.are_even() { turn } else { spread(turn, shares.turns(), &self.strides[round]) };
        shares.at(nodes, turn)
    }
}

/// Where this turn stands when all are spread, so that the many turns of a heavy database are not
/// taken in a row: they are walked through in strides, all of them once, since stride and number
/// have no common divisor.
fn spread(turn: u64, turns: u64, known: &AtomicU64) -> u64 {
    let Ok(short) = u32::try_from(turns) else {
        return (u128::from(turn) * u128::from(stride(turns)) % u128::from(turns)) as u64;
    };
    let word = known.load(Ordering::Relaxed);
    if word >> 32 == turns {
        return turn * (word & u64::from(u32::MAX)) % turns;
    }
    let stride = stride(turns);
    known.store(u64::from(short) << 32 | stride, Ordering::Relaxed);
    turn * stride % turns
}

/// The first number from `turns` divided by the golden ratio on that has no divisor in common with
/// it. Of all ratios that one spreads most evenly (Knuth, The Art of Computer Programming 3, 6.4).
fn stride(turns: u64) -> u64 {
    let golden = ((u128::from(turns) * u128::from(GOLDEN)) >> 64) as u64;
    (golden.max(1)..turns).find(|&stride| greatest_common_divisor(turns, stride) == 1).unwrap_or(1)
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn spreading_gives_every_turn_once_whatever_else_is_spread_between(turns in 1_u64..3_000, others in 1_u64..3_000) {
            let known = AtomicU64::new(0);
            let mut seen: Vec<_> = (0..turns)
                .map(|turn| {
                    if turn % 3 == 0 {
                        spread(turn % others, others, &known);
                    }
                    spread(turn, turns, &known)
                })
                .collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..turns).collect::<Vec<_>>());
        }

        #[test]
        fn a_great_number_is_walked_through_without_a_divisor_in_common(turns in 1_u64..1 << 38, turn in any::<u64>()) {
            let (turn, known) = (turn % turns, AtomicU64::new(0));
            prop_assert_eq!(greatest_common_divisor(stride(turns), turns), 1);
            let exact = (u128::from(turn) * u128::from(stride(turns)) % u128::from(turns)) as u64;
            prop_assert_eq!([(); 2].map(|()| spread(turn, turns, &known)), [exact; 2]);
        }
    }

    #[test]
    fn the_turns_of_a_heavy_database_are_spread() {
        let weights = |weights: [u32; 3]| weights.map(|weight| Node { weight, ..Node::new("node") });
        let nodes = weights([5, 1, 1]);
        let shares = Shares::of(&nodes, [0, 1, 2].into_iter().collect()).unwrap();
        let turns = Turns::new();
        let picked: Vec<_> = (0..14).filter_map(|_| turns.next(&nodes, shares)).collect();
        assert_eq!(picked, [0, 0, 0, 1, 0, 2, 0, 0, 0, 0, 1, 0, 2, 0]);

        for total in 0..12_u32.pow(3) {
            let nodes = weights([total % 12, total / 12 % 12, total / 144].map(|weight| weight + 1));
            let sum: u32 = nodes.iter().map(|node| node.weight).sum();
            let shares = Shares::of(&nodes, [0, 1, 2].into_iter().collect()).unwrap();
            let (turns, mut counts) = (Turns::new(), [0; 3]);
            for n in 1..=sum {
                counts[turns.next(&nodes, shares).unwrap()] += 1;
                for (node, count) in nodes.iter().zip(counts) {
                    let ideal = f64::from(n * node.weight) / f64::from(sum);
                    assert!((f64::from(count) - ideal).abs() < 3.0, "{count} turns of {n} for {node:?}, not {ideal}");
                }
            }
        }
    }
}
