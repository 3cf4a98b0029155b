use crate::{
    durations::{Counted, Durations},
    label,
    sync::{AtomicU64, AtomicUsize, Mutex, MutexGuard, lock},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::Ordering,
    time::Duration,
};

/// No database was ever here: whoever looks for one need not look further.
const FREE: u64 = 0;
/// The database that was here is gone.
const GONE: u64 = 1;

/// The calls of one manager, by database: found by the name, without a lock and without allocating.
///
/// An open-addressing table of hashes, of which at most half are taken. Databases come and go under a
/// lock; whoever counts meanwhile sees the table before or after. Two names are told apart by a hash of
/// 64 bits alone. A call that ends in the very moment in which its database's place is given to another
/// one may be counted there: the price for never comparing names.
#[derive(Debug)]
pub(crate) struct Calls {
    limit: usize,
    hashes: Box<[AtomicU64]>,
    places: Box<[Durations]>,
    /// Calls that reached no database.
    none: Durations,
    /// Databases beyond the limit.
    other: Durations,
    /// How many are known: asked before the lock, which calls to a database beyond the limit never take.
    taken: AtomicUsize,
    known: Mutex<BTreeMap<usize, Known>>,
}

#[derive(Debug)]
struct Known {
    database: Box<str>,
    /// Whether the last scrape did not find it in its manager.
    missed: bool,
}

impl Calls {
    pub(crate) fn new(limit: usize) -> Self {
        let places = limit.saturating_mul(2).next_power_of_two();
        Self {
            limit,
            hashes: (0..places).map(|_| AtomicU64::new(FREE)).collect(),
            places: (0..places).map(|_| Durations::default()).collect(),
            none: Durations::default(),
            other: Durations::default(),
            taken: AtomicUsize::new(0),
            known: Mutex::default(),
        }
    }

    pub(crate) fn count(&self, database: Option<&str>, took: Duration, slow: bool) {
        self.of(database).count(took, slow);
    }

    fn of(&self, database: Option<&str>) -> &Durations {
        let Some(name) = database else { return &self.none };
        let name = label::cut(name);
        let hash = hash_of(name);
        match self.find(hash).or_else(|| self.add(name, hash)) {
            Some(place) => &self.places[place],
            None => &self.other,
        }
    }

    /// What a database of this name is shown as; it is given a place, if there is one.
    pub(crate) fn label<'n>(&self, database: &'n str) -> &'n str {
        let name = label::cut(database);
        let hash = hash_of(name);
        if self.find(hash).or_else(|| self.add(name, hash)).is_some() { name } else { label::OTHER }
    }

    fn find(&self, hash: u64) -> Option<usize> {
        for place in self.places_for(hash) {
            match self.hashes[place].load(Ordering::Acquire) {
                found if found == hash => return Some(place),
                FREE => return None,
                _ => {}
            }
        }
        None
    }

    fn places_for(&self, hash: u64) -> impl Iterator<Item = usize> + use<> {
        let last = self.hashes.len() - 1;
        let home = usize::try_from(hash & last as u64).unwrap_or(0);
        (0..=last).map(move |step| (home + step) & last)
    }

    fn add(&self, name: &str, hash: u64) -> Option<usize> {
        if self.taken.load(Ordering::Acquire) >= self.limit {
            // Somebody else may have added it, as the last one, since it was looked for.
            return self.find(hash);
        }
        let mut known = self.lock();
        if let Some(place) = self.find(hash) {
            return Some(place);
        }
        if known.len() >= self.limit {
            return None;
        }
        let place = self.places_for(hash).find(|place| self.hashes[*place].load(Ordering::Relaxed) <= GONE)?;
        self.places[place].clear();
        known.insert(place, Known { database: name.into(), missed: false });
        self.hashes[place].store(hash, Ordering::Release);
        self.taken.store(known.len(), Ordering::Release);
        Some(place)
    }

    /// Forgets the databases that are not among these now, and were not at the last call either.
    ///
    /// So the last calls of a database are shown once more after it has gone, and one that is registered
    /// just now is not forgotten because a status was read before.
    pub(crate) fn keep(&self, databases: &BTreeSet<&str>) {
        let mut all = self.lock();
        all.retain(|place, known| {
            let missing = !databases.contains(&*known.database);
            let goes = missing && known.missed;
            known.missed = missing;
            if goes {
                self.forget(*place);
            }
            !goes
        });
        self.taken.store(all.len(), Ordering::Relaxed);
    }

    /// Gives a place back. Where nothing lies behind it, nobody has to look behind it any more.
    fn forget(&self, place: usize) {
        self.hashes[place].store(GONE, Ordering::Release);
        let last = self.hashes.len() - 1;
        let mut end = place;
        while self.hashes[end].load(Ordering::Relaxed) == GONE
            && self.hashes[(end + 1) & last].load(Ordering::Relaxed) == FREE
        {
            self.hashes[end].store(FREE, Ordering::Release);
            end = end.wrapping_sub(1) & last;
        }
    }

    /// What was counted, by label.
    pub(crate) fn counted(&self) -> BTreeMap<Box<str>, Counted> {
        let mut all: BTreeMap<Box<str>, Counted> = BTreeMap::new();
        // Two places may have one label: a database may be called `other`.
        let mut add = |label: &str, counted: Counted| all.entry(label.into()).or_default().add(&counted);
        for (place, known) in &*self.lock() {
            add(&known.database, self.places[*place].counted());
        }
        for (label, durations) in [(label::NONE, &self.none), (label::OTHER, &self.other)] {
            let counted = durations.counted();
            if counted.calls() > 0 {
                add(label, counted);
            }
        }
        all
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<usize, Known>> {
        lock(&self.known)
    }
}

/// A hash of a name, neither [`FREE`] nor [`GONE`]: eight bytes at a time by the folded multiplication
/// of wyhash. Names are chosen by the program, so nobody has a reason to make them collide.
fn hash_of(name: &str) -> u64 {
    const MULTIPLIER: u64 = 0xa076_1d64_78bd_642f;
    let fold = |hash: u64| {
        let product = u128::from(hash) * u128::from(MULTIPLIER);
        (product as u64) ^ ((product >> 64) as u64)
    };
    let mut hash = fold(name.len() as u64 ^ 0xe703_7ed1_a0b4_28db);
    for bytes in name.as_bytes().chunks(8) {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        hash = fold(hash ^ u64::from_le_bytes(word));
    }
    hash.max(GONE + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::thread;

    const CALL: Duration = Duration::from_micros(3);

    fn count(calls: &Calls, database: &str) {
        calls.count(Some(database), CALL, false);
    }

    fn shown(calls: &Calls) -> Vec<(String, u64)> {
        calls.counted().into_iter().map(|(label, counted)| (label.into(), counted.calls())).collect()
    }

    #[test]
    fn names_that_differ_in_one_byte_or_in_length_have_different_hashes() {
        let mut hashes = BTreeSet::new();
        for number in 0..20_000 {
            hashes.insert(hash_of(&format!("database-{number}")));
            hashes.insert(hash_of(&format!("{number:05}")));
        }
        for length in 0..100 {
            hashes.insert(hash_of(&"\0".repeat(length)));
        }
        assert_eq!(hashes.len(), 40_100);
    }

    #[test]
    fn what_is_gone_is_shown_once_more_and_then_forgotten() {
        let calls = Calls::new(4);
        count(&calls, "old");
        count(&calls, "main");
        let now = BTreeSet::from(["main"]);
        calls.keep(&now);
        assert_eq!(shown(&calls), [("main".into(), 1), ("old".into(), 1)]);
        calls.keep(&now);
        assert_eq!(shown(&calls), [("main".into(), 1)]);
        count(&calls, "old");
        assert_eq!(shown(&calls), [("main".into(), 1), ("old".into(), 1)], "it begins anew");
        calls.keep(&now);
        calls.keep(&BTreeSet::from(["main", "old"]));
        calls.keep(&now);
        assert_eq!(shown(&calls).len(), 2, "it has come back in between");
    }

    #[test]
    fn a_thousand_databases_leave_nothing_behind() {
        let calls = Calls::new(8);
        for number in 0..1_000 {
            let name = format!("tenant-{number}");
            assert_eq!(calls.label(&name), name);
            count(&calls, &name);
            let now = BTreeSet::from([name.as_str()]);
            calls.keep(&now);
            assert!(shown(&calls).contains(&(name.clone(), 1)), "{:?}", shown(&calls));
            assert!(calls.lock().len() <= 2);
            calls.keep(&now);
        }
        assert_eq!(shown(&calls), [("tenant-999".into(), 1)]);
        let taken = calls.hashes.iter().filter(|hash| hash.load(Ordering::Relaxed) != FREE).count();
        assert!(taken <= 4, "of 16 places {taken} are not free: whoever looks for a database has to look far");
    }

    #[test]
    fn databases_beyond_the_limit_are_counted_together() {
        let calls = Calls::new(2);
        for name in ["a", "b", "c", "d", "other", "none"] {
            count(&calls, name);
        }
        calls.count(None, CALL, true);
        let all = [("a".into(), 1), ("b".into(), 1), ("none".into(), 1), ("other".into(), 4)];
        assert_eq!(shown(&calls), all);
        assert_eq!((calls.label("a"), calls.label("c")), ("a", "other"));
    }

    #[test]
    fn a_database_may_have_the_name_of_a_label() {
        let calls = Calls::new(2);
        for name in ["other", "none", "c", "d"] {
            count(&calls, name);
        }
        calls.count(None, CALL, false);
        assert_eq!(shown(&calls), [("none".into(), 2), ("other".into(), 3)]);
    }

    #[test]
    fn threads_that_meet_a_new_database_at_once_count_in_one_place() {
        let calls = Calls::new(64);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..64).cycle().take(6_400).for_each(|number| count(&calls, &format!("d{number}"))));
            }
        });
        let shown = shown(&calls);
        assert_eq!(shown.len(), 64);
        assert!(shown.iter().all(|(_, calls)| *calls == 400), "{shown:?}");
    }

    #[derive(Clone, Debug)]
    enum Step {
        Count(u8),
        Keep(BTreeSet<u8>),
    }

    proptest! {
        #[test]
        fn every_database_within_the_limit_has_its_own_count(
            limit in 1_usize..12,
            steps in proptest::collection::vec(prop_oneof![
                6 => (0_u8..20).prop_map(Step::Count),
                1 => proptest::collection::btree_set(0_u8..20, 0..10).prop_map(Step::Keep),
            ], 0..200),
        ) {
            let calls = Calls::new(limit);
            // Each with its calls and whether it was missed; and what was counted together.
            let mut model: BTreeMap<String, (u64, bool)> = BTreeMap::new();
            let mut other = 0;
            for step in steps {
                match step {
                    Step::Count(number) => {
                        let name = format!("d{number}");
                        count(&calls, &name);
                        if model.len() < limit || model.contains_key(&name) {
                            model.entry(name).or_default().0 += 1;
                        } else {
                            other += 1;
                        }
                    }
                    Step::Keep(numbers) => {
                        let names: Vec<_> = numbers.iter().map(|number| format!("d{number}")).collect();
                        let names: BTreeSet<_> = names.iter().map(String::as_str).collect();
                        calls.keep(&names);
                        model.retain(|name, (_, missed)| {
                            let missing = !names.contains(name.as_str());
                            let stays = !(missing && *missed);
                            *missed = missing;
                            stays
                        });
                    }
                }
                let mut wanted: Vec<_> = model.iter().map(|(name, (calls, _))| (name.clone(), *calls)).collect();
                wanted.extend((other > 0).then(|| ("other".into(), other)));
                prop_assert_eq!(shown(&calls), wanted);
            }
        }
    }
}
