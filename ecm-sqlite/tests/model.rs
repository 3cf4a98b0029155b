//! Held readers against a number in a variable, over random schedules of one thread: a loan sees the
//! last commit, whoever made it and whatever was done to the log and to idle connections meanwhile.

mod support;

use ecm_core::{CheckIn, Clock, Connection, Loan, Time, Transact, testing::TestClock};
use ecm_sqlite::{SqliteConfig, SqliteConnection};
use proptest::prelude::*;
use std::{sync::Arc, time::Duration};
use support::{Place, begin, done, forget, write};

#[derive(Clone, Debug)]
enum Step {
    /// So many loans in a row of one of the readers, for closures or for statements.
    Read { reader: usize, times: u8, statement: bool },
    /// A loan inside which somebody commits, once before the first read and once after it.
    ReadAcross { reader: usize },
    /// A commit by ECM's writer, which may be rolled back, or by somebody else.
    Write { ours: bool, kept: bool },
    /// A checkpoint by somebody else.
    Checkpoint { mode: usize },
    /// The housekeeper finds a reader idle, after so many milliseconds.
    Idle { reader: usize, millis: u64 },
    /// Everybody is asked to let go.
    LetGo,
    /// A borrower leaves a cursor behind.
    Forget { reader: usize },
    /// A reader is lent for upkeep.
    Upkeep { reader: usize },
}

const READERS: usize = 3;

fn step() -> impl Strategy<Value = Step> {
    let reader = 0..READERS;
    prop_oneof![
        8 => (reader.clone(), 1_u8..9, any::<bool>())
            .prop_map(|(reader, times, statement)| Step::Read { reader, times, statement }),
        2 => reader.clone().prop_map(|reader| Step::ReadAcross { reader }),
        4 => (any::<bool>(), prop::bool::weighted(0.8)).prop_map(|(ours, kept)| Step::Write { ours, kept }),
        2 => (0_usize..4).prop_map(|mode| Step::Checkpoint { mode }),
        2 => (reader.clone(), 0_u64..60).prop_map(|(reader, millis)| Step::Idle { reader, millis }),
        1 => Just(Step::LetGo),
        1 => reader.clone().prop_map(|reader| Step::Forget { reader }),
        1 => reader.prop_map(|reader| Step::Upkeep { reader }),
    ]
}

struct World {
    place: Place,
    clock: Arc<TestClock>,
    readers: Vec<SqliteConnection>,
    writer: SqliteConnection,
    statement: ecm_core::Prepared,
    value: i64,
}

const SQL: &str = "select v from t where id = 1";

impl World {
    fn new() -> Self {
        let clock = Arc::new(TestClock::new());
        let config = SqliteConfig { busy_timeout: Duration::ZERO, wal_autocheckpoint: 0, ..SqliteConfig::default() };
        let place = Place::at(config, Arc::clone(&clock) as Arc<dyn Clock>);
        let mut writer = place.writer();
        write(&mut writer, |tx| tx.execute("insert into t values (1, 0)", []).unwrap());
        let statement = support::prepared(&mut place.reader(), SQL);
        let readers = (0..READERS).map(|_| place.kept_reader()).collect();
        Self { place, clock, readers, writer, statement, value: 0 }
    }

    fn write(&mut self, ours: bool, kept: bool) {
        let next = self.value + 1;
        if ours {
            begin(&mut self.writer);
            self.writer.tx().execute("update t set v = ?1 where id = 1", [next]).unwrap();
            if kept {
                done(self.writer.commit());
            } else {
                self.writer.roll_back().unwrap();
            }
            assert_eq!(self.writer.check_in(), CheckIn::Clean);
        } else {
            let end = if kept { "commit" } else { "rollback" };
            let text = format!("begin immediate; update t set v = {next} where id = 1; {end}");
            self.place.stranger().execute_batch(&text).unwrap();
        }
        if kept {
            self.value = next;
        }
    }

    /// Ends a loan; a connection that is not lent again is followed by another one.
    fn check_in(&mut self, reader: usize) {
        match self.readers[reader].check_in() {
            CheckIn::Clean => {}
            CheckIn::Discard => self.readers[reader] = self.place.kept_reader(),
            CheckIn::Reset => panic!("a reader is never in need of that"),
        }
    }

    fn sees(&mut self, reader: usize) -> i64 {
        self.readers[reader].db().query_row(SQL, [], |row| row.get(0)).unwrap()
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Read { reader, times, statement } => {
                for _ in 0..times {
                    if statement {
                        self.readers[reader].check_out(Loan::Statement).unwrap();
                        let seen = support::number(&mut self.readers[reader], &self.statement);
                        assert_eq!(seen, self.value);
                    } else {
                        self.readers[reader].check_out(Loan::Read).unwrap();
                        assert_eq!(self.sees(reader), self.value);
                    }
                    self.check_in(reader);
                }
            }
            Step::ReadAcross { reader } => {
                let before = self.value;
                self.readers[reader].check_out(Loan::Read).unwrap();
                self.write(false, true);
                let seen = self.sees(reader);
                assert!(seen == before || seen == self.value);
                self.write(true, true);
                assert_eq!(self.sees(reader), seen, "one state from start to end");
                self.check_in(reader);
            }
            Step::Write { ours, kept } => self.write(ours, kept),
            Step::Checkpoint { mode } => {
                let mode = ["passive", "full", "restart", "truncate"][mode];
                let asked = format!("pragma wal_checkpoint({mode})");
                self.place.stranger().query_row(&asked, [], |_| Ok(())).unwrap();
            }
            Step::Idle { reader, millis } => {
                self.clock.advance(Duration::from_millis(millis));
                self.readers[reader].idle(self.clock.now());
            }
            Step::LetGo => self.place.database.let_go(),
            Step::Forget { reader } => {
                self.readers[reader].check_out(Loan::Read).unwrap();
                let mut statement = self.readers[reader].db().prepare("select id from t").unwrap();
                let mut rows = statement.query([]).unwrap();
                assert!(rows.next().unwrap().is_some());
                std::mem::forget(rows);
                forget(statement);
                self.check_in(reader);
            }
            Step::Upkeep { reader } => {
                self.readers[reader].check_out(Loan::Upkeep).unwrap();
                assert_eq!(self.sees(reader), self.value);
                self.check_in(reader);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_loan_sees_the_last_commit_whatever_came_before(steps in prop::collection::vec(step(), 1..80)) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
        }
        // Afterwards nobody stands in the way for longer than he may.
        for reader in 0..READERS {
            world.clock.advance(Duration::from_secs(1));
            let now = world.clock.now();
            prop_assert_eq!(world.readers[reader].idle(now), None::<Time>);
        }
        let busy = world.place.stranger().query_row("pragma wal_checkpoint(truncate)", [], |row| row.get::<_, i64>(0));
        prop_assert_eq!(busy, Ok(0));
        for reader in 0..READERS {
            world.take(&Step::Read { reader, times: 1, statement: false });
        }
    }
}
