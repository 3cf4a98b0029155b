//! What SQLite says about a statement before it runs.

mod support;

use ecm_core::{Access, Analysis, Backend, Connection, FaultKind, Kind};
use ecm_sqlite::{SqliteConnection, rusqlite::functions::FunctionFlags};
use support::{Place, seen, told};

const SCHEMA: &str = "
    create table note(id integer primary key, body text, made text default current_timestamp);
    create table tag(note references note on delete cascade, word text collate nocase);
    create table keyed(k text primary key, v) without rowid;
    create table made(a, b, g as (a + b));
    create table log(what);
    create table unlike(a unique on conflict replace);
    create table self(id integer primary key, up references self on delete set null);
    create index tags on tag(word);
    create view bodies as select body from note where id > 0;
    create view timed as select current_timestamp as now from note;
    create view deep as select body from bodies;
    create trigger watch after update of body on note begin insert into log select word from tag; end;
    create trigger gone after delete on keyed begin delete from log; end;
    create virtual table words using fts5(body);
    create virtual table boxes using rtree(id, low, high)";

fn place() -> (Place, SqliteConnection) {
    let place = Place::new();
    place.stranger().execute_batch(SCHEMA).unwrap();
    let reader = place.reader();
    (place, reader)
}

fn analysed(connection: &mut SqliteConnection, sql: &str) -> Analysis {
    connection.analyse(sql).unwrap_or_else(|failure| panic!("{sql}: {failure}"))
}

fn names(boxed: &[Box<str>]) -> Vec<&str> {
    boxed.iter().map(|name| &**name).collect()
}

#[test]
fn the_tables_that_are_read_are_named_however_they_are_reached() {
    let (_place, mut reader) = place();
    for (sql, expected) in [
        ("select 1", vec![]),
        ("select body from note", vec!["note"]),
        ("SELECT Body FROM Note", vec!["note"]),
        ("select count(*) from note", vec!["note"]),
        ("select 1 from note, tag", vec!["note", "tag"]),
        ("select body from bodies", vec!["note"]),
        ("select body from deep", vec!["note"]),
        ("with note as (select word from tag) select word from note", vec!["tag"]),
        ("with x as (select word from tag) select word from x", vec!["tag"]),
        ("select (select max(v) from keyed) from note", vec!["keyed", "note"]),
        ("select 1 where exists (select 1 from log)", vec!["log"]),
        ("select 1 where 1 in log", vec!["log"]),
        ("select a.id from note a join note b on a.id = b.id", vec!["note"]),
        ("select id from note union select v from keyed order by 1", vec!["keyed", "note"]),
        ("select id from note order by (select what from log)", vec!["log", "note"]),
        ("select sum(id) filter (where id in (select note from tag)) from note", vec!["note", "tag"]),
        ("select word from tag indexed by tags where word = 'a'", vec!["tag"]),
        (
            "with recursive n(x) as (select id from note union all select x + 1 from n where x < 9) select x from n",
            vec!["note"],
        ),
        ("explain query plan select body from note", vec!["note"]),
    ] {
        let analysis = analysed(&mut reader, sql);
        assert_eq!(names(&analysis.reads), expected, "{sql}");
        assert!(analysis.read_only && analysis.writes.is_empty(), "{sql}: {analysis:?}");
    }
}

#[test]
fn the_columns_that_are_read_come_with_their_tables() {
    let (_place, mut reader) = place();
    let columns = |reader: &mut SqliteConnection, sql: &str| {
        let analysis = analysed(reader, sql);
        let shown: Vec<String> =
            analysis.read_columns.iter().map(|(table, column)| format!("{table}.{column}")).collect();
        shown.join(" ")
    };
    assert_eq!(columns(&mut reader, "select Body from note where ID = ?1"), "note.body note.id");
    assert_eq!(columns(&mut reader, "select rowid from note"), "note. note.id");
    assert_eq!(columns(&mut reader, "select rowid from log"), "log. log.rowid");
    assert_eq!(columns(&mut reader, "select count(*) from note"), "note.");
    assert_eq!(columns(&mut reader, "select * from keyed"), "keyed.k keyed.v");
    assert_eq!(columns(&mut reader, "select word from tag order by note"), "tag.note tag.word");
    assert_eq!(columns(&mut reader, "select body from deep"), "note.body note.id", "through views");
    assert_eq!(columns(&mut reader, "select g from made"), "made.g", "not what it is generated from");
}

#[test]
fn the_tables_that_are_written_include_those_of_triggers_and_foreign_keys() {
    let (place, mut reader) = place();
    let mut writer = place.writer();
    for (sql, expected) in [
        ("insert into note(body) values (?1)", vec!["note"]),
        ("insert into note(body) values (1) returning id", vec!["note"]),
        ("with x as (select 1) insert into log select * from x", vec!["log"]),
        ("-- first\n /* then */ delete from log", vec!["log"]),
        ("delete from log", vec!["log"]),
        ("delete from note where id = 1", vec!["note", "tag"]),
        ("update note set body = 'x'", vec!["log", "note"]),
        ("update note set made = 'x'", vec!["note"]),
        ("delete from keyed", vec!["keyed", "log"]),
        ("replace into note(id) values (1)", vec!["note", "tag"]),
        ("insert or replace into keyed values (1, 2)", vec!["keyed"]),
        ("insert into unlike values (1)", vec!["unlike"]),
        ("insert into note(id) values (1) on conflict do update set body = 'x'", vec!["log", "note"]),
        ("delete from self", vec!["self"]),
        ("insert into words values ('a')", vec!["words"]),
        ("update note set body = 1 where 0", vec!["log", "note"]),
    ] {
        for connection in [&mut reader, &mut writer] {
            let analysis = analysed(connection, sql);
            assert_eq!(names(&analysis.writes), expected, "{sql}");
            assert!(!analysis.read_only && !analysis.cacheable, "{sql}: {analysis:?}");
        }
    }
    assert_eq!(place.stranger().query_row("select count(*) from note", [], |row| row.get::<_, i64>(0)), Ok(0));
}

#[test]
fn what_changes_the_schema_or_the_file_is_not_a_read() {
    let (place, mut reader) = place();
    for sql in [
        "create table if not exists note(id)",
        "drop table note",
        "create index i on note(body)",
        "alter table note add column x",
        "analyze",
        "reindex",
        "vacuum",
        "pragma user_version = 3",
    ] {
        let analysis = analysed(&mut reader, sql);
        assert!(!analysis.read_only && !analysis.cacheable, "{sql}: {analysis:?}");
    }
    assert_eq!(place.stranger().pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0)), Ok(0));
}

#[test]
fn an_answer_may_be_kept_only_if_it_is_made_of_rows_alone() {
    let (_place, mut reader) = place();
    for (sql, deterministic, cacheable) in [
        ("select body from note where id = ?1", true, true),
        ("select upper(body), length(body), coalesce(made, '') from note", true, true),
        ("select count(*), max(id) from note", true, true),
        ("select body from deep", true, true),
        ("select body, row_number() over (order by id) from note", true, true),
        ("select 1", true, true),
        ("select sum(id), group_concat(body), avg(id), total(id) from note group by made", true, true),
        ("select lag(id) over (order by id), rank() over (order by id) from note", true, true),
        ("select json_group_array(body) from note", true, true),
        ("select made from note", true, true),
        ("select now from timed", false, false),
        ("select random() from note", false, false),
        ("select \"RANDOM\"() from note", false, false),
        ("select made, current_timestamp from note", false, false),
        ("select hex(randomblob(4))", false, false),
        ("select * from note order by random()", false, false),
        ("select datetime('now')", false, false),
        ("select date(made) from note", false, false),
        ("select strftime('%s', made) from note", false, false),
        ("select current_timestamp", false, false),
        ("select unixepoch()", false, false),
        ("select changes(), total_changes()", false, false),
        ("select last_insert_rowid()", false, false),
        ("select * from pragma_table_info('note')", false, false),
        ("pragma table_info(note)", false, false),
        ("pragma user_version", false, false),
        ("explain select body from note", true, false),
        ("explain query plan select body from note", true, false),
        ("select name from sqlite_schema", true, false),
        ("select body from words where words match 'a'", false, false),
        ("select low from boxes", false, false),
        ("select value from json_each('[1]')", true, false),
        ("select c0 from words_content", false, false),
    ] {
        let analysis = analysed(&mut reader, sql);
        assert_eq!((analysis.deterministic, analysis.cacheable), (deterministic, cacheable), "{sql}: {analysis:?}");
    }
}

#[test]
fn columns_and_parameters_are_told() {
    let (_place, mut reader) = place();
    let analysis = analysed(&mut reader, "select id, body as text, ?3 from note where id = :id or id = :id");
    let columns: Vec<&str> = analysis.columns.iter().map(|name| &**name).collect();
    assert_eq!(columns, ["id", "text", "?3"]);
    assert_eq!(analysis.parameters, 4);
    let analysis = analysed(&mut reader, "delete from log");
    assert!(analysis.columns.is_empty() && analysis.parameters == 0);
}

#[test]
fn preparing_has_no_effect_of_its_own() {
    let (place, mut reader) = place();
    let mut writer = place.writer();
    for connection in [&mut reader, &mut writer] {
        for sql in [
            "pragma query_only = 0",
            "pragma foreign_keys = 0",
            "pragma recursive_triggers = 1",
            "pragma journal_mode = delete",
            "attach 'other.db' as other",
            "detach main",
            "explain pragma query_only = 0",
            "pragma locking_mode = exclusive",
            "pragma mmap_size = 0",
            "pragma wal_checkpoint(truncate)",
            "pragma incremental_vacuum(1)",
            "create temp table hidden(a)",
            "savepoint s",
            "begin",
            "commit",
        ] {
            let error = seen(connection.analyse(sql).unwrap_err());
            assert_eq!(error.fault().map(|fault| fault.kind), Some(FaultKind::Denied), "{sql}");
        }
    }
    let told = |connection: &mut SqliteConnection, pragma: &str| {
        support::read(connection, |db| {
            db.query_row(&format!("pragma {pragma}"), [], |row| row.get::<_, i64>(0)).unwrap()
        })
    };
    assert_eq!(told(&mut reader, "query_only"), 1);
    assert_eq!(told(&mut writer, "foreign_keys"), 1);
    assert_eq!(told(&mut writer, "recursive_triggers"), 0);
}

#[test]
fn what_is_not_one_statement_is_refused_with_what_to_do() {
    let (_place, mut reader) = place();
    let (kind, message) = told(reader.analyse("select 1; select 2").unwrap_err());
    assert!(kind == Kind::Misuse && message.contains("execute_batch"), "{message}");
    for sql in ["", "  \n", "-- nothing", "/* nothing */ ;"] {
        let (kind, message) = told(reader.analyse(sql).unwrap_err());
        assert!(kind == Kind::Misuse && message.contains("no statement"), "{sql:?}: {message}");
    }
    for sql in ["selec 1", "select x from note", "select 1 from missing", "insert into note values (1)"] {
        let error = seen(reader.analyse(sql).unwrap_err());
        assert_eq!(error.fault().map(|fault| fault.kind), Some(FaultKind::Statement), "{sql}: {error}");
    }
}

#[test]
fn a_change_of_the_schema_by_somebody_else_is_noticed() {
    let (place, mut reader) = place();
    assert!(reader.analyse("select a from later").is_err());
    place.stranger().execute_batch("create table later(a)").unwrap();
    assert_eq!(names(&analysed(&mut reader, "select a from later").reads), ["later"]);
    place.stranger().execute_batch("drop table later; create view later as select body as a from note").unwrap();
    assert_eq!(names(&analysed(&mut reader, "select a from later").reads), ["note"]);
    let mut held = support::held(&place);
    place.stranger().execute_batch("create table last(a)").unwrap();
    held.check_out(ecm_core::Loan::Statement).unwrap();
    assert_eq!(names(&analysed(&mut held, "select a from last").reads), ["last"]);
    assert_eq!(held.check_in(), ecm_core::CheckIn::Clean);
}

#[test]
fn a_database_in_memory_is_judged_alike() {
    let (place, mut reader) = place();
    let database = ecm_sqlite::Sqlite::memory();
    let mut writer = database.connect(Access::Write, &place.clock).unwrap();
    support::write(&mut writer, |tx| tx.execute_batch(SCHEMA).unwrap());
    for sql in ["select body from deep", "update note set body = 1", "select random()", "select count(*) from note"] {
        assert_eq!(analysed(&mut writer, sql), analysed(&mut reader, sql), "{sql}");
    }
}

#[test]
fn the_tables_behind_replaced_rows_chains_of_keys_and_triggers_of_triggers_are_written_too() {
    let place = Place::new();
    place
        .stranger()
        .execute_batch(
            "create table one(id integer primary key, a unique on conflict replace, b unique);
             create table two(id integer primary key, one references one(id) on delete cascade on update cascade);
             create table three(two references two(id) on delete set null, one references one(b) on update set default);
             create table four(a); create table five(a); create table six(a);
             create trigger first after insert on four begin insert into five values (new.a); end;
             create trigger second after insert on five begin update six set a = new.a; end;
             create view face as select id from one;
             create trigger instead instead of delete on face begin delete from four where a = old.id; end;
             create table deep(id integer primary key, up references deep on delete cascade, what);
             create trigger sinks after delete on deep begin insert into four values (old.id); end",
        )
        .unwrap();
    let mut reader = place.reader();
    for (sql, expected) in [
        ("insert into one(a) values (1)", vec!["one", "three", "two"]),
        ("update one set a = 1", vec!["one", "three", "two"]),
        ("insert or replace into one(id) values (1)", vec!["one", "three", "two"]),
        ("update or replace one set b = 1", vec!["one", "three", "two"]),
        ("update one set id = id + 1", vec!["one", "three", "two"]),
        ("delete from two", vec!["three", "two"]),
        ("insert into four values (1)", vec!["five", "four", "six"]),
        ("delete from face where id = 1", vec!["four"]),
        ("delete from deep", vec!["deep", "five", "four", "six"]),
        ("insert into four select id from one returning a", vec!["five", "four", "six"]),
        ("with gone as (select 1 as a) delete from six where a in (select a from gone)", vec!["six"]),
    ] {
        let analysis = analysed(&mut reader, sql);
        assert_eq!(names(&analysis.writes), expected, "{sql}");
        assert!(!analysis.read_only && !analysis.cacheable, "{sql}: {analysis:?}");
    }
}

#[test]
fn what_only_explains_a_write_reads_and_writes_nothing() {
    let (place, mut reader) = place();
    for sql in ["explain delete from note", "explain query plan delete from note where id = 1"] {
        let analysis = analysed(&mut reader, sql);
        assert!(analysis.read_only && analysis.writes.is_empty() && !analysis.cacheable, "{sql}: {analysis:?}");
        let told = support::read(&mut reader, |db| db.query(sql, [], |_| Ok(())).unwrap().len());
        assert!(told > 0, "{sql}");
    }
    assert_eq!(place.stranger().query_row("select count(*) from note", [], |row| row.get::<_, i64>(0)), Ok(0));
}

#[test]
fn a_function_that_the_program_has_made_counts_as_what_it_was_made_as() {
    let place = Place::new();
    for (flags, constant) in
        [(FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC, true), (FunctionFlags::SQLITE_UTF8, false)]
    {
        let mut reader = place.reader();
        reader.raw().create_scalar_function("made", 1, flags, |context| context.get::<i64>(0)).unwrap();
        let analysis = analysed(&mut reader, "select made(id) from t");
        assert_eq!((analysis.deterministic, analysis.cacheable), (constant, constant));
        // One that hides a function of SQLite's is judged by its own flags.
        let mut fresh = place.reader();
        fresh.raw().create_scalar_function("upper", 1, flags, |_| Ok(1)).unwrap();
        assert_eq!(analysed(&mut fresh, "select upper(v) from t").deterministic, constant);
    }
}
