use crate::ValueRef;
use std::{
    hash::{BuildHasher, RandomState},
    sync::OnceLock,
};

/// Hashes keys of a cache: a multiplication for each number, and one for each 16 bytes of a text.
///
/// The step is the folded multiplication of wyhash (Wang Yi, 2019), as in foldhash: both halves of a product of 128
/// bits, one over the other. What each factor is mixed with is random and differs from process to process, so that
/// values that collide cannot be prepared by somebody who knows the program. It is no cryptographic function: who
/// can see hashes could find such values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mixer {
    start: u64,
    /// One for each type of value, so that `1`, `1.0` and `'1'` differ.
    types: [u64; 5],
    bytes: u64,
    end: u64,
}

impl Mixer {
    /// The one of this process.
    #[inline]
    pub(crate) fn of_the_process() -> &'static Self {
        static MIXER: OnceLock<Mixer> = OnceLock::new();
        MIXER.get_or_init(|| {
            let random = RandomState::new();
            Self::new(|number| random.hash_one(number))
        })
    }

    fn new(random: impl Fn(u32) -> u64) -> Self {
        Self { start: random(0), types: [1, 2, 3, 4, 5].map(&random), bytes: random(6), end: random(7) }
    }

    /// The hash of a statement of a group with these values; all of its bits are good.
    #[inline]
    pub(crate) fn hash(&self, group: u32, statement: u32, values: &[ValueRef<'_>]) -> u64 {
        let [null, integer, real, text, blob] = self.types;
        let mut state = self.start;
        for value in values {
            state = match *value {
                ValueRef::Null => fold(state, null),
                ValueRef::Integer(number) => fold(state ^ number.cast_unsigned(), integer),
                ValueRef::Real(number) => fold(state ^ number.to_bits(), real),
                ValueRef::Text(content) => self.content(state, content.as_bytes(), text),
                ValueRef::Blob(content) => self.content(state, content, blob),
            };
        }
        // Not at the start: there, the number of the statement and the first value could cancel each other out.
        fold(state ^ (u64::from(group) << 32 | u64::from(statement)), self.end)
    }

    /// The length comes first, so that neighbours do not run together.
    fn content(&self, state: u64, content: &[u8], of_type: u64) -> u64 {
        let mut state = fold(state ^ content.len() as u64, of_type);
        let mut rest = content;
        while let Some((first, more)) = rest.split_first_chunk::<16>() {
            state = self.pair(state, *first);
            rest = more;
        }
        if !rest.is_empty() {
            let mut last = [0; 16];
            last[..rest.len()].copy_from_slice(rest);
            state = self.pair(state, last);
        }
        state
    }

    #[inline]
    fn pair(&self, state: u64, bytes: [u8; 16]) -> u64 {
        let both = u128::from_le_bytes(bytes);
        fold(state ^ both as u64, self.bytes ^ (both >> 64) as u64)
    }
}

/// Both halves of the product, one over the other: each bit of the result depends on all bits of both.
#[inline]
fn fold(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    /// One whose numbers follow from a seed.
    fn seeded(seed: u64) -> Mixer {
        // SplitMix64 (Steele, Lea, Flood 2014)
        Mixer::new(|number| {
            let state = seed.wrapping_add(u64::from(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            state ^ (state >> 31)
        })
    }

    /// Each bit of what goes in changes each bit of what comes out, about every other time.
    fn avalanches(seed: u64, bits: usize, slack: u32, hash: impl Fn(&Mixer, u64, usize) -> u64) {
        const ROUNDS: u32 = 2_000;
        for bit in 0..bits {
            let mut changed = [0_u32; 64];
            for round in 0..ROUNDS {
                let mixer = seeded(seed.wrapping_add(u64::from(round)));
                let difference = hash(&mixer, u64::from(round), usize::MAX) ^ hash(&mixer, u64::from(round), bit);
                changed.iter_mut().enumerate().for_each(|(at, count)| *count += u32::from(difference >> at & 1 == 1));
            }
            // 1,000 are expected, with a standard deviation of 22.
            assert!(changed.iter().all(|count| count.abs_diff(1_000) <= slack), "bit {bit}, seed {seed}: {changed:?}");
        }
    }

    #[test]
    fn every_bit_of_a_number_moves_every_bit_of_the_hash() {
        avalanches(7, 64, 150, |mixer, round, bit| {
            let flip = 1_u64.checked_shl(u32::try_from(bit).unwrap_or(u32::MAX)).unwrap_or(0);
            mixer.hash(0, 1, &[ValueRef::Integer((round ^ flip).cast_signed())])
        });
    }

    #[test]
    fn every_bit_of_a_text_moves_every_bit_of_the_hash() {
        avalanches(11, 37 * 8, 150, |mixer, round, bit| {
            let mut content = [0; 37];
            content[..8].copy_from_slice(&round.to_le_bytes());
            if let Some(byte) = content.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
            mixer.hash(0, 1, &[ValueRef::Blob(&content)])
        });
    }

    #[test]
    fn every_bit_of_a_statement_moves_every_bit_of_the_hash() {
        // One multiplication alone comes after it, which some bits of the product survive more often than not.
        avalanches(13, 64, 300, |mixer, _, bit| {
            let flip = 1_u64.checked_shl(u32::try_from(bit).unwrap_or(u32::MAX)).unwrap_or(0);
            mixer.hash((flip >> 32) as u32, flip as u32, &[])
        });
    }

    #[test]
    fn statements_and_small_numbers_do_not_collide() {
        let mixer = seeded(17);
        let all = (0..64).flat_map(|group| (0..64).map(move |statement| (group, statement)));
        let hashes: HashSet<u64> = all
            .flat_map(|(group, statement)| {
                (0..64).map(move |number| mixer.hash(group, statement, &[ValueRef::Integer(number)]))
            })
            .collect();
        assert_eq!(hashes.len(), 64 * 64 * 64);
    }

    #[test]
    fn what_collides_in_one_process_does_not_in_another() {
        let key = [ValueRef::Integer(1), ValueRef::Text("one")];
        let hashes: HashSet<u64> = (0..100).map(|seed| seeded(seed).hash(0, 0, &key)).collect();
        assert_eq!(hashes.len(), 100);
        // Two numbers whose lowest ten bits of the hash agree: chance alone decides whether those of another agree.
        let low = |seed, number| seeded(seed).hash(0, 0, &[ValueRef::Integer(number)]) % 1_024;
        let agree: Vec<i64> = (0..200_000).filter(|&number| low(0, number) == 0).collect();
        let still = agree.iter().filter(|&&number| low(1, number) == low(1, agree[0])).count();
        assert!(agree.len() > 100 && still <= 1 + agree.len() / 50, "{still} of {}", agree.len());
        assert_eq!(Mixer::of_the_process().hash(0, 0, &key), Mixer::of_the_process().hash(0, 0, &key));
    }

    proptest! {
        #[test]
        fn neighbours_do_not_run_together(seed: u64, a in ".{0,40}", b in ".{0,40}", at in 0_usize..80) {
            let whole = format!("{a}{b}");
            let at = (0..=at.min(whole.len())).rev().find(|&at| whole.is_char_boundary(at)).unwrap_or(0);
            let other = whole.split_at(at);
            let mixer = seeded(seed);
            let one = mixer.hash(0, 0, &[ValueRef::Text(&a), ValueRef::Text(&b)]);
            let two = mixer.hash(0, 0, &[ValueRef::Text(other.0), ValueRef::Text(other.1)]);
            prop_assert_eq!(one == two, (&*a, &*b) == other);
            prop_assert_ne!(one, mixer.hash(0, 0, &[ValueRef::Text(&whole)]));
            prop_assert_ne!(one, mixer.hash(0, 0, &[ValueRef::Text(&a), ValueRef::Blob(b.as_bytes())]));
            let padded = format!("{b}\0");
            prop_assert_ne!(one, mixer.hash(0, 0, &[ValueRef::Text(&a), ValueRef::Text(&padded)]));
        }
    }
}
