use std::cell::Cell;

const REMEMBERED: usize = 4;

/// A pool, by its number, and a slot of it.
type Hint = (u32, u32);

thread_local! {
    /// What this thread gave back last, the newest first. Without a destructor, so that it is as
    /// cheap as a field and there until the thread is gone.
    static HINTS: Cell<[Hint; REMEMBERED]> = const { Cell::new([(0, 0); REMEMBERED]) };
}

/// The slots of this pool that this thread gave back last, the newest first: where to look first for
/// a warm connection. Only a hint: the slot decides.
#[inline]
pub(crate) fn recent(pool: u32) -> impl Iterator<Item = usize> {
    HINTS.get().into_iter().filter(move |hint| hint.0 == pool).map(|hint| hint.1 as usize)
}

/// Remembers that this thread has given a slot back.
#[inline]
pub(crate) fn remember(pool: u32, slot: usize) {
    let Ok(slot) = u32::try_from(slot) else { return };
    let newest = (pool, slot);
    let mut hints = HINTS.get();
    if hints[0] != newest {
        let known = hints.iter().position(|hint| *hint == newest).unwrap_or(REMEMBERED - 1);
        hints[..=known].rotate_right(1);
        hints[0] = newest;
        HINTS.set(hints);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_comes_first_and_other_pools_do_not_count() {
        let known = |pool| recent(pool).collect::<Vec<_>>();
        (1..=3).for_each(|slot| remember(7, slot));
        assert_eq!(known(7), [3, 2, 1]);
        remember(7, 1);
        assert_eq!(known(7), [1, 3, 2]);
        remember(8, 5);
        assert_eq!((known(7), known(8)), (vec![1, 3, 2], vec![5]));
        remember(7, 9);
        assert_eq!(known(7), [9, 1, 3], "the oldest is forgotten");
    }
}
