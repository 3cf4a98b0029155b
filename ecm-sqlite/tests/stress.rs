//! Readers that hold snapshots, beside writers and checkpoints of this process and of another one:
//! what was acknowledged before a loan is seen in it. Random, from a seed that is printed.

mod support;

use ecm_core::{
    CheckIn, Clock, Connection, Loan, SystemClock,
    testing::{Random, seed},
};
use ecm_sqlite::{Db, SqliteConfig, rusqlite};
use std::{
    env,
    io::{BufRead, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    thread,
    time::Duration,
};
use support::{Place, held, read};

/// What the second process is told to work on: this program, run again.
const ELSEWHERE: &str = "ECM_STRESS_FILE";

/// How many commits each writer makes.
const COMMITS: u64 = 60;

struct Counter {
    acknowledged: AtomicI64,
    loans: AtomicU64,
    over: AtomicBool,
}

/// A place with one row that counts commits, and another one that must always be its negative.
fn counting() -> Place {
    let place = Place::with(SqliteConfig { wal_autocheckpoint: 50, ..SqliteConfig::default() });
    place.stranger().execute_batch("insert into t values (1, 0), (2, 0)").unwrap();
    place
}

/// Adds one, in a transaction of two statements, and answers the new number.
fn count_up(connection: &rusqlite::Connection) -> i64 {
    connection.execute_batch("begin immediate; update t set v = v + 1 where id = 1").unwrap();
    connection.execute_batch("update t set v = v - 1 where id = 2").unwrap();
    let number = connection.query_row("select v from t where id = 1", [], |row| row.get(0)).unwrap();
    connection.execute_batch("commit").unwrap();
    number
}

/// Asks for a lock every millisecond, where SQLite would come to sleep 100 ms.
fn wait_briefly(connection: &mut rusqlite::Connection) {
    let wait = |tries| {
        thread::sleep(Duration::from_millis(1));
        tries < 60_000
    };
    connection.busy_handler(Some(wait)).unwrap();
}

fn both(db: &Db) -> (i64, i64) {
    let one = |id: i64| db.query_row("select v from t where id = ?1", [id], |row| row.get(0)).unwrap();
    (one(1), one(2))
}

impl Counter {
    fn new() -> Self {
        Self { acknowledged: AtomicI64::new(0), loans: AtomicU64::new(0), over: AtomicBool::new(false) }
    }

    fn acknowledge(&self, number: i64) {
        self.acknowledged.fetch_max(number, Ordering::SeqCst);
    }

    fn read_on(&self, place: &Place, number: u64) {
        let mut reader = held(place);
        let clock = SystemClock::new();
        let sql = support::prepared(&mut reader, "select v from t where id = 1");
        let mut rounds = 0;
        while !self.over.load(Ordering::SeqCst) {
            rounds += 1;
            let expected = self.acknowledged.load(Ordering::SeqCst);
            let seen = if (rounds + number).is_multiple_of(3) {
                reader.check_out(Loan::Statement).unwrap();
                let seen = support::number(&mut reader, &sql);
                assert_eq!(reader.check_in(), CheckIn::Clean);
                seen
            } else {
                let (one, other) = read(&mut reader, both);
                assert_eq!(one, -other, "half of a transaction");
                one
            };
            assert!(seen >= expected, "stale: {seen}, where {expected} was acknowledged before the loan");
            self.loans.fetch_add(1, Ordering::SeqCst);
            if rounds % 97 == 0 {
                reader.idle(clock.now());
            }
        }
    }

    /// Waits until so many loans have gone by, so that some commits meet held snapshots.
    fn let_read(&self, loans: u64) {
        let until = self.loans.load(Ordering::SeqCst) + loans;
        while self.loans.load(Ordering::SeqCst) < until && !self.over.load(Ordering::SeqCst) {
            thread::yield_now();
        }
    }

    fn write_here(&self, place: &Place, random: &mut Random) {
        let mut stranger = place.stranger();
        wait_briefly(&mut stranger);
        stranger.pragma_update(None, "wal_autocheckpoint", 50).unwrap();
        for _ in 0..COMMITS {
            self.acknowledge(count_up(&stranger));
            self.let_read(random.below(30));
        }
    }

    fn checkpoint(&self, place: &Place, random: &mut Random) {
        let stranger = place.stranger();
        while !self.over.load(Ordering::SeqCst) {
            let mode = ["passive", "full", "restart", "truncate"][random.below(4) as usize];
            // Somebody may stand in the way: then it has not been done.
            let done = stranger.query_row(&format!("pragma wal_checkpoint({mode})"), [], |_| Ok(()));
            assert!(matches!(done, Ok(()) | Err(rusqlite::Error::SqliteFailure(..))), "{done:?}");
            self.let_read(random.below(200));
        }
    }

    /// Acknowledges what another process has committed, when it says so.
    fn hear(&self, child: &mut Child) {
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for line in lines.map(Result::unwrap) {
            if let Some(number) = line.strip_prefix("committed ") {
                self.acknowledge(number.parse().unwrap());
            }
        }
        assert!(child.wait().unwrap().success());
    }
}

/// This program as another process, in which only the test of that name runs.
fn run_again(test: &str, variable: &str, path: &Path, seed: u64) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(variable, path)
        .env("ECM_SEED", seed.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

#[test]
fn the_work_of_the_second_process() {
    let Some(path) = env::var_os(ELSEWHERE).map(PathBuf::from) else { return };
    let mut connection = rusqlite::Connection::open(path).unwrap();
    wait_briefly(&mut connection);
    let mut random = Random::new(seed());
    for _ in 0..COMMITS {
        let number = count_up(&connection);
        let mut out = std::io::stdout().lock();
        writeln!(out, "committed {number}").unwrap();
        out.flush().unwrap();
        for _ in 0..random.below(100) {
            thread::yield_now();
        }
    }
}

#[test]
fn what_was_acknowledged_before_a_loan_is_seen_in_it() {
    let seed = seed();
    let place = counting();
    let counter = Counter::new();
    let mut child = run_again("the_work_of_the_second_process", ELSEWHERE, &place.path(), seed);
    thread::scope(|scope| {
        let _over = Over(&counter.over);
        for number in 0..3 {
            let (counter, place) = (&counter, &place);
            scope.spawn(move || {
                let _over = Over(&counter.over);
                counter.read_on(place, number);
            });
        }
        scope.spawn(|| counter.checkpoint(&place, &mut Random::new(seed ^ 1)));
        let writer = scope.spawn(|| counter.write_here(&place, &mut Random::new(seed ^ 2)));
        counter.hear(&mut child);
        writer.join().unwrap();
    });
    let total = i64::try_from(2 * COMMITS).unwrap();
    assert_eq!(counter.acknowledged.into_inner(), total, "every commit of both processes");
    let ok: String = place.stranger().query_row("pragma integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(ok, "ok");
}

/// Ends the others when one has ended, by a panic too.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Runs the program `sqlite3` on a file; `None`, with a note, where there is none.
fn sqlite3(path: &Path, commands: &[&str]) -> Option<String> {
    let ran = Command::new("sqlite3").arg("-batch").arg(path).args(commands).output();
    let Ok(output) = ran else {
        // A test that is skipped should say so.
        eprintln!("skipped: there is no program sqlite3 on the PATH");
        return None;
    };
    assert!(output.status.success(), "{output:?}");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn what_the_program_sqlite3_has_committed_is_seen_by_the_next_loan() {
    let place = counting();
    let mut reader = held(&place);
    for number in 1..=10 {
        for _ in 0..number * 2 {
            assert_eq!(read(&mut reader, |db| both(db).0), number - 1);
        }
        if sqlite3(&place.path(), &["update t set v = v + 1 where id = 1"]).is_none() {
            return;
        }
        assert_eq!(read(&mut reader, |db| both(db).0), number);
    }
}

#[test]
fn a_checkpoint_of_another_process_gets_by_readers_that_are_lent_all_the_time() {
    let place = counting();
    let over = AtomicBool::new(false);
    let ready = AtomicU64::new(0);
    thread::scope(|scope| {
        let _over = Over(&over);
        // Holds nothing: it keeps the log from going away, and commits something to empty.
        let mut writer = place.writer();
        for _ in 0..2 {
            scope.spawn(|| {
                let _over = Over(&over);
                let mut reader = held(&place);
                while !over.load(Ordering::Relaxed) {
                    read(&mut reader, both);
                    ready.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for round in 0..5 {
            support::write(&mut writer, |tx| tx.execute("update t set v = ?1 where id = 1", [round]).unwrap());
            let until = ready.load(Ordering::Relaxed) + 200;
            while ready.load(Ordering::Relaxed) < until && !over.load(Ordering::Relaxed) {
                thread::yield_now();
            }
            let emptied = sqlite3(&place.path(), &[".timeout 3000", "pragma wal_checkpoint(truncate)"]);
            match emptied.as_deref().map(str::trim) {
                Some(told) => assert_eq!(told, "0|0|0", "round {round}"),
                None => break,
            }
        }
    });
}
