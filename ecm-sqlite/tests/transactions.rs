//! What became of a transaction is what the database says, whatever happened inside it.

mod support;

use ecm_core::{
    Changes, CheckIn, Commit, Connection, Durability, FaultKind, Kind, Limit, Loan, Member, Time, Transact, ValueRef,
};
use ecm_sqlite::{SqliteConfig, SqliteConnection, Synchronous};
use std::{mem, time::Duration};
use support::{Place, begin, done, prepared, seen, told, write};

fn insert(writer: &mut SqliteConnection, id: i64) {
    writer.tx().execute("insert into t values (?1, ?1)", [id]).unwrap();
}

/// One member of a batch, with what it does.
fn member<R>(writer: &mut SqliteConnection, work: impl FnOnce(&mut SqliteConnection) -> R) -> R {
    writer.enter().unwrap();
    work(writer)
}

fn fault(member_or_commit: Result<ecm_core::Failure, String>) -> FaultKind {
    seen(member_or_commit.unwrap()).fault().expect("a fault of the database").kind
}

fn rolled_back(commit: Commit) -> Result<ecm_core::Failure, String> {
    match commit {
        Commit::RolledBack(failure) => Ok(failure),
        other => Err(format!("{other:?}")),
    }
}

fn refused(member: Member) -> Result<ecm_core::Failure, String> {
    match member {
        Member::Refused(failure) => Ok(failure),
        other => Err(format!("{other:?}")),
    }
}

#[test]
fn every_commit_has_a_position_of_its_own_across_connections() {
    let place = Place::new();
    let mut positions = Vec::new();
    for id in 1..=3 {
        let mut writer = place.writer();
        begin(&mut writer);
        insert(&mut writer, id);
        positions.push(done(writer.commit()));
        assert_eq!(writer.check_in(), CheckIn::Clean);
    }
    assert!(positions.is_sorted_by(|earlier, later| earlier < later), "{positions:?}");
    assert_eq!(place.rows(), [1, 2, 3]);
}

#[test]
fn a_commit_after_its_deadline_is_done_and_says_so() {
    let place = Place::new();
    let mut writer = place.writer();
    for id in 1..=50 {
        begin(&mut writer);
        insert(&mut writer, id);
        writer.limit(Limit::Until(Time::START));
        done(writer.commit());
        assert_eq!(writer.check_in(), CheckIn::Clean);
    }
    assert_eq!(place.rows().len(), 50);
}

#[test]
fn a_closure_that_ignores_a_lost_transaction_commits_nothing_of_its_second_half() {
    let place = Place::new();
    let mut writer = place.writer();
    write(&mut writer, |tx| tx.execute("insert into t values (1, 1)", []).unwrap());
    begin(&mut writer);
    insert(&mut writer, 2);
    let prepared = prepared(&mut writer, "insert into t values (3, 3)");
    let tx = writer.tx();
    let mut ready = tx.prepare("insert into t values (4, 4)").unwrap();
    tx.execute("insert or rollback into t values (1, 1)", []).unwrap_err();
    for error in [
        ready.execute([]).unwrap_err(),
        tx.execute("insert into t values (5, 5)", []).unwrap_err(),
        tx.execute_batch("insert into t values (6, 6)").unwrap_err(),
        tx.blob_open("t", "v", 1).map(drop).unwrap_err(),
    ] {
        assert!(error.to_string().contains("the transaction is gone"), "{error}");
    }
    drop(ready);
    assert!(writer.execute(&prepared, &[]).is_err());
    assert_eq!(fault(rolled_back(writer.commit())), FaultKind::Conflict);
    assert_eq!(writer.check_in(), CheckIn::Clean);
    assert_eq!(place.rows(), [1]);
}

#[test]
fn a_violation_that_only_the_commit_finds_is_rolled_back_and_the_writer_goes_on() {
    let place = Place::new();
    let mut writer = place.writer();
    let child = "create table child(parent references t deferrable initially deferred)";
    write(&mut writer, |tx| tx.execute_batch(child).unwrap());
    begin(&mut writer);
    insert(&mut writer, 1);
    writer.tx().execute("insert into child values (99)", []).unwrap();
    assert_eq!(fault(rolled_back(writer.commit())), FaultKind::Constraint);
    assert_eq!(writer.check_in(), CheckIn::Clean);
    assert!(place.rows().is_empty());
    write(&mut writer, |tx| tx.execute("insert into t values (2, 2)", []).unwrap());
    assert_eq!(place.rows(), [2]);
}

#[test]
fn a_member_that_fails_takes_nothing_of_the_others_with_it() {
    let place = Place::new();
    let mut writer = place.writer();
    let child = "create table child(parent references t deferrable initially deferred)";
    write(&mut writer, |tx| tx.execute_batch(child).unwrap());
    begin(&mut writer);
    member(&mut writer, |writer| insert(writer, 1));
    assert!(matches!(writer.leave(true), Member::Kept));
    member(&mut writer, |writer| insert(writer, 2));
    assert!(matches!(writer.leave(false), Member::Undone));
    member(&mut writer, |writer| {
        insert(writer, 3);
        writer.tx().execute("insert into child values (99)", []).unwrap();
    });
    assert_eq!(fault(refused(writer.leave(true))), FaultKind::Constraint, "in the member that made it");
    member(&mut writer, |writer| {
        assert_eq!(writer.tx().last_insert_rowid(), 0, "nothing of another member's is told");
        insert(writer, 4);
        assert_eq!(writer.tx().last_insert_rowid(), 4);
    });
    assert!(matches!(writer.leave(true), Member::Kept));
    done(writer.commit());
    assert_eq!(writer.check_in(), CheckIn::Clean);
    assert_eq!(place.rows(), [1, 4]);
}

#[test]
fn a_member_that_ends_the_transaction_is_found_out_and_nothing_is_committed() {
    let place = Place::new();
    let mut writer = place.writer();
    write(&mut writer, |tx| tx.execute("insert into t values (9, 9)", []).unwrap());
    for keep in [true, false] {
        begin(&mut writer);
        member(&mut writer, |writer| insert(writer, 1));
        assert!(matches!(writer.leave(true), Member::Kept));
        member(&mut writer, |writer| {
            writer.tx().execute("insert or rollback into t values (9, 9)", []).unwrap_err();
        });
        assert!(matches!(writer.leave(keep), Member::BatchLost));
        assert!(writer.enter().is_err());
        assert!(matches!(writer.commit(), Commit::RolledBack(_)));
        assert_eq!(writer.check_in(), CheckIn::Clean);
    }
    assert_eq!(place.rows(), [9]);
}

#[test]
fn a_member_that_forgets_a_statement_which_still_writes_spoils_only_itself() {
    let place = Place::new();
    let mut writer = place.writer();
    begin(&mut writer);
    member(&mut writer, |writer| insert(writer, 1));
    assert!(matches!(writer.leave(true), Member::Kept));
    member(&mut writer, |writer| {
        let mut statement = writer.tx().prepare("insert into t values (2, 2), (3, 3) returning id").unwrap();
        let mut rows = statement.query([]).unwrap();
        assert!(rows.next().unwrap().is_some());
        mem::forget(rows);
        mem::forget(statement);
    });
    let left = writer.leave(true);
    assert!(!matches!(left, Member::BatchLost), "{left:?}");
    done(writer.commit());
    assert_eq!(writer.check_in(), CheckIn::Discard);
    let rows = place.rows();
    assert!(rows.contains(&1), "{rows:?}");
}

#[test]
fn a_synced_commit_syncs_and_the_next_one_is_as_configured() {
    let place = Place::new();
    let mut writer = place.writer();
    let level = |writer: &mut SqliteConnection| -> i64 {
        writer.tx().query_row("pragma synchronous", [], |row| row.get(0)).unwrap()
    };
    for undo in [false, true] {
        writer.check_out(Loan::Write).unwrap();
        writer.begin(Durability::Synced).unwrap();
        assert_eq!(level(&mut writer), 2);
        if undo {
            writer.roll_back().unwrap();
        } else {
            done(writer.commit());
        }
        assert_eq!(writer.check_in(), CheckIn::Clean);
        begin(&mut writer);
        assert_eq!(level(&mut writer), 1);
        done(writer.commit());
        assert_eq!(writer.check_in(), CheckIn::Clean);
    }
    let strict = Place::with(SqliteConfig { synchronous: Synchronous::Extra, ..SqliteConfig::default() });
    let mut writer = strict.writer();
    writer.check_out(Loan::Write).unwrap();
    writer.begin(Durability::Synced).unwrap();
    assert_eq!(level(&mut writer), 3, "never less than configured");
    done(writer.commit());
}

#[test]
fn a_borrower_who_leaves_a_synced_transaction_open_leaves_no_setting_behind() {
    let place = Place::new();
    let mut writer = place.writer();
    writer.check_out(Loan::Write).unwrap();
    writer.begin(Durability::Synced).unwrap();
    insert(&mut writer, 1);
    assert_eq!(writer.check_in(), CheckIn::Reset);
    writer.reset().unwrap();
    let level = |tx: &ecm_sqlite::Tx| tx.query_row("pragma synchronous", [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(write(&mut writer, level), 1);
    assert!(place.rows().is_empty());
}

#[test]
fn beginning_waits_for_another_program_as_long_as_configured_and_then_nothing_has_begun() {
    let place = Place::new();
    let mut writer = place.writer();
    let stranger = place.stranger();
    stranger.execute_batch("begin immediate").unwrap();
    writer.check_out(Loan::Write).unwrap();
    let error = seen(writer.begin(Durability::Synced).unwrap_err());
    assert_eq!(error.fault().map(|fault| fault.kind), Some(FaultKind::Busy));
    let text = error.to_string();
    assert!(text.contains("another process") && text.contains("the busy_timeout of 20ms"), "{text}");
    assert!(!writer.stopped(), "no limit was hit");
    assert!(writer.tx().execute("insert into t values (1, 1)", []).is_err(), "nothing runs outside a transaction");
    assert_eq!(writer.check_in(), CheckIn::Clean);
    stranger.execute_batch("rollback").unwrap();
    write(&mut writer, |tx| tx.execute("insert into t values (2, 2)", []).unwrap());
    assert_eq!(place.rows(), [2]);
}

#[test]
fn beginning_ends_with_the_limit_of_the_loan_where_that_comes_first() {
    let place = Place::with(SqliteConfig { busy_timeout: Duration::from_secs(3600), ..SqliteConfig::default() });
    let mut writer = place.writer();
    let stranger = place.stranger();
    stranger.execute_batch("begin immediate").unwrap();
    writer.check_out(Loan::Write).unwrap();
    writer.limit(Limit::Until(Time::START));
    let text = seen(writer.begin(Durability::Configured).unwrap_err()).to_string();
    assert!(text.contains("another process") && text.contains("before the deadline"), "{text}");
    assert!(writer.stopped());
    assert_eq!(writer.check_in(), CheckIn::Clean);
    stranger.execute_batch("commit").unwrap();
    write(&mut writer, |tx| tx.execute("insert into t values (1, 1)", []).unwrap());
}

#[test]
fn a_transaction_is_begun_once_and_undoing_none_is_harmless() {
    let place = Place::new();
    let mut writer = place.writer();
    writer.roll_back().unwrap();
    assert!(matches!(writer.commit(), Commit::RolledBack(_)));
    begin(&mut writer);
    insert(&mut writer, 1);
    let (kind, message) = told(writer.begin(Durability::Configured).unwrap_err());
    assert_eq!(kind, Kind::Misuse);
    assert!(message.contains("open already"), "{message}");
    done(writer.commit());
    writer.roll_back().unwrap();
    assert_eq!(writer.check_in(), CheckIn::Clean);
    assert_eq!(place.rows(), [1], "what is committed is not undone");
}

#[test]
fn a_deadline_inside_the_transaction_undoes_all_of_it() {
    let place = Place::new();
    let mut writer = place.writer();
    begin(&mut writer);
    insert(&mut writer, 1);
    writer.limit(Limit::Steps(0));
    let many = "insert into t with recursive n(i) as (values (2) union all select i + 1 from n) select i, i from n";
    assert!(writer.tx().execute(many, []).is_err());
    assert!(writer.stopped());
    // SQLite has rolled back by itself: what runs now would commit on its own.
    assert!(writer.tx().execute("insert into t values (7, 7)", []).is_err());
    writer.roll_back().unwrap();
    assert_eq!(writer.check_in(), CheckIn::Clean);
    assert!(place.rows().is_empty());
}

#[test]
fn what_a_statement_changed_is_told_without_what_the_one_before_it_changed() {
    let place = Place::new();
    let mut writer = place.writer();
    let trigger =
        "create table log(id); create trigger tr after delete on t begin insert into log values (old.id); end";
    write(&mut writer, |tx| tx.execute_batch(trigger).unwrap());
    begin(&mut writer);
    let mut run = |sql: &str, parameters: &[ValueRef<'_>]| {
        let statement = prepared(&mut writer, sql);
        writer.execute(&statement, parameters).unwrap()
    };
    let two = [ValueRef::Integer(5), ValueRef::Integer(6)];
    assert_eq!(run("insert into t values (?1, 0), (?2, 0)", &two), Changes { rows: 2, last_insert_rowid: Some(6) });
    assert_eq!(run("create table other(a)", &[]), Changes::default());
    assert_eq!(run("update t set v = 1 where id = 99", &[]), Changes::default());
    assert_eq!(run("update t set v = 1", &[]), Changes { rows: 2, last_insert_rowid: None });
    assert_eq!(run("delete from t where id = 5", &[]).rows, 1, "not what the trigger changed");
    assert_eq!(run("insert into t values (7, 0) returning id", &[]).last_insert_rowid, Some(7));
    done(writer.commit());
    assert_eq!(writer.check_in(), CheckIn::Clean);
    assert_eq!(place.rows(), [6, 7]);
}

#[test]
fn a_statement_of_the_managers_writes_only_inside_a_transaction() {
    let place = Place::new();
    let mut writer = place.writer();
    let statement = prepared(&mut writer, "insert into t values (1, 1)");
    writer.check_out(Loan::Statement).unwrap();
    let (kind, message) = told(writer.execute(&statement, &[]).unwrap_err());
    assert!(kind == Kind::Misuse && message.contains("no transaction"), "{message}");
    let (kind, message) = told(writer.execute(&statement, &[ValueRef::Null]).unwrap_err());
    assert!(kind == Kind::Decode && message.contains("takes 0 parameters, and 1"), "{message}");
    assert_eq!(writer.check_in(), CheckIn::Clean);
    assert!(place.rows().is_empty());
}
