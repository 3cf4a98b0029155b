use std::hash::{BuildHasher, Hasher};

/// Takes the hash that a key brings along as it is: a key is hashed once, where it is made.
///
/// `quick_cache` takes the shard from the bits in the middle, `dashmap` from the highest but seven,
/// `hashbrown` the bucket from the lowest ones and its tag from the highest seven, so all 64 bits have to
/// be good. Those of
/// [`KeyRef::new`](ecm_core::KeyRef::new) are.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Carried;

#[derive(Debug)]
pub(crate) struct CarriedHash(u64);

impl BuildHasher for Carried {
    type Hasher = CarriedHash;

    fn build_hasher(&self) -> CarriedHash {
        CarriedHash(0)
    }
}

impl Hasher for CarriedHash {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("a key writes its hash and nothing else");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use ecm_core::{KeyRef, ValueRef};

    #[test]
    fn the_bits_that_choose_shard_bucket_and_tag_are_spread() {
        const KEYS: i64 = 16_384;
        let part_of_bits: [fn(u64) -> u64; 3] = [|hash| (hash >> 32) % 64, |hash| hash % 64, |hash| hash >> 58];
        for part in part_of_bits {
            let mut counts = [0_i64; 64];
            for number in 0..KEYS {
                let hash = KeyRef::new(0, 0, &[ValueRef::Integer(number)]).hash;
                counts[usize::try_from(part(hash)).unwrap()] += 1;
            }
            // 256 are expected in each, with a standard deviation of 16.
            assert!(counts.iter().all(|count| (176..=336).contains(count)), "{counts:?}");
        }
    }
}
