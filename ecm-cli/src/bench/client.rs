use super::script::Statement;
use ecm::{
    ConnectionManager,
    sqlite::rusqlite::{self, Connection, params_from_iter, types::Value},
};
use std::hint::black_box;

/// A way to run a statement: what a client thread holds of a system.
pub(super) trait Client: Send {
    /// Runs it to its end, and reads every column of every row into values of its own.
    fn run(&mut self, statement: &Statement, values: &[i64]) -> Result<(), Failed>;
}

/// A statement that failed while running.
#[derive(Clone, Debug)]
pub(super) struct Failed {
    /// What errors are counted by.
    pub(super) kind: String,
    pub(super) message: String,
    /// Whether the statement, and not the moment, is to blame: it would fail again.
    pub(super) of_statement: bool,
}

/// Calls a manager that all clients share.
#[derive(Debug)]
pub(super) struct EcmClient(pub(super) ConnectionManager);

impl Client for EcmClient {
    fn run(&mut self, statement: &Statement, values: &[i64]) -> Result<(), Failed> {
        let rows = self.0.query(&statement.sql).bind_all(values.iter().copied()).wait()?;
        black_box(rows);
        Ok(())
    }
}

impl From<ecm::Error> for Failed {
    fn from(error: ecm::Error) -> Self {
        use ecm::{Kind, core::FaultKind};
        let of_statement = match error.kind() {
            Kind::Fault(fault) => matches!(fault.kind, FaultKind::Statement | FaultKind::Denied),
            kind => matches!(kind, Kind::Misuse | Kind::Decode | Kind::ReadOnly),
        };
        Self { kind: format!("{:?}", error.kind()), message: error.to_string(), of_statement }
    }
}

/// A connection of its own, used as rusqlite's documentation shows.
#[derive(Debug)]
pub(super) struct RusqliteClient(pub(super) Connection);

impl Client for RusqliteClient {
    fn run(&mut self, statement: &Statement, values: &[i64]) -> Result<(), Failed> {
        let mut prepared = self.0.prepare_cached(&statement.sql)?;
        let columns = prepared.column_count();
        let mut rows = prepared.query(params_from_iter(values))?;
        let mut read: Vec<Value> = Vec::new();
        while let Some(row) = rows.next()? {
            for column in 0..columns {
                read.push(row.get(column)?);
            }
        }
        black_box(read);
        Ok(())
    }
}

impl From<rusqlite::Error> for Failed {
    fn from(error: rusqlite::Error) -> Self {
        let kind = error.sqlite_error_code().map_or_else(|| "rusqlite".into(), |code| format!("{code:?}"));
        Self { kind, message: error.to_string(), of_statement: false }
    }
}
