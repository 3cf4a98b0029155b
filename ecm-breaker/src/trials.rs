const COUNT: u32 = 20;

/// The trial calls of one half-open epoch, in one word:
///
/// ```text
/// | epoch: 24 | under way: 20 | succeeded: 20 |
/// ```
///
/// The epoch is that of the [`Word`](crate::word::Word) it belongs to: trials of another epoch are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trials(pub(crate) u64);

impl Trials {
    /// No trial yet.
    pub(crate) fn none(epoch: u64) -> Self {
        Self(epoch << (2 * COUNT))
    }

    pub(crate) fn epoch(self) -> u64 {
        self.0 >> (2 * COUNT)
    }

    pub(crate) fn under_way(self) -> u32 {
        (self.0 >> COUNT) as u32 & ((1 << COUNT) - 1)
    }

    pub(crate) fn succeeded(self) -> u32 {
        self.0 as u32 & ((1 << COUNT) - 1)
    }

    /// One more is under way.
    pub(crate) fn begun(self) -> Self {
        Self(self.0 + (1 << COUNT))
    }

    /// One is no longer under way; `None` if none was.
    pub(crate) fn ended(self, success: bool) -> Option<Self> {
        (self.under_way() > 0).then(|| Self(self.0 - (1 << COUNT) + u64::from(success)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_begin_and_end_and_none_ends_that_has_not_begun() {
        let epoch = (1 << 18) - 1;
        let begun = (0..1_000).fold(Trials::none(epoch), |trials, _| trials.begun());
        assert_eq!((begun.epoch(), begun.under_way(), begun.succeeded()), (epoch, 1_000, 0));
        let ended = (0..1_000).try_fold(begun, |trials, n| trials.ended(n % 4 == 0)).unwrap();
        assert_eq!((ended.epoch(), ended.under_way(), ended.succeeded()), (epoch, 0, 250));
        assert_eq!(ended.ended(true), None);
    }
}
