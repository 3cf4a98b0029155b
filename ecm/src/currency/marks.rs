use super::mark::{Mark, Part};
use crate::sync::atomic::{AtomicU64, Ordering};
use ecm_core::{RowKeys, TableVersion, ValueRef, Written, WrittenRows};
use std::{
    collections::HashMap,
    sync::{Arc, OnceLock, PoisonError, RwLock},
};

/// Which tables of a database, and which of their rows, have been written how often: what cached results are judged
/// by.
#[derive(Debug)]
pub(super) struct Marks {
    /// Every table as one: what cannot be told apart moves it. Number 0.
    whole: Mark,
    numbers: RwLock<HashMap<Arc<str>, u32>>,
    /// The marks of the tables, by number: where they are does not change, so that a hit takes no lock.
    tables: [OnceLock<Box<[Mark; SEGMENT]>>; SEGMENTS],
    /// Commits whose outcome is not known.
    unknown: AtomicU64,
}

/// What a result depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reads<'a> {
    /// The tables that it is read from.
    pub(crate) tables: &'a [Box<str>],
    /// The rows that decide it, if single ones of the only table do, and the parameters of its statement.
    pub(crate) rows: Option<(&'a RowKeys, &'a [ValueRef<'a>])>,
}

const WHOLE: u32 = 0;
const SEGMENT: usize = if cfg!(shuttle) { 2 } else { 64 };
const SEGMENTS: usize = 64;

/// How many tables are told apart: those beyond share the last number.
const MOST: u32 = (SEGMENT * SEGMENTS) as u32;

/// A number of a table and one of a part of it make one: `table << PART | part`.
const PART: u32 = 17;

/// How many rows a result may depend on one by one.
const MOST_ROWS: usize = 64;

impl Reads<'_> {
    /// The rows that it depends on one by one. SQLite finds row 7 by the text `7` too, so that only integers count.
    fn row_numbers(&self) -> Option<impl Iterator<Item = i64>> {
        let (keys, values) = self.rows?;
        let number = move |parameter: &usize| match values.get(*parameter) {
            Some(ValueRef::Integer(number)) => Some(*number),
            _ => None,
        };
        let told = keys.parameters.len() <= MOST_ROWS && keys.parameters.iter().all(|key| number(key).is_some());
        told.then(|| keys.parameters.iter().filter_map(number))
    }
}

impl Default for Marks {
    fn default() -> Self {
        Self {
            whole: Mark::default(),
            numbers: RwLock::default(),
            tables: [const { OnceLock::new() }; SEGMENTS],
            unknown: AtomicU64::new(0),
        }
    }
}

impl Marks {
    /// The versions of all that a result depends on, now; and whether single rows are among it.
    pub(super) fn capture(&self, reads: &Reads<'_>) -> (Box<[TableVersion]>, bool) {
        let whole = std::iter::once(self.at(WHOLE, Part::Any));
        match (reads.tables, reads.row_numbers()) {
            ([table], Some(rows)) => {
                let number = self.number(table);
                self.mark(number).tell_rows_apart();
                let untold = std::iter::once(self.at(number, Part::Untold));
                let rows = rows.map(|row| self.at(number, Part::of_row(row)));
                (whole.chain(untold).chain(rows).collect(), true)
            }
            _ => {
                let tables = reads.tables.iter().map(|table| self.at(self.number(table), Part::Any));
                (whole.chain(tables).collect(), false)
            }
        }
    }

    /// Whether a result with these versions depends on single rows.
    #[inline]
    pub(super) fn by_rows(versions: &[TableVersion]) -> bool {
        versions.get(1).is_some_and(|at| at.table & ((1 << PART) - 1) == Part::Untold.number())
    }

    /// Whether nothing that a result depends on has been written since these versions were captured. With `alone`,
    /// nothing of it is being committed either.
    #[inline]
    pub(super) fn are(&self, versions: &[TableVersion], alone: bool) -> bool {
        !versions.is_empty()
            && versions.iter().all(|at| {
                let mark = self.mark(at.table >> PART);
                // The version moves before the commit has ended: whoever sees none under way, and then the version
                // that it knows, has seen no commit.
                (!alone || mark.is_quiet()) && mark.version(at.table & ((1 << PART) - 1)) == at.version
            })
    }

    /// Whether nobody writes unwatched, and no outcome is unknown.
    pub(super) fn nobody_unwatched(&self) -> bool {
        self.whole.is_quiet()
    }

    /// Somebody may write anything, from now on.
    pub(super) fn begin_everything(&self) {
        self.whole.begin();
    }

    /// Somebody may have written anything.
    pub(super) fn end_everything(&self) {
        self.whole.move_on();
        self.whole.end();
    }

    /// Anything may have been written.
    pub(super) fn move_everything(&self) {
        self.whole.move_on();
    }

    pub(super) fn begin(&self, writes: &Written) {
        self.each(writes, Mark::begin);
    }

    /// A commit is there, and with it every one before whose outcome was not known.
    pub(super) fn committed(&self, written: &Written) {
        match written {
            Written::Everything => self.whole.move_on(),
            Written::Tables(tables) => tables.iter().for_each(|table| {
                let mark = self.mark(self.number(&table.name));
                match &table.rows {
                    WrittenRows::Any => mark.move_on(),
                    WrittenRows::Only(rows) => mark.move_rows(rows),
                }
            }),
        }
        for _ in 0..self.unknown.swap(0, Ordering::SeqCst) {
            self.end_everything();
        }
    }

    /// The outcome of a commit is not known. A recovery may bring it to light at any time, until another commit has
    /// taken its place: nothing counts as current until then. What it was to write moves, too, and before it has ended:
    /// whoever has looked at the whole already looks at that next.
    pub(super) fn unknown(&self, writes: &Written) {
        self.whole.begin();
        self.unknown.fetch_add(1, Ordering::SeqCst);
        self.each(writes, Mark::move_on);
    }

    pub(super) fn end(&self, writes: &Written) {
        self.each(writes, Mark::end);
    }

    fn at(&self, table: u32, part: Part) -> TableVersion {
        let part = part.number();
        TableVersion { table: table << PART | part, version: self.mark(table).version(part) }
    }

    fn number(&self, table: &str) -> u32 {
        if let Some(&number) = self.numbers.read().unwrap_or_else(PoisonError::into_inner).get(table) {
            return number;
        }
        let mut numbers = self.numbers.write().unwrap_or_else(PoisonError::into_inner);
        let next = u32::try_from(numbers.len() + 1).unwrap_or(MOST);
        if next >= MOST {
            return numbers.get(table).copied().unwrap_or(MOST);
        }
        *numbers.entry(table.into()).or_insert(next)
    }

    #[inline]
    fn mark(&self, number: u32) -> &Mark {
        let Some(index) = number.checked_sub(1) else { return &self.whole };
        let index = index as usize;
        let segment = self.tables[index / SEGMENT].get_or_init(|| Box::new([const { Mark::new() }; SEGMENT]));
        &segment[index % SEGMENT]
    }

    fn each(&self, written: &Written, mut change: impl FnMut(&Mark)) {
        match written {
            Written::Everything => change(&self.whole),
            Written::Tables(tables) => tables.iter().for_each(|table| change(self.mark(self.number(&table.name)))),
        }
    }
}
