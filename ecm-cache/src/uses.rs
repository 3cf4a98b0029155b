/// How often each hash was counted lately: a count-min sketch (Cormode, Muthukrishnan 2005) whose counters are halved
/// from time to time, as TinyLFU does (Einziger, Friedman, Manes 2017).
///
/// A count is never too small, but for the halving; it is too large where others share all four counters.
#[derive(Debug)]
pub(crate) struct Uses {
    counters: Box<[u8]>,
    counted: usize,
}

const ROWS: usize = FACTORS.len();
/// Odd, and without a pattern: two hashes that share a counter in one row should not share those of the others.
const FACTORS: [u64; 4] = [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb, 0xd6e8_feb8_6659_fd93];

impl Uses {
    /// For about so many hashes that are counted at the same time; takes from 4 to 8 bytes for each.
    pub(crate) fn new(hashes: u64) -> Self {
        let width = usize::try_from(hashes.clamp(64, 1 << 24)).unwrap_or(1 << 24).next_power_of_two();
        Self { counters: vec![0; ROWS * width].into(), counted: 0 }
    }

    /// Counts a hash once more, and answers how often that was lately.
    pub(crate) fn count(&mut self, hash: u64) -> u8 {
        let width = self.counters.len() / ROWS;
        let mut least = u8::MAX;
        for (counters, factor) in self.counters.chunks_exact_mut(width).zip(FACTORS) {
            let place = (hash.wrapping_mul(factor) >> 40) as usize & (width - 1);
            counters[place] = counters[place].saturating_add(1);
            least = least.min(counters[place]);
        }
        self.counted += 1;
        if self.counted >= 10 * width {
            self.counted = 0;
            self.counters.iter_mut().for_each(|counter| *counter /= 2);
        }
        least
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_what_it_should_be_and_is_forgotten_by_and_by() {
        let mut uses = Uses::new(1_024);
        let hash = |number: u64| number.wrapping_mul(0x2545_f491_4f6c_dd1d);
        let counts: Vec<u8> = (1..=300).map(|_| uses.count(hash(1))).collect();
        assert_eq!((counts[0], counts[99], counts[299]), (1, 100, 255));
        let exact = (2..500).filter(|number| uses.count(hash(*number)) == 1).count();
        assert!(exact > 480, "few share all their counters: {exact}");
        assert_eq!((0..20_480).map(|_| uses.count(hash(7))).max(), Some(255));
        assert!(uses.count(hash(1)) <= 128, "halved at least once");
    }
}
