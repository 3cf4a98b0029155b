//! Who has seen a row is never served an older one by the cache, however many write at the same time.
//!
//! Each row holds a number that only grows. Threads write by the manager, in all the ways there are, and another
//! process writes as well. Readers look at the truth first, past the cache, and then ask the manager: an answer
//! below the truth that was seen before is an old row, and one above the truth that is seen afterwards was never
//! committed. A run in which no answer came from the cache, or in which nothing changed under an answer that was
//! kept, has seen nothing, and fails. So does a run that does not find out a cache which serves old rows.
//!
//! Nobody waits for a time: after each few questions a reader lets somebody write once.
#![cfg(all(feature = "sqlite", feature = "cache-quick"))]

#[path = "support/judging.rs"]
mod judging;
#[path = "support/old_rows.rs"]
mod old_rows;
#[path = "support/plain.rs"]
mod plain;

use ecm::{
    ConnectionManager, Database, Failure, PoolConfig,
    cache::{Quick, QuickConfig},
    core::{Cache, CacheRereads, Value, testing::Fake},
    sqlite::{Sqlite, rusqlite::params_from_iter},
};
use ecm_core::testing::{Random, seed};
use judging::{Hits, ask, values};
use old_rows::OldRows;
use std::{
    env,
    io::{BufRead, BufReader, Write as _, stdin, stdout},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    thread,
};

const WRITERS: usize = 3;
const READERS: usize = 3;

/// How many rows each party writes, and how often.
const ROWS: u64 = 6;
const COMMITS: i64 = 1_000;

/// How often a reader asks a question for each commit that it lets somebody make.
const QUESTIONS: usize = 4;

/// The rows of one answer, each of which only grows.
type Numbers = Vec<i64>;

struct Question {
    sql: String,
    parameters: Vec<Value>,
}

/// What is judged: where the truth comes from, and how a number is written.
trait Subject: Sync {
    fn questions(&self) -> Vec<Question>;

    /// How a reader learns the truth, past the cache.
    fn truth(&self) -> Box<dyn Fn(&Question) -> Numbers + '_>;

    fn ask(&self, question: &Question) -> Numbers;

    /// Commits the next number of a row.
    fn write(&self, party: usize, row: i64, number: i64);

    fn hits(&self) -> u64;

    /// Has a share of its hits compared with what its database answers.
    fn check_itself(&self, share: &str);

    fn rereads(&self) -> CacheRereads;
}

#[derive(Debug, Default)]
struct Seen {
    asked: AtomicU64,
    /// How often the truth about a question was another than the same reader had seen before.
    moved: AtomicU64,
    commits: AtomicU64,
}

/// Lets `parties` write and others read; answers what the first reader has found that was served something wrong.
fn judge(subject: &impl Subject, parties: usize) -> (Option<String>, Seen) {
    let seed = seed();
    let (seen, writing, wrong) = (Seen::default(), AtomicUsize::new(parties), Mutex::new(None));
    let over = AtomicBool::new(false);
    // A reader waits for somebody who writes, so that neither can run away from the other.
    let (permit, permits) = mpsc::sync_channel::<()>(1);
    let permits = Arc::new(Mutex::new(permits));
    thread::scope(|scope| {
        let (seen, writing, wrong, over) = (&seen, &writing, &wrong, &over);
        for party in 0..parties {
            let permits = Arc::clone(&permits);
            scope.spawn(move || {
                let last = OnDrop(|| {
                    if writing.fetch_sub(1, Relaxed) == 1 {
                        over.store(true, Relaxed);
                    }
                });
                let mut random = Random::new(seed ^ party as u64);
                for number in 1..=COMMITS {
                    // Whoever found something wrong lets nobody write any more.
                    let Ok(()) = permits.lock().unwrap().recv() else { break };
                    let row = party as u64 * ROWS + random.below(ROWS);
                    subject.write(party, row.cast_signed(), number);
                    seen.commits.fetch_add(1, Relaxed);
                }
                drop(last);
            });
        }
        for reader in 0..READERS {
            let permit = permit.clone();
            scope.spawn(move || {
                let mut random = Random::new(seed ^ (1 << (32 + reader)));
                while !over.load(Relaxed) {
                    if let Err(error) = read(subject, &mut random, seen, &permit, over) {
                        wrong.lock().unwrap().get_or_insert(error);
                        over.store(true, Relaxed);
                    }
                }
            });
        }
        drop((permit, permits));
    });
    (wrong.into_inner().unwrap(), seen)
}

struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        self.0();
    }
}

/// Asks until all have written.
fn read(
    subject: &impl Subject,
    random: &mut Random,
    seen: &Seen,
    permit: &mpsc::SyncSender<()>,
    over: &AtomicBool,
) -> Result<(), String> {
    let (questions, truth) = (subject.questions(), subject.truth());
    // The greatest numbers that this reader has seen of each question, wherever from.
    let mut known: Vec<Numbers> = questions.iter().map(&truth).collect();
    while !over.load(Relaxed) {
        let number = random.below(questions.len() as u64) as usize;
        let (question, known) = (&questions[number], &mut known[number]);
        let Question { sql, parameters } = question;
        for _ in 0..QUESTIONS {
            let before = truth(question);
            seen.moved.fetch_add((before != *known).into(), Relaxed);
            raise(known, &before).map_err(|()| format!("the truth itself is older: {before:?} after {known:?}"))?;
            let answer = subject.ask(question);
            seen.asked.fetch_add(1, Relaxed);
            raise(known, &answer).map_err(|()| {
                format!("{sql} {parameters:?} was answered with {answer:?} after {known:?} had been seen")
            })?;
            let after = truth(question);
            raise(known, &after)
                .map_err(|()| format!("{sql} {parameters:?} was answered with {answer:?}, and {after:?} is there"))?;
        }
        let _all_have_written = permit.send(());
    }
    Ok(())
}

/// Takes over what is seen; fails if any of it is below what was known.
fn raise(known: &mut Numbers, seen: &Numbers) -> Result<(), ()> {
    if seen.len() != known.len() || seen.iter().zip(&*known).any(|(seen, known)| seen < known) {
        return Err(());
    }
    known.clone_from(seen);
    Ok(())
}

/// Fails if something wrong was served, or if nothing could have been noticed.
fn prove(subject: &impl Subject, parties: usize) {
    subject.check_itself("0.2");
    let (wrong, seen) = judge(subject, parties);
    if let Some(wrong) = wrong {
        panic!("{wrong}");
    }
    let [asked, moved, commits] = [&seen.asked, &seen.moved, &seen.commits].map(|count| count.load(Relaxed));
    let hits = subject.hits();
    eprintln!("{commits} commits, {asked} questions, {moved} of which had another answer than before, {hits} hits");
    assert_eq!(commits, parties as u64 * COMMITS as u64);
    assert!(hits * 20 > asked, "of {asked} answers only {hits} came from the cache: this proves nothing");
    assert!(moved * 20 > asked, "of {asked} answers only {moved} had changed: this proves nothing");
    // What is written while it is read again says nothing; now that nobody writes every hit that is picked does.
    let enough = || subject.rereads().compared * 1_000 > subject.hits();
    for _ in 0..5_000 {
        if enough() {
            break;
        }
        subject.questions().iter().for_each(|question| drop(subject.ask(question)));
        thread::yield_now();
    }
    let (rereads, hits) = (subject.rereads(), subject.hits());
    eprintln!("{rereads:?}");
    assert_eq!(rereads.mismatches, 0);
    assert!(rereads.compared * 1_000 > hits, "of {hits} hits only {} were compared", rereads.compared);
}

/// The numbers of an answer.
fn numbers(rows: Vec<Vec<Value>>) -> Numbers {
    let number = |value| match value {
        Value::Integer(number) => number,
        Value::Null => 0,
        other => panic!("{other:?} is no number"),
    };
    rows.into_iter().flatten().map(number).collect()
}

const SCHEMA: &str = "
    CREATE TABLE row (id INTEGER PRIMARY KEY, n INTEGER NOT NULL);
    CREATE TABLE copy (id INTEGER PRIMARY KEY, n INTEGER NOT NULL);
    CREATE TABLE still (id INTEGER PRIMARY KEY, n INTEGER NOT NULL);
    CREATE VIEW both AS SELECT row.id, row.n AS one, copy.n AS other FROM row JOIN copy USING (id);
    CREATE TRIGGER copied AFTER UPDATE ON row WHEN new.n % 3 = 0 BEGIN
        UPDATE copy SET n = new.n WHERE id = new.id;
    END;
    CREATE TRIGGER through INSTEAD OF UPDATE ON both BEGIN UPDATE row SET n = new.one WHERE id = new.id; END;
    WITH RECURSIVE ids (id) AS (SELECT 0 UNION ALL SELECT id + 1 FROM ids WHERE id < 63)
        INSERT INTO row SELECT id, 0 FROM ids;
    INSERT INTO copy SELECT * FROM row; INSERT INTO still SELECT * FROM row";

const SET: &str = "UPDATE row SET n = ?2 WHERE id = ?1";

/// The questions of SQLite, about the rows that these parties write.
fn questions(parties: usize) -> Vec<Question> {
    let rows = (parties as u64 * ROWS).cast_signed();
    let ask = |sql: &str, parameters: &[Value]| Question { sql: sql.into(), parameters: parameters.to_vec() };
    let mut questions = Vec::new();
    for row in 0..rows {
        let other = (row + 5) % rows;
        questions.extend([
            ask("SELECT n FROM row WHERE id = ?1", &[Value::Integer(row)]),
            ask("SELECT n FROM row WHERE id IN (?1, ?2) ORDER BY id", &[Value::Integer(row), Value::Integer(other)]),
        ]);
    }
    questions.extend([
        ask("SELECT n FROM row WHERE id = ?1", &[Value::Text("7".into())]),
        ask("SELECT one, other FROM both WHERE id = ?1", &[Value::Integer(2)]),
        ask("SELECT sum(one), sum(other) FROM both", &[]),
        ask("SELECT sum(n) FROM copy", &[]),
        ask("SELECT max(n), count(*) FROM row", &[]),
        ask("SELECT sum(n) FROM still", &[]),
    ]);
    questions
}

struct OverSqlite<'f> {
    manager: ConnectionManager,
    hits: Hits,
    /// `None` in memory.
    file: Option<&'f Path>,
    parties: usize,
    process: Option<Mutex<Process>>,
}

impl<'f> OverSqlite<'f> {
    fn new(file: Option<&'f Path>, cache: impl Cache + 'static) -> Self {
        let hits = Hits::default();
        let sqlite = file.map_or_else(Sqlite::memory, Sqlite::open);
        let builder = ConnectionManager::builder().database(Database::new("main", sqlite));
        let manager = builder.cache(cache).observer(hits.clone()).build().unwrap();
        manager.write(|tx| Ok(tx.execute_batch(SCHEMA)?)).wait().unwrap();
        Self { manager, hits, file, parties: WRITERS, process: None }
    }

    /// With another process as one more party.
    fn beside_another_process(mut self) -> Self {
        self.process = self.file.map(|file| Mutex::new(Process::start(file)));
        self.parties += 1;
        self
    }
}

impl Subject for OverSqlite<'_> {
    fn questions(&self) -> Vec<Question> {
        questions(self.parties)
    }

    fn truth(&self) -> Box<dyn Fn(&Question) -> Numbers + '_> {
        let Some(file) = self.file else {
            // A closure is never answered from the cache.
            return Box::new(|Question { sql, parameters }| {
                let read = self.manager.read(|db| {
                    let parameters = params_from_iter(parameters.iter().map(plain::theirs));
                    let rows = db.query(sql, parameters, |row| {
                        let columns = 0..row.as_ref().column_count();
                        columns.map(|column| Ok(row.get::<_, Option<i64>>(column)?.unwrap_or(0))).collect()
                    });
                    Ok(rows?.into_iter().flat_map(|row: Numbers| row).collect())
                });
                read.wait().unwrap()
            });
        };
        let connection = plain::connect(file).unwrap();
        Box::new(move |Question { sql, parameters }| numbers(plain::query(&connection, sql, parameters).unwrap()))
    }

    fn ask(&self, Question { sql, parameters }: &Question) -> Numbers {
        numbers(values(&ask(&self.manager, sql, parameters).unwrap()))
    }

    fn write(&self, party: usize, row: i64, number: i64) {
        match &self.process {
            Some(process) if party == WRITERS => process.lock().unwrap().write(row, number),
            _ => write(&self.manager, row, number),
        }
    }

    fn hits(&self) -> u64 {
        self.hits.count()
    }

    fn check_itself(&self, share: &str) {
        self.manager.apply("cache_self_check", share).unwrap();
    }

    fn rereads(&self) -> CacheRereads {
        self.manager.status().cache_rereads
    }
}

/// Writes a number of a row, in one of the ways there are. What is below 0 is never committed.
fn write(manager: &ConnectionManager, row: i64, number: i64) {
    match number % 7 {
        0 => drop(manager.execute(SET).bind(row).bind(number).wait().unwrap()),
        1 => drop(manager.execute("REPLACE INTO row VALUES (?1, ?2)").bind(row).bind(number).wait().unwrap()),
        2 => drop(manager.execute("UPDATE both SET one = ?2 WHERE id = ?1").bind(row).bind(number).wait().unwrap()),
        3 => {
            let sql = "INSERT INTO row VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET n = excluded.n RETURNING n";
            assert_eq!(manager.query(sql).bind(row).bind(number).one::<i64>().wait().unwrap(), number);
        }
        4 => {
            let undone = manager.write(|tx| {
                tx.execute(SET, [row, -number])?;
                Err::<(), _>(Failure::msg("no"))
            });
            undone.wait().unwrap_err();
            manager.write(|tx| Ok(tx.execute(SET, [row, number])?)).wait().unwrap();
        }
        5 => {
            let unit = manager.unit_of_work(|uow| {
                let undone = uow.nested(|uow| {
                    uow.tx().execute(SET, [row, -number])?;
                    Err::<(), _>(Failure::msg("no"))
                });
                assert!(undone.is_err());
                uow.nested(|uow| Ok(uow.tx().execute(SET, [row, number])?))
            });
            assert_eq!(unit.wait().unwrap(), 1);
        }
        _ => assert_eq!(manager.write(|tx| Ok(tx.raw().execute(SET, [row, number])?)).wait().unwrap(), 1),
    }
}

/// Tells a test that it is the other process, and of which file.
const FILE: &str = "ECM_OTHER_PROCESS_FILE";

/// A process that commits one number for each line that it is given, and says so.
struct Process {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Process {
    fn start(file: &Path) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "the_work_of_the_other_process", "--nocapture", "--test-threads=1"]).env(FILE, file);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output }
    }

    fn write(&mut self, row: i64, number: i64) {
        writeln!(self.input, "{row} {number}").unwrap();
        let committed = format!("committed {row} {number}");
        let mut line = String::new();
        // The test harness has words of its own.
        while line.trim_end() != committed {
            line.clear();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the other process has ended");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _it_may_have_ended = self.child.kill();
        let _status = self.child.wait();
    }
}

#[test]
fn the_work_of_the_other_process() {
    let Some(file) = env::var_os(FILE) else { return };
    // By a manager of its own, and without one.
    let (manager, plain) =
        (ConnectionManager::open(file.to_str().unwrap()).unwrap(), plain::connect(file.as_ref()).unwrap());
    for line in stdin().lines() {
        let line = line.unwrap();
        let (row, number) = line.split_once(' ').unwrap();
        let (row, number) = (row.parse().unwrap(), number.parse().unwrap());
        if number % 2 == 0 {
            write(&manager, row, number);
        } else {
            assert_eq!(plain.execute(SET, [row, number]).unwrap(), 1);
        }
        let mut out = stdout().lock();
        writeln!(out, "\ncommitted {row} {number}").and_then(|()| out.flush()).unwrap();
    }
}

/// Numbers under names, of which each is a row.
struct OverFake {
    manager: ConnectionManager<Fake>,
    fake: Fake,
    hits: Hits,
}

impl OverFake {
    fn new(cache: impl Cache + 'static) -> Self {
        let (fake, hits) = (Fake::new(), Hits::default());
        let database = Database::new("main", fake.clone()).pool(PoolConfig::untended());
        let builder = ConnectionManager::<Fake>::builder_for().database(database);
        let manager = builder.cache(cache).observer(hits.clone()).build().unwrap();
        Self { manager, fake, hits }
    }
}

impl Subject for OverFake {
    fn questions(&self) -> Vec<Question> {
        (0..WRITERS as u64 * ROWS).map(|row| Question { sql: format!("get {row}"), parameters: Vec::new() }).collect()
    }

    fn truth(&self) -> Box<dyn Fn(&Question) -> Numbers + '_> {
        Box::new(|question| vec![self.fake.committed(question.sql.trim_start_matches("get ")).unwrap_or(0)])
    }

    fn ask(&self, Question { sql, parameters }: &Question) -> Numbers {
        numbers(values(&ask(&self.manager, sql, parameters).unwrap()))
    }

    fn write(&self, _: usize, row: i64, number: i64) {
        let name = row.to_string();
        if number % 2 == 0 {
            self.manager.execute(&format!("set {name}")).bind(number).wait().unwrap();
            return;
        }
        let unit = self.manager.unit_of_work(|uow| {
            let undone = uow.nested(|uow| {
                uow.tx().set(&name, -number)?;
                Err::<(), _>(Failure::msg("no"))
            });
            assert!(undone.is_err());
            Ok(uow.tx().set(&name, number)?)
        });
        unit.wait().unwrap();
    }

    fn hits(&self) -> u64 {
        self.hits.count()
    }

    fn check_itself(&self, share: &str) {
        self.manager.apply("cache_self_check", share).unwrap();
    }

    fn rereads(&self) -> CacheRereads {
        self.manager.status().cache_rereads
    }
}

fn quick() -> Quick {
    Quick::new(&QuickConfig::default()).unwrap()
}

#[test]
fn nothing_older_is_served_while_threads_write() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rows.db");
    prove(&OverSqlite::new(Some(&file), quick()), WRITERS);
}

#[test]
fn nothing_older_is_served_while_threads_and_another_process_write() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rows.db");
    prove(&OverSqlite::new(Some(&file), quick()).beside_another_process(), WRITERS + 1);
}

#[test]
fn nothing_older_is_served_from_memory_while_threads_write() {
    prove(&OverSqlite::new(None, quick()), WRITERS);
}

#[test]
fn nothing_older_is_served_of_the_fake_while_threads_write() {
    prove(&OverFake::new(quick()), WRITERS);
}

#[test]
fn a_cache_that_serves_old_rows_is_found_out() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rows.db");
    let found = [
        judge(&OverSqlite::new(Some(&file), OldRows::default()), WRITERS).0,
        judge(&OverSqlite::new(None, OldRows::default()), WRITERS).0,
        judge(&OverFake::new(OldRows::default()), WRITERS).0,
    ];
    for wrong in found {
        assert!(wrong.is_some_and(|wrong| wrong.contains("was answered with")), "nobody has noticed");
    }
}
