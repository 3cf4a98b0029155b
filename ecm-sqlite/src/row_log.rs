use std::mem;

/// How many rows of one table are told apart, and how many tables with rows.
const MOST_ROWS: usize = 1024;
const MOST_TABLES: usize = 64;

/// Which rows the statements of a transaction touch, as the hook of updates says, and whether it has said all.
///
/// SQLite counts the changes of each statement itself. What it changes without telling the hook (all rows of a
/// table at once, above all) makes that count another one than the hook's, and what was undone with a statement
/// that failed does too: so the two are compared for each statement alone, never for several together.
#[derive(Debug, Default)]
pub(crate) struct RowLog {
    /// How often the hook was called in the transaction.
    events: u64,
    /// SQLite's count of changes, and that of the hook, when the last statement had ended. Whatever differs from
    /// it when the next one starts was changed by something that did not count.
    settled: (u64, u64),
    /// Whether a statement that writes is running.
    running: bool,
    /// Whether there was no room for the rows of some table.
    full: bool,
    /// The tables that rows were touched of, with the names as they are declared. Those that have no rows are
    /// from transactions before, and keep their room.
    touched: Vec<Touched>,
    /// The place of the table that was touched last.
    last: usize,
}

#[derive(Debug)]
struct Touched {
    table: Box<str>,
    rows: Vec<i64>,
    /// Whether there are more rows than are told apart.
    more: bool,
}

impl RowLog {
    /// A transaction begins, at this count of SQLite's.
    pub(crate) fn begin(&mut self, changes: u64) {
        self.events = 0;
        self.settled = (changes, 0);
        self.running = false;
        self.full = false;
        if self.touched.len() == MOST_TABLES {
            self.touched.clear();
        }
        for touched in &mut self.touched {
            touched.rows.clear();
            touched.more = false;
        }
    }

    /// A statement that writes starts. Answers whether all is accounted for so far.
    #[must_use]
    pub(crate) fn start(&mut self, changes: u64) -> bool {
        let all = self.settle(changes);
        self.running = true;
        all
    }

    /// It has ended and is reset. Answers whether the hook was told of each row that it has changed.
    #[must_use]
    pub(crate) fn end(&mut self, changes: u64) -> bool {
        self.running = false;
        let (changes_before, events_before) = mem::replace(&mut self.settled, (changes, self.events));
        changes.wrapping_sub(changes_before) == self.events - events_before
    }

    /// Answers whether nothing has changed since the last statement had ended. False while one runs, also one that was
    /// forgotten: of two that run at once nobody knows whose changes are whose.
    #[must_use]
    pub(crate) fn settle(&mut self, changes: u64) -> bool {
        let now = (changes, self.events);
        mem::replace(&mut self.settled, now) == now && !self.running
    }

    /// What the hook is told.
    pub(crate) fn touch(&mut self, table: &str, row: i64) {
        self.events += 1;
        if self.touched.get(self.last).is_none_or(|touched| *touched.table != *table) {
            // By no more than SQLite tells names apart by: a table may have come back as another one.
            let known = self.touched.iter().position(|touched| touched.table.eq_ignore_ascii_case(table));
            self.last = match known {
                Some(place) => place,
                None if self.touched.len() < MOST_TABLES => {
                    self.touched.push(Touched { table: table.into(), rows: Vec::new(), more: false });
                    self.touched.len() - 1
                }
                None => {
                    self.full = true;
                    return;
                }
            };
        }
        self.touched[self.last].add(row);
    }

    /// The rows of a table, whose name is given in lower case, sorted, each once; `None` if there are too many, or
    /// too many tables.
    pub(crate) fn rows(&self, table: &str) -> Option<&[i64]> {
        if self.full {
            return None;
        }
        match self.touched.iter().find(|touched| touched.table.eq_ignore_ascii_case(table)) {
            Some(touched) => (!touched.more).then_some(&touched.rows),
            None => Some(&[]),
        }
    }

    /// Puts the rows in order, for [`rows`](Self::rows).
    pub(crate) fn sort(&mut self) {
        self.touched.iter_mut().for_each(Touched::sort);
    }
}

impl Touched {
    fn add(&mut self, row: i64) {
        if self.more || self.rows.last() == Some(&row) {
            return;
        }
        // Twice the room, so that rows that are touched again and again are seldom put in order.
        if self.rows.len() == 2 * MOST_ROWS {
            self.sort();
        }
        if !self.more {
            self.rows.push(row);
        }
    }

    fn sort(&mut self) {
        self.rows.sort_unstable();
        self.rows.dedup();
        if self.rows.len() > MOST_ROWS {
            self.rows.clear();
            self.more = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With these rows touched by one statement.
    fn after(rows: impl IntoIterator<Item = i64>) -> RowLog {
        let mut log = RowLog::default();
        log.begin(7);
        assert!(log.start(7));
        let mut count = 7;
        for row in rows {
            log.touch("T", row);
            count += 1;
        }
        assert!(log.end(count) && log.settle(count));
        log.sort();
        log
    }

    #[test]
    fn rows_are_told_once_each_in_order_up_to_their_bound_however_often_they_are_touched() {
        assert_eq!(after([5, -3, 5, 5, 4]).rows("t"), Some(&[-3, 4, 5][..]));
        assert_eq!(after([5]).rows("u"), Some(&[][..]));
        let bound = MOST_ROWS as i64;
        for times in [1, 2, 9] {
            let log = after((0..times * bound).map(|number| number % bound));
            assert_eq!(log.rows("t").map(<[i64]>::len), Some(MOST_ROWS), "{times} times");
            assert!(after((0..times * (bound + 1)).map(|number| number % (bound + 1))).rows("t").is_none(), "{times}");
        }
        let log = after(0..100 * bound);
        assert!(log.touched[0].rows.capacity() <= 2 * MOST_ROWS, "memory is bounded while the hook runs");
    }

    #[test]
    fn tables_without_end_are_told_apart_as_far_as_there_is_room_and_again_in_the_next_transaction() {
        let mut log = RowLog::default();
        log.begin(0);
        for number in 0..MOST_TABLES {
            log.touch(&format!("t{number}"), 1);
        }
        assert_eq!(log.rows("t5"), Some(&[1][..]));
        log.touch("one more", 1);
        assert_eq!(log.rows("t5"), None);
        log.begin(65);
        log.touch("one more", 2);
        assert_eq!((log.rows("t5"), log.rows("one more")), (Some(&[][..]), Some(&[2][..])));
    }

    #[test]
    fn what_the_hook_was_not_told_is_noticed_in_each_statement_alone() {
        let mut log = RowLog::default();
        log.begin(0);
        assert!(log.start(0));
        assert!(!log.end(2), "two changes, and no word of them");
        assert!(log.start(2));
        log.touch("t", 1);
        log.touch("t", 2);
        assert!(!log.end(2), "undone: it does not make up for the one before");
        assert!(log.settle(2));
        log.touch("t", 3);
        assert!(!log.settle(3), "a change by nobody");
        assert!(log.start(3));
        log.touch("t", 3);
        assert!(!log.settle(4), "it runs");
        assert!(!log.start(4), "two at once");
    }
}
