//! The best that any cache could do, which knows what will be asked for (Belady 1966).

use std::collections::{BTreeSet, HashMap};

/// How many of these requests a cache of so many entries serves that keeps what is asked for again soonest.
pub(crate) fn hits(requests: &[u32], capacity: usize) -> usize {
    let mut next = vec![usize::MAX; requests.len()];
    let mut seen: HashMap<u32, usize> = HashMap::new();
    for (at, key) in requests.iter().enumerate().rev() {
        next[at] = seen.insert(*key, at).unwrap_or(usize::MAX);
    }
    // By the moment at which each is asked for again; no two are asked for at the same moment, but many never.
    let mut kept: BTreeSet<(usize, u32)> = BTreeSet::new();
    let mut hits = 0;
    for (at, key) in requests.iter().enumerate() {
        hits += usize::from(kept.remove(&(at, *key)));
        if next[at] == usize::MAX {
            continue;
        }
        kept.insert((next[at], *key));
        if kept.len() > capacity {
            kept.pop_last();
        }
    }
    hits
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tries everything: at each miss to drop any of what is kept, or not to keep the new one.
    fn by_trying(requests: &[u32], capacity: usize, kept: &[u32]) -> usize {
        let Some((key, rest)) = requests.split_first() else { return 0 };
        if kept.contains(key) {
            return 1 + by_trying(rest, capacity, kept);
        }
        let mut with = kept.to_vec();
        with.push(*key);
        if with.len() <= capacity {
            return by_trying(rest, capacity, &with);
        }
        let without = |gone: usize| {
            let mut left = with.clone();
            left.remove(gone);
            by_trying(rest, capacity, &left)
        };
        (0..with.len()).map(without).max().unwrap_or(0)
    }

    #[test]
    fn nothing_that_could_be_tried_serves_more() {
        let mut random = crate::trace::Random::new(3);
        for _ in 0..200 {
            let requests: Vec<u32> = (0..10).map(|_| (random.uniform() * 4.0) as u32).collect();
            for capacity in 1..=3 {
                assert_eq!(hits(&requests, capacity), by_trying(&requests, capacity, &[]), "{requests:?}, {capacity}");
            }
        }
    }
}
