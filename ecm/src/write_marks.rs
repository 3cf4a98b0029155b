use ecm_core::{TableVersion, Written};
use ecm_pool::{CommitEnd, CommitWatch};
use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

/// Which tables of a database may have been written since a moment: what cached results are judged by.
///
/// A result is current if none of the tables that it was read from was being committed when its read began,
/// none is now, and none was committed in between. A table counts as being committed from just before
/// others may see the commit until its version has moved: so nobody who has seen a new row can be
/// served the old one from the cache.
#[derive(Debug)]
pub(crate) struct WriteMarks {
    /// Every table as one: what cannot be told apart moves it. Number 0.
    whole: Mark,
    numbers: RwLock<HashMap<Arc<str>, u32>>,
    /// The marks of the tables, by number: where they are does not change, so that a hit takes no lock.
    tables: [OnceLock<Box<[Mark; SEGMENT]>>; SEGMENTS],
    /// Commits whose outcome is not known.
    unknown: AtomicU64,
}

#[derive(Debug, Default)]
struct Mark {
    committing: AtomicU64,
    version: AtomicU64,
}

/// Everything may be written until this is dropped, by somebody whom nobody watches.
#[derive(Debug)]
#[must_use = "the write has ended when this is dropped"]
pub(crate) struct WriteMark(Arc<WriteMarks>);

const WHOLE: u32 = 0;
const SEGMENT: usize = 64;
const SEGMENTS: usize = 64;

/// How many tables are told apart: those beyond share the last number.
const MOST: u32 = (SEGMENT * SEGMENTS) as u32;

impl Default for WriteMarks {
    fn default() -> Self {
        Self {
            whole: Mark::default(),
            numbers: RwLock::default(),
            tables: [const { OnceLock::new() }; SEGMENTS],
            unknown: AtomicU64::new(0),
        }
    }
}

impl WriteMarks {
    pub(crate) fn begin(self: &Arc<Self>) -> WriteMark {
        self.whole.begin();
        WriteMark(Arc::clone(self))
    }

    /// The versions of these tables now; `None` while one is being committed.
    pub(crate) fn quiet(&self, tables: &[Box<str>]) -> Option<Box<[TableVersion]>> {
        let numbers = std::iter::once(WHOLE).chain(tables.iter().map(|table| self.number(table)));
        numbers.map(|table| self.mark(table).quiet().map(|version| TableVersion { table, version })).collect()
    }

    /// Whether nothing has been written to the tables since these versions were captured.
    pub(crate) fn current(&self, versions: &[TableVersion]) -> bool {
        !versions.is_empty() && versions.iter().all(|at| self.mark(at.table).quiet() == Some(at.version))
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

    fn mark(&self, number: u32) -> &Mark {
        let Some(index) = number.checked_sub(1) else { return &self.whole };
        let index = index as usize;
        let segment = self.tables[index / SEGMENT].get_or_init(|| Box::new([const { Mark::new() }; SEGMENT]));
        &segment[index % SEGMENT]
    }

    fn each(&self, written: &Written, mut change: impl FnMut(&Mark)) {
        match written {
            Written::Everything => change(&self.whole),
            Written::Tables(tables) => tables.iter().for_each(|table| change(self.mark(self.number(table)))),
        }
    }
}

impl CommitWatch for WriteMarks {
    fn committing(&self, writes: &Written) {
        self.each(writes, Mark::begin);
    }

    /// After an unknown outcome a recovery may bring the commit to light at any time, until another commit
    /// has taken its place in the log: nothing counts as current until then.
    fn ended(&self, writes: &Written, end: CommitEnd<'_>) {
        match end {
            CommitEnd::Committed(written) => {
                self.each(written, Mark::move_on);
                for _ in 0..self.unknown.swap(0, Ordering::SeqCst) {
                    self.whole.move_on();
                    self.whole.end();
                }
            }
            CommitEnd::RolledBack => {}
            CommitEnd::Unknown => {
                self.whole.begin();
                self.unknown.fetch_add(1, Ordering::SeqCst);
            }
        }
        self.each(writes, Mark::end);
    }
}

impl Mark {
    const fn new() -> Self {
        Self { committing: AtomicU64::new(0), version: AtomicU64::new(0) }
    }

    fn begin(&self) {
        self.committing.fetch_add(1, Ordering::SeqCst);
    }

    fn move_on(&self) {
        self.version.fetch_add(1, Ordering::SeqCst);
    }

    fn end(&self) {
        self.committing.fetch_sub(1, Ordering::SeqCst);
    }

    /// The version now; `None` during a commit.
    fn quiet(&self) -> Option<u64> {
        // The version moves before the commit has ended: whoever sees none under way, between two looks
        // at the same version, has seen that version whole.
        let before = self.version.load(Ordering::SeqCst);
        let quiet = self.committing.load(Ordering::SeqCst) == 0 && self.version.load(Ordering::SeqCst) == before;
        quiet.then_some(before)
    }
}

impl Drop for WriteMark {
    fn drop(&mut self) {
        self.0.whole.move_on();
        self.0.whole.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(names: &[&str]) -> Written {
        Written::Tables(names.iter().map(|&name| name.into()).collect())
    }

    fn read(marks: &WriteMarks, names: &[&str]) -> Option<Box<[TableVersion]>> {
        let names: Vec<Box<str>> = names.iter().map(|&name| name.into()).collect();
        marks.quiet(&names)
    }

    fn commits(marks: &WriteMarks, names: &[&str]) {
        let writes = tables(names);
        marks.committing(&writes);
        marks.ended(&writes, CommitEnd::Committed(&writes));
    }

    #[test]
    fn nothing_is_current_while_somebody_writes_unwatched_or_after_it() {
        let marks = Arc::new(WriteMarks::default());
        let before = read(&marks, &["a"]).unwrap();
        assert!(marks.current(&before));
        let outer = marks.begin();
        let inner = marks.begin();
        assert!(read(&marks, &["a"]).is_none() && !marks.current(&before));
        drop(outer);
        assert!(read(&marks, &[]).is_none(), "one of two still writes");
        drop(inner);
        assert!(!marks.current(&before));
        let after = read(&marks, &["a"]).unwrap();
        assert!(marks.current(&after) && !marks.current(&[]));
    }

    #[test]
    fn a_commit_moves_its_tables_and_no_others_and_hides_them_meanwhile() {
        let marks = WriteMarks::default();
        let [a, b, both] = [&["a"][..], &["b"], &["a", "b"]].map(|names| read(&marks, names).unwrap());
        let writes = tables(&["a"]);
        marks.committing(&writes);
        assert!(!marks.current(&a) && !marks.current(&both) && marks.current(&b));
        assert!(read(&marks, &["a"]).is_none() && read(&marks, &["b"]).is_some());
        marks.ended(&writes, CommitEnd::Committed(&writes));
        assert!(!marks.current(&a) && !marks.current(&both) && marks.current(&b));
        marks.committing(&writes);
        marks.ended(&writes, CommitEnd::Committed(&Written::Everything));
        assert!(!marks.current(&b), "somebody else has committed too");
    }

    #[test]
    fn what_was_rolled_back_leaves_everything_current() {
        let marks = WriteMarks::default();
        let a = read(&marks, &["a"]).unwrap();
        for writes in [tables(&["a"]), Written::Everything] {
            marks.committing(&writes);
            assert!(!marks.current(&a));
            marks.ended(&writes, CommitEnd::RolledBack);
            assert!(marks.current(&a));
        }
    }

    #[test]
    fn after_an_unknown_outcome_nothing_is_current_until_the_next_commit_and_everything_has_moved() {
        let marks = WriteMarks::default();
        let b = read(&marks, &["b"]).unwrap();
        let writes = tables(&["a"]);
        for _ in 0..2 {
            marks.committing(&writes);
            marks.ended(&writes, CommitEnd::Unknown);
            assert!(!marks.current(&b) && read(&marks, &["b"]).is_none());
        }
        marks.committing(&writes);
        marks.ended(&writes, CommitEnd::RolledBack);
        assert!(read(&marks, &["b"]).is_none(), "it has put nothing in the place of the other");
        commits(&marks, &["c"]);
        assert!(!marks.current(&b));
        assert!(marks.current(&read(&marks, &["b"]).unwrap()));
    }

    #[test]
    fn whoever_has_seen_a_commit_is_served_nothing_older_whatever_runs_meanwhile() {
        const COMMITS: u64 = 20_000;
        let (marks, row) = (WriteMarks::default(), AtomicU64::new(0));
        std::thread::scope(|scope| {
            let (marks, row) = (&marks, &row);
            scope.spawn(move || {
                for number in 1..=COMMITS {
                    let writes = if number % 16 == 0 { Written::Everything } else { tables(&["a"]) };
                    marks.committing(&writes);
                    row.store(number, Ordering::SeqCst);
                    marks.ended(&writes, CommitEnd::Committed(&writes));
                }
            });
            for _ in 0..2 {
                scope.spawn(move || {
                    let mut stored: Option<(Box<[TableVersion]>, u64)> = None;
                    while row.load(Ordering::SeqCst) < COMMITS {
                        let seen = row.load(Ordering::SeqCst);
                        if let Some((versions, kept)) = &stored
                            && marks.current(versions)
                        {
                            assert!(*kept >= seen, "{kept} was served after {seen} had been seen");
                            continue;
                        }
                        stored = read(marks, &["a"]).map(|versions| (versions, row.load(Ordering::SeqCst)));
                    }
                });
            }
        });
    }

    #[test]
    fn tables_without_end_are_told_apart_as_far_as_there_is_room() {
        let marks = WriteMarks::default();
        let names: Vec<String> = (0..MOST + 10).map(|number| format!("t{number}")).collect();
        let versions: Vec<_> = names.iter().map(|name| read(&marks, &[name]).unwrap()).collect();
        commits(&marks, &[&names[7]]);
        let last = names.len() - 1;
        assert!(!marks.current(&versions[7]) && marks.current(&versions[6]) && marks.current(&versions[last]));
        commits(&marks, &[&names[last]]);
        assert!(!marks.current(&versions[last]) && !marks.current(&versions[last - 1]), "they share one");
        assert!(marks.current(&versions[6]));
    }
}
