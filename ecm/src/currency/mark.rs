use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::OnceLock;

/// How often a table has been written, and which of its rows.
#[derive(Debug, Default)]
pub(super) struct Mark {
    /// Commits to it that are under way.
    committing: AtomicU64,
    /// Commits to it.
    any: AtomicU64,
    /// Those among them of which it is not known which rows they touched.
    untold: AtomicU64,
    /// The others, by row: made when somebody first depends on rows.
    rows: OnceLock<Box<[AtomicU32; ROWS]>>,
}

/// What of a table a result depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it.
    Any,
    /// What commits write of which the rows are not known: half of what a result that depends on rows depends on.
    Untold,
    /// The rows that have this number, the other half. Several share a number, which costs a result for nothing
    /// where another one is written.
    Rows(u16),
}

/// How many numbers rows have. Of keys that are written and read by the same skewed law, 65,536 keep all but 0.2 % of
/// what exact rows would; 4,096 lose 6 %. 256 KiB for each table that somebody depends on by rows.
const ROWS: usize = 1 << ROW_BITS;

/// A model looks at each of them in each schedule.
const ROW_BITS: u32 = if cfg!(shuttle) { 1 } else { 16 };

impl Part {
    /// The part that a row is in. Keys mostly follow each other, which this spreads evenly (Fibonacci hashing: Knuth,
    /// The Art of Computer Programming 3, 6.4).
    pub(super) fn of_row(row: i64) -> Self {
        let spread = row.cast_unsigned().wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Self::Rows((spread >> (u64::BITS - ROW_BITS)) as u16)
    }

    pub(super) fn number(self) -> u32 {
        match self {
            Self::Any => 0,
            Self::Untold => 1,
            Self::Rows(rows) => 2 + u32::from(rows),
        }
    }

    fn from_number(number: u32) -> Self {
        match number {
            0 => Self::Any,
            1 => Self::Untold,
            _ => Self::Rows(u16::try_from(number - 2).unwrap_or(u16::MAX)),
        }
    }
}

impl Mark {
    pub(super) const fn new() -> Self {
        Self { committing: AtomicU64::new(0), any: AtomicU64::new(0), untold: AtomicU64::new(0), rows: OnceLock::new() }
    }

    pub(super) fn begin(&self) {
        self.committing.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn end(&self) {
        self.committing.fetch_sub(1, Ordering::SeqCst);
    }

    /// Any rows may have been written.
    pub(super) fn move_on(&self) {
        self.any.fetch_add(1, Ordering::SeqCst);
        self.untold.fetch_add(1, Ordering::SeqCst);
    }

    /// These rows were written, and no others.
    pub(super) fn move_rows(&self, rows: &[i64]) {
        self.any.fetch_add(1, Ordering::SeqCst);
        let Some(marks) = self.rows.get() else {
            // Nobody depends on rows yet, or somebody begins to at this moment, and must not miss them.
            self.untold.fetch_add(1, Ordering::SeqCst);
            return;
        };
        for &row in rows {
            if let Part::Rows(number) = Part::of_row(row) {
                marks[usize::from(number)].fetch_add(1, Ordering::SeqCst);
            }
        }
    }

    #[inline]
    pub(super) fn is_quiet(&self) -> bool {
        self.committing.load(Ordering::SeqCst) == 0
    }

    /// The version of a part, by the number of that. Of rows it begins anew after 2^32 commits, far more than there
    /// can be while one result is kept.
    #[inline]
    pub(super) fn version(&self, part: u32) -> u64 {
        match Part::from_number(part) {
            Part::Any => self.any.load(Ordering::SeqCst),
            Part::Untold => self.untold.load(Ordering::SeqCst),
            Part::Rows(number) => {
                self.rows.get().map_or(0, |rows| rows[usize::from(number)].load(Ordering::SeqCst).into())
            }
        }
    }

    /// Makes room to tell rows apart.
    pub(super) fn tell_rows_apart(&self) {
        self.rows.get_or_init(|| {
            let rows: Box<[AtomicU32]> = std::iter::repeat_with(AtomicU32::default).take(ROWS).collect();
            rows.try_into().unwrap_or_else(|_| unreachable!("so many were taken"))
        });
    }
}
