use ecm_core::{Key, KeyRef};
use quick_cache::Equivalent;
use std::hash::{Hash, Hasher};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carried::Carried;
    use ecm_core::ValueRef;
    use std::hash::BuildHasher;

    #[test]
    fn a_key_and_its_lookup_have_the_hash_that_the_key_brought() {
        let key = KeyRef::new(1, 2, &[ValueRef::Text("a")]);
        assert_eq!(Carried.hash_one(Lookup(key)), key.hash);
        assert_eq!(Carried.hash_one(key.to_key()), key.hash);
    }
}
