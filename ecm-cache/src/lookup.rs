use ecm_core::{Key, KeyRef};
use quick_cache::Equivalent;
use std::hash::{BuildHasher, Hash, Hasher};

/// A key to look up, which owns nothing.
pub(crate) struct Lookup<'a>(pub(crate) KeyRef<'a>);

impl Hash for Lookup<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash);
    }
}

impl Equivalent<Key> for Lookup<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.0.matches(key)
    }
}

/// Takes the hash that a key brings along as it is: a key is hashed once, where it is made.
///
/// `quick_cache` takes the shard from the bits in the middle, `hashbrown` the bucket from the lowest
/// ones and its tag from the highest seven, so all 64 bits have to be good. Those of
/// [`KeyRef::new`](ecm_core::KeyRef::new) are: they come from SipHash.
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
    use super::*;
    use ecm_core::ValueRef;

    #[test]
    fn a_key_and_its_lookup_have_the_hash_that_the_key_brought() {
        let key = KeyRef::new(1, 2, &[ValueRef::Text("a")]);
        assert_eq!(Carried.hash_one(Lookup(key)), key.hash);
        assert_eq!(Carried.hash_one(key.to_key()), key.hash);
    }

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
