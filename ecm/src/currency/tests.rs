use super::*;
use ecm_core::{RowKeys, Stamp, ValueRef, WrittenRows, WrittenTable};

/// A database that tells, or does not have to tell, how often it was written.
#[derive(Clone, Debug, Default)]
struct Told {
    alone: bool,
    stands_at: Arc<AtomicU64>,
    schema: Arc<AtomicU64>,
    follows: Arc<AtomicBool>,
    /// How often it was asked to follow rows, or no longer.
    asked: Arc<AtomicU64>,
}

impl Source for Told {
    fn foreign_writes(&self) -> Result<ForeignWrites, Failure> {
        Ok(if self.alone { ForeignWrites::None } else { ForeignWrites::Seen(Box::new(self.clone())) })
    }

    fn follow_rows(&self, wanted: bool) {
        self.asked.fetch_add(1, Ordering::SeqCst);
        // Gives others the time to come in between.
        (0..if wanted { 0 } else { 200 }).for_each(|_| std::thread::yield_now());
        self.follows.store(wanted, Ordering::SeqCst);
    }
}

impl DataVersion for Told {
    fn now(&self) -> Option<Stamp> {
        Some(self.stamp())
    }

    fn schema(&self) -> Option<u64> {
        Some(self.schema.load(Ordering::SeqCst))
    }
}

impl Told {
    fn stamp(&self) -> Stamp {
        let at = self.stands_at.load(Ordering::SeqCst);
        // No word of two stamps is the same but the last one.
        Stamp([at, at << 8, at << 16, !at, at * 3, 7])
    }

    /// A commit becomes visible, whosever it is.
    fn publish(&self) -> Stamp {
        self.stands_at.fetch_add(1, Ordering::SeqCst);
        self.stamp()
    }
}

fn alone() -> (Told, Arc<Currency>) {
    with(Told { alone: true, ..Told::default() })
}

fn among_others() -> (Told, Arc<Currency>) {
    with(Told::default())
}

fn with(told: Told) -> (Told, Arc<Currency>) {
    let currency = Arc::new(Currency::of_source(Box::new(told.clone())));
    (told, currency)
}

fn tables(names: &[&str]) -> Written {
    let mut names = names.to_vec();
    names.sort_unstable();
    Written::Tables(names.into_iter().map(WrittenTable::any).collect())
}

fn read(currency: &Currency, names: &[&str]) -> Option<Box<[TableVersion]>> {
    let tables: Vec<Box<str>> = names.iter().map(|&name| name.into()).collect();
    currency.capture(&Reads { tables: &tables, rows: None }, &Registry::default())
}

/// What depends on rows of `t` by a parameter.
fn read_rows(currency: &Currency, rows: &[ValueRef<'_>]) -> Box<[TableVersion]> {
    let keys = RowKeys { table: "t".into(), parameters: (0..rows.len()).collect() };
    let reads = Reads { tables: &["t".into()], rows: Some((&keys, rows)) };
    currency.capture(&reads, &Registry::default()).unwrap()
}

/// A commit of one's own, from before it is visible until it is acknowledged.
fn commit(told: &Told, currency: &Currency, writes: &Written) {
    currency.committing(writes);
    let stamp = told.publish();
    currency.ended(writes, CommitEnd::Committed(writes, Some(stamp), None));
}

#[test]
fn nothing_is_current_while_somebody_writes_unwatched_or_after_it() {
    let (_, currency) = alone();
    let before = read(&currency, &["a"]).unwrap();
    assert!(currency.is_current(&before));
    let outer = currency.begin_unwatched();
    let inner = currency.begin_unwatched();
    assert!(!currency.is_current(&before));
    drop(outer);
    assert!(!currency.is_current(&read(&currency, &[]).unwrap()), "one of two still writes");
    drop(inner);
    assert!(!currency.is_current(&before));
    let after = read(&currency, &["a"]).unwrap();
    assert!(currency.is_current(&after) && !currency.is_current(&[]));
}

#[test]
fn a_commit_moves_its_tables_and_no_others_and_hides_them_meanwhile() {
    for (told, currency) in [alone(), among_others()] {
        let [a, b, both] = [&["a"][..], &["b"], &["a", "b"]].map(|names| read(&currency, names).unwrap());
        let writes = tables(&["a"]);
        currency.committing(&writes);
        let stamp = told.publish();
        assert!(!currency.is_current(&a) && !currency.is_current(&both));
        assert_eq!(currency.is_current(&b), told.alone, "which commit it is that is visible is known afterwards");
        currency.ended(&writes, CommitEnd::Committed(&writes, Some(stamp), None));
        assert!(!currency.is_current(&a) && !currency.is_current(&both) && currency.is_current(&b));
        currency.committing(&writes);
        let stamp = told.publish();
        currency.ended(&writes, CommitEnd::Committed(&Written::Everything, Some(stamp), None));
        assert!(!currency.is_current(&b), "somebody else has committed too");
    }
}

#[test]
fn what_a_commit_has_written_itself_is_all_there_is_where_everything_before_it_is_accounted_for() {
    let (told, currency) = among_others();
    let commit = |began: Stamp| {
        let own = (began, tables(&["a"]));
        currency.committing(&Written::Everything);
        let stamp = told.publish();
        currency.ended(&Written::Everything, CommitEnd::Committed(&Written::Everything, Some(stamp), Some(&own)));
    };
    let [a, b] = [&["a"], &["b"]].map(|names| read(&currency, names).unwrap());
    commit(told.stamp());
    assert!(!currency.is_current(&a) && currency.is_current(&b), "the first one of a connection");
    // Somebody else has committed, and nobody has accounted for that.
    commit(told.publish());
    assert!(!currency.is_current(&b));
    let b = read(&currency, &["b"]).unwrap();
    assert!(currency.is_current(&b));
    commit(told.stamp());
    assert!(currency.is_current(&b), "it is accounted for by now");
    told.publish();
    let b = read(&currency, &["b"]).unwrap();
    commit(told.stamp());
    assert!(currency.is_current(&b), "whoever has kept something since has accounted for it");
}

#[test]
fn what_is_read_in_the_middle_of_a_commit_is_not_current_after_it() {
    for (told, currency) in [alone(), among_others()] {
        read(&currency, &["a"]).unwrap();
        let writes = tables(&["a"]);
        currency.committing(&writes);
        let before = read(&currency, &["a"]);
        let stamp = told.publish();
        let after = read(&currency, &["a"]);
        currency.ended(&writes, CommitEnd::Committed(&writes, Some(stamp), None));
        for versions in [before, after].into_iter().flatten() {
            assert!(!currency.is_current(&versions));
        }
    }
}

#[test]
fn what_was_rolled_back_leaves_everything_current() {
    for (_, currency) in [alone(), among_others()] {
        let a = read(&currency, &["a"]).unwrap();
        for writes in [tables(&["a"]), Written::Everything] {
            currency.committing(&writes);
            currency.ended(&writes, CommitEnd::RolledBack);
            assert!(currency.is_current(&a));
        }
    }
}

#[test]
fn after_an_unknown_outcome_nothing_is_current_until_the_next_commit_and_everything_has_moved() {
    let (told, currency) = alone();
    let b = read(&currency, &["b"]).unwrap();
    let writes = tables(&["a"]);
    for _ in 0..2 {
        currency.committing(&writes);
        currency.ended(&writes, CommitEnd::Unknown);
        assert!(!currency.is_current(&b) && !currency.is_current(&read(&currency, &["b"]).unwrap()));
    }
    currency.committing(&writes);
    currency.ended(&writes, CommitEnd::RolledBack);
    assert!(!currency.is_current(&read(&currency, &["b"]).unwrap()), "it has put nothing in the place of the other");
    commit(&told, &currency, &tables(&["c"]));
    assert!(!currency.is_current(&b));
    assert!(currency.is_current(&read(&currency, &["b"]).unwrap()));
}

#[test]
fn a_commit_of_somebody_else_moves_everything_at_the_next_look() {
    let (told, currency) = among_others();
    let before = read(&currency, &["a"]).unwrap();
    assert!(currency.is_current(&before));
    told.publish();
    assert!(!currency.is_current(&before));
    let after = read(&currency, &["a"]).unwrap();
    assert!(currency.is_current(&after) && !currency.is_current(&before));
    // One that was captured before, and read before it or after it, is kept too late.
    told.publish();
    assert!(!currency.is_current(&after));
    read(&currency, &["b"]).unwrap();
    assert!(!currency.is_current(&after));
}

#[test]
fn a_commit_of_ours_that_is_under_way_is_not_taken_for_one_of_somebody_else() {
    let (told, currency) = among_others();
    let b = read(&currency, &["b"]).unwrap();
    let writes = tables(&["a"]);
    currency.committing(&writes);
    let stamp = told.publish();
    assert!(read(&currency, &["b"]).is_none(), "nothing is kept for this moment");
    currency.ended(&writes, CommitEnd::Committed(&writes, Some(stamp), None));
    assert!(currency.is_current(&b), "what does not depend on it goes on");
}

#[test]
fn the_schema_is_looked_at_after_any_commit_that_may_have_brought_another_one() {
    let (told, currency) = among_others();
    let registry = Registry::default();
    let capture = || currency.capture(&Reads { tables: &["a".into()], rows: None }, &registry);
    capture().unwrap();
    let clears = registry.clears();
    told.publish();
    capture().unwrap();
    assert_eq!(registry.clears(), clears, "it is the same");
    // Somebody else's, which our own next commit notices, and one of ours after that, which is told exactly.
    told.schema.fetch_add(1, Ordering::SeqCst);
    told.publish();
    commit(&told, &currency, &Written::Everything);
    commit(&told, &currency, &tables(&["b"]));
    let versions = capture().unwrap();
    assert_eq!(registry.clears(), clears + 1);
    assert!(currency.is_current(&versions));
    commit(&told, &currency, &tables(&["b"]));
    assert!(currency.is_current(&versions), "that doubt is settled");
}

#[test]
fn rows_are_told_apart_only_if_integers_decide_and_commits_say_which_rows_they_touch() {
    for (told, currency) in [alone(), among_others()] {
        let seven = read_rows(&currency, &[ValueRef::Integer(7)]);
        assert!(told.follows.load(Ordering::SeqCst));
        let text = read_rows(&currency, &[ValueRef::Text("7")]);
        let (whole, other) = (read(&currency, &["t"]).unwrap(), read(&currency, &["u"]).unwrap());
        let all = [&seven, &text, &whole, &other];
        assert_eq!(all.map(|versions| currency.is_current(versions)), [true; 4]);
        commit(&told, &currency, &tables(&["u"]));
        assert_eq!(all.map(|versions| currency.is_current(versions)), [true, true, true, false]);
        let touched = |rows: &[i64]| {
            let table = WrittenTable { rows: WrittenRows::Only(rows.into()), ..WrittenTable::any("t") };
            Written::Tables([table].into())
        };
        commit(&told, &currency, &touched(&[8, 9]));
        assert_eq!(
            all.map(|versions| currency.is_current(versions)),
            [true, false, false, false],
            "7 is not among them"
        );
        commit(&told, &currency, &touched(&[-1, 7]));
        assert!(!currency.is_current(&seven));
        let both = read_rows(&currency, &[ValueRef::Integer(7), ValueRef::Integer(8)]);
        commit(&told, &currency, &touched(&[6]));
        assert!(currency.is_current(&both));
        commit(&told, &currency, &touched(&[8]));
        assert!(!currency.is_current(&both), "one of two is enough");
        let seven = read_rows(&currency, &[ValueRef::Integer(7)]);
        commit(&told, &currency, &tables(&["t"]));
        assert!(!currency.is_current(&seven), "any row may have been touched");
    }
}

#[test]
fn rows_are_followed_no_longer_once_nobody_asks_for_them() {
    let (told, currency) = alone();
    let row = read_rows(&currency, &[ValueRef::Integer(7)]);
    for _ in 0..3 * COMMITS_WITHOUT_ROWS {
        commit(&told, &currency, &tables(&["u"]));
        assert!(currency.is_current(&row));
    }
    assert!(told.follows.load(Ordering::SeqCst), "who asks keeps it up");
    for _ in 0..3 * COMMITS_WITHOUT_ROWS {
        commit(&told, &currency, &tables(&["u"]));
    }
    assert!(!told.follows.load(Ordering::SeqCst));
    assert!(currency.is_current(&row));
    assert_eq!((told.follows.load(Ordering::SeqCst), told.asked.load(Ordering::SeqCst)), (true, 3));
}

#[test]
fn the_backend_is_told_last_what_is_wanted_whoever_wants_it_and_whoever_does_not_any_more() {
    let (told, currency) = alone();
    let row = read_rows(&currency, &[ValueRef::Integer(7)]);
    for _ in 0..20 {
        std::thread::scope(|scope| {
            let (told, currency) = (&told, &currency);
            let commits = scope.spawn(move || {
                for _ in 0..3 * COMMITS_WITHOUT_ROWS {
                    commit(told, currency, &tables(&["u"]));
                }
            });
            scope.spawn(move || {
                while !commits.is_finished() {
                    // Only while nobody is asked for rows, so that nobody is for most of the time.
                    if !currency.follows_rows.load(Ordering::SeqCst) {
                        currency.use_rows();
                    }
                }
            });
        });
        assert!(currency.is_current(&row));
        let (follows, remembered) = (told.follows.load(Ordering::SeqCst), currency.follows_rows.load(Ordering::SeqCst));
        assert_eq!((follows, remembered), (true, true));
    }
    assert!(told.asked.load(Ordering::SeqCst) > 20, "nobody ever stopped asking");
}

#[test]
fn rows_that_are_written_before_they_are_told_apart_count_as_any() {
    let marks = Marks::default();
    let keys = RowKeys { table: "t".into(), parameters: [0].into() };
    let by_row = Reads { tables: &["t".into()], rows: Some((&keys, &[ValueRef::Integer(7)])) };
    // What somebody captures who begins to tell rows apart at the moment of the commit, which does not see that yet.
    let (at_that_moment, _) = Marks::default().capture(&by_row);
    let table = WrittenTable { rows: WrittenRows::Only([7].into()), ..WrittenTable::any("t") };
    marks.committed(&Written::Tables([table].into()));
    marks.capture(&by_row);
    assert!(!marks.are(&at_that_moment, false));
}

#[test]
fn whoever_has_seen_a_commit_is_served_nothing_older_whatever_runs_meanwhile() {
    const COMMITS: u64 = 20_000;
    for (told, currency) in [alone(), among_others()] {
        let (begin, hits) = (std::sync::Barrier::new(3), AtomicU64::new(0));
        std::thread::scope(|scope| {
            let (told, currency, begin, hits) = (&told, &currency, &begin, &hits);
            scope.spawn(move || {
                begin.wait();
                for number in 1..=COMMITS {
                    if number % 64 == 0 {
                        std::thread::yield_now();
                    }
                    // What is told of the stand of the database is the row itself.
                    if !told.alone && number % 7 == 0 {
                        told.publish();
                        continue;
                    }
                    let writes = if number % 16 == 0 { Written::Everything } else { tables(&["a"]) };
                    // Whoever commits after somebody else does not know what that one wrote.
                    let writes = if !told.alone && number % 7 == 1 { Written::Everything } else { writes };
                    commit(told, currency, &writes);
                }
            });
            for _ in 0..2 {
                scope.spawn(move || {
                    let row = || told.stands_at.load(Ordering::SeqCst);
                    let mut stored: Option<(Box<[TableVersion]>, u64)> = None;
                    begin.wait();
                    while row() < COMMITS {
                        let seen = row();
                        if let Some((versions, kept)) = &stored
                            && currency.is_current(versions)
                        {
                            assert!(*kept >= seen, "{kept} was served after {seen} had been seen");
                            hits.fetch_add(1, Ordering::Relaxed);
                            continue;
                        }
                        stored = read(currency, &["a"]).map(|versions| (versions, row()));
                    }
                });
            }
        });
        assert!(hits.into_inner() > 0, "nothing was ever served");
    }
}

#[test]
fn tables_without_end_are_told_apart_as_far_as_there_is_room() {
    const MOST: usize = 4096;
    let (told, currency) = alone();
    let names: Vec<String> = (0..MOST + 10).map(|number| format!("t{number}")).collect();
    let versions: Vec<_> = names.iter().map(|name| read(&currency, &[name]).unwrap()).collect();
    commit(&told, &currency, &tables(&[&names[7]]));
    let last = names.len() - 1;
    assert!(
        !currency.is_current(&versions[7]) && currency.is_current(&versions[6]) && currency.is_current(&versions[last])
    );
    commit(&told, &currency, &tables(&[&names[last]]));
    assert!(!currency.is_current(&versions[last]) && !currency.is_current(&versions[last - 1]), "they share one");
    assert!(currency.is_current(&versions[6]));
}
