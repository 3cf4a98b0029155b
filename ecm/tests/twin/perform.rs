//! Carries a step out: on the manager that is judged, and in the same way on plain SQLite.

use crate::{
    plain,
    schema::Schema,
    step::{Action, By, Sql, Step, Transaction},
};
use ecm::{
    ConnectionManager, Error, Failure, UnitOfWork,
    sqlite::{
        Tx,
        rusqlite::{self, Connection, MAIN_DB, blob::Blob, params_from_iter},
    },
};
use std::io::Write as _;

/// Called within a transaction that wants it.
type Midway<'a> = &'a dyn Fn();

/// On the manager; a step that is somebody else's by `other`.
pub(crate) fn on_manager(
    manager: &ConnectionManager,
    other: Option<&Connection>,
    schema: &Schema,
    step: &Step,
    midway: Midway<'_>,
) -> Result<(), Error> {
    match step {
        Step::Execute(write) => {
            let Sql { text, parameters } = write.sql(schema);
            manager.execute(&text).bind_all(parameters).wait().map(drop)
        }
        Step::Returning(write) => {
            let Sql { text, parameters } = write.sql(schema);
            manager.query(&format!("{text} RETURNING id")).bind_all(parameters).wait().map(drop)
        }
        Step::Batch(writes) => {
            let statements: Vec<Sql> = writes.iter().map(|write| write.sql(schema)).collect();
            let (first, rest) = statements.split_first().expect("a batch is not empty");
            let mut batch = manager.execute(&first.text).bind_all(first.parameters.clone()).then(&rest[0].text);
            for (number, Sql { text, parameters }) in rest.iter().enumerate() {
                if number > 0 {
                    batch = batch.then(text);
                }
                batch = batch.bind_all(parameters.clone());
            }
            batch.wait().map(drop)
        }
        Step::Closure(transaction) => {
            manager.write(|tx| ended(transaction, in_closure(tx, schema, transaction, false), midway)).wait()
        }
        Step::Raw(transaction) => {
            manager.write(|tx| ended(transaction, in_closure(tx, schema, transaction, true), midway)).wait()
        }
        Step::Unit(transaction) => {
            let Transaction { actions, careful, .. } = transaction;
            manager.unit_of_work(|uow| ended(transaction, in_unit(uow, schema, actions, *careful), midway)).wait()
        }
        Step::Borrowed { actions, transaction } => {
            let mut connection = manager.connection().wait()?;
            let _their_own_errors = alone(connection.raw(), schema, actions, *transaction);
            Ok(())
        }
        Step::Elsewhere { actions, transaction } => {
            let _their_own_errors = alone(other.expect("somebody else writes"), schema, actions, *transaction);
            Ok(())
        }
        Step::Ddl(ddl, By::Closure) => manager.write(|tx| Ok(tx.execute_batch(&ddl.sql(schema))?)).wait(),
        Step::Ddl(ddl, By::Borrower) => {
            let mut connection = manager.connection().wait()?;
            let _their_own_error = connection.raw().execute_batch(&ddl.sql(schema));
            Ok(())
        }
        Step::Ddl(ddl, By::SomebodyElse) => {
            let other = other.expect("somebody else writes");
            // SQLite prepares by the schema that the connection has read last, and some changes fail by it.
            let _refreshed = other.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()));
            let _their_own_error = other.execute_batch(&ddl.sql(schema));
            Ok(())
        }
        Step::Vacuum => {
            let mut connection = manager.connection().wait()?;
            let _their_own_error = connection.raw().execute_batch("VACUUM");
            Ok(())
        }
    }
}

/// On plain SQLite. Whether it failed is told only where the manager tells it.
pub(crate) fn on_twin(twin: &Connection, schema: &Schema, step: &Step) -> rusqlite::Result<()> {
    match step {
        // Nothing is left of one that fails: `OR FAIL` keeps rows only within a larger transaction.
        Step::Execute(write) => transaction(twin, false, || execute(twin, &write.sql(schema))),
        Step::Returning(write) => {
            let Sql { text, parameters } = write.sql(schema);
            transaction(twin, false, || plain::query(twin, &format!("{text} RETURNING id"), &parameters).map(drop))
        }
        Step::Batch(writes) => {
            let actions: Vec<Action> = writes.iter().cloned().map(Action::Write).collect();
            transaction(twin, false, || plainly(twin, schema, &actions, true))
        }
        Step::Closure(work) | Step::Raw(work) | Step::Unit(work) => {
            transaction(twin, work.undone, || plainly(twin, schema, &work.actions, work.careful))
        }
        Step::Borrowed { actions, transaction } | Step::Elsewhere { actions, transaction } => {
            let _their_own_errors = alone(twin, schema, actions, *transaction);
            Ok(())
        }
        Step::Ddl(ddl, By::Closure) => transaction(twin, false, || twin.execute_batch(&ddl.sql(schema))),
        Step::Ddl(ddl, _) => {
            let _their_own_error = twin.execute_batch(&ddl.sql(schema));
            Ok(())
        }
        Step::Vacuum => twin.execute_batch("VACUUM"),
    }
}

/// The end of a closure, after its work.
fn ended<T>(transaction: &Transaction, worked: Result<T, Failure>, midway: Midway<'_>) -> Result<(), Failure> {
    if transaction.midway {
        midway();
    }
    worked?;
    if transaction.undone { Err(Failure::msg("undone")) } else { Ok(()) }
}

fn in_closure(tx: &Tx, schema: &Schema, transaction: &Transaction, raw: bool) -> Result<(), Failure> {
    for action in &transaction.actions {
        let done = match action {
            Action::Write(write) if raw => execute(tx.raw(), &write.sql(schema)),
            Action::Write(write) => by_tx(tx, &write.sql(schema)),
            Action::Blob { table, id, byte } if raw => blob(tx.raw(), schema.number(*table), *id, *byte),
            Action::Blob { table, id, byte } => in_blob(tx, schema.number(*table), *id, *byte),
            Action::Part { .. } => unreachable!("only units have parts"),
        };
        if transaction.careful {
            done?;
        }
    }
    Ok(())
}

fn in_unit(uow: UnitOfWork<'_>, schema: &Schema, actions: &[Action], careful: bool) -> Result<(), Failure> {
    for action in actions {
        let done = match action {
            Action::Write(write) => by_tx(uow.tx(), &write.sql(schema)).map_err(Failure::from),
            Action::Blob { table, id, byte } => {
                in_blob(uow.tx(), schema.number(*table), *id, *byte).map_err(Failure::from)
            }
            Action::Part { actions, undone } => {
                let part = uow.nested(|uow| {
                    in_unit(uow, schema, actions, careful)?;
                    if *undone { Err(Failure::msg("undone")) } else { Ok(()) }
                });
                if *undone { Ok(()) } else { part }
            }
        };
        if careful {
            done?;
        }
    }
    Ok(())
}

fn by_tx(tx: &Tx, Sql { text, parameters }: &Sql) -> rusqlite::Result<()> {
    tx.execute(text, params_from_iter(parameters.iter().map(plain::theirs))).map(drop)
}

fn in_blob(tx: &Tx, table: usize, id: i64, byte: u8) -> rusqlite::Result<()> {
    write_byte(tx.blob_open(&format!("t{table}"), "b", id)?, byte)
}

fn execute(connection: &Connection, Sql { text, parameters }: &Sql) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(text)?;
    statement.execute(params_from_iter(parameters.iter().map(plain::theirs))).map(drop)
}

fn blob(connection: &Connection, table: usize, id: i64, byte: u8) -> rusqlite::Result<()> {
    write_byte(connection.blob_open(MAIN_DB, format!("t{table}").as_str(), "b", id, false)?, byte)
}

fn write_byte(mut blob: Blob<'_>, byte: u8) -> rusqlite::Result<()> {
    // What has no room for it fails here, and elsewhere.
    let _too_small = blob.write(&[byte]);
    blob.close()
}

/// By a connection that belongs to whoever uses it.
fn alone(connection: &Connection, schema: &Schema, actions: &[Action], one: bool) -> rusqlite::Result<()> {
    if one {
        transaction(connection, false, || plainly(connection, schema, actions, false))
    } else {
        plainly(connection, schema, actions, false)
    }
}

fn transaction(
    connection: &Connection,
    undone: bool,
    work: impl FnOnce() -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let worked = work();
    if connection.is_autocommit() {
        return Err(rusqlite::Error::InvalidQuery);
    }
    let done = worked.and_then(|()| if undone { Err(rusqlite::Error::InvalidQuery) } else { Ok(()) });
    let done = done.and_then(|()| connection.execute_batch("COMMIT"));
    if !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK")?;
    }
    done
}

fn plainly(connection: &Connection, schema: &Schema, actions: &[Action], careful: bool) -> rusqlite::Result<()> {
    let within = !connection.is_autocommit();
    for action in actions {
        let done = match action {
            Action::Write(write) => execute(connection, &write.sql(schema)),
            Action::Blob { table, id, byte } => blob(connection, schema.number(*table), *id, *byte),
            Action::Part { actions, undone } => {
                connection.execute_batch("SAVEPOINT part")?;
                let worked = plainly(connection, schema, actions, careful);
                let keep = worked.is_ok() && !undone;
                let end = if keep { "RELEASE part" } else { "ROLLBACK TO part; RELEASE part" };
                if !connection.is_autocommit() {
                    connection.execute_batch(end)?;
                }
                if *undone { Ok(()) } else { worked }
            }
        };
        if within && connection.is_autocommit() {
            return Err(rusqlite::Error::InvalidQuery);
        }
        if careful {
            done?;
        }
    }
    Ok(())
}
