use std::cell::Cell;

const REMEMBERED: usize = 4;

thread_local! {
    /// What this thread gave back last, the newest first, each a pool and a slot of it. Without a
    /// destructor, so that it is as cheap as a field and there until the thread is gone.
    static HINTS: [Cell<u64>; REMEMBERED] = const { [const { Cell::new(0) }; REMEMBERED] };
}

/// A pool, by its number, and a slot of it. Pools are numbered from 1.
#[inline]
pub(crate) fn hint(pool: u32, slot: usize) -> u64 {
    // Pools have far fewer slots than 2^32, and a wrong hint would do no harm.
    (u64::from(pool) << 32) | (slot as u64 & 0xFFFF_FFFF)
}

/// The slot that a hint is about.
#[inline]
pub(crate) fn index(hint: u64) -> usize {
    (hint & 0xFFFF_FFFF) as usize
}

#[inline]
fn slot_of(pool: u32, hint: u64) -> Option<usize> {
    (hint >> 32 == u64::from(pool)).then_some(index(hint))
}

/// The slot of this pool that this thread gave back last, if that was the last of all: where to look
/// first for a warm connection. Only a hint: the slot decides.
#[inline]
pub(crate) fn newest(pool: u32) -> Option<usize> {
    slot_of(pool, HINTS.with(|hints| hints[0].get()))
}

/// The slots of this pool that this thread gave back last, the newest first.
pub(crate) fn recent(pool: u32) -> impl Iterator<Item = usize> {
    let hints = HINTS.with(|hints| hints.each_ref().map(Cell::get));
    hints.into_iter().filter_map(move |hint| slot_of(pool, hint))
}

/// Remembers that this thread has given back the slot of this hint.
#[inline]
pub(crate) fn remember(newest: u64) {
    HINTS.with(|hints| {
        if hints[0].get() != newest {
            insert(hints, newest);
        }
    });
}

#[cold]
fn insert(hints: &[Cell<u64>; REMEMBERED], newest: u64) {
    let known = hints.iter().position(|hint| hint.get() == newest).unwrap_or(REMEMBERED - 1);
    for index in (0..known).rev() {
        hints[index + 1].set(hints[index].get());
    }
    hints[0].set(newest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_comes_first_and_other_pools_do_not_count() {
        let known = |pool| recent(pool).collect::<Vec<_>>();
        let remember = |pool, slot| remember(hint(pool, slot));
        (1..=3).for_each(|slot| remember(7, slot));
        assert_eq!((known(7), newest(7)), (vec![3, 2, 1], Some(3)));
        remember(7, 1);
        assert_eq!(known(7), [1, 3, 2]);
        remember(8, 5);
        assert_eq!((known(7), known(8)), (vec![1, 3, 2], vec![5]));
        assert_eq!((newest(7), newest(8)), (None, Some(5)));
        remember(7, 9);
        assert_eq!(known(7), [9, 1, 3], "the oldest is forgotten");
    }
}
