use super::script::Script;
use crate::problem::Problem;
use ecm::sqlite::rusqlite::{Connection, ErrorCode, OpenFlags};
use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

/// The user's file, as it was found: open for reading only.
#[derive(Debug)]
pub(super) struct Target {
    /// As the user wrote it.
    pub(super) name: String,
    /// Absolute, so that no name is mistaken for a URI or an option of SQLite.
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    /// As SQLite spells it: `delete`, `wal`, ...
    pub(super) journal_mode: String,
    connection: Connection,
}

impl Target {
    /// Opens the file for reading, and looks whether it is a database.
    pub(super) fn open(path: &Path) -> Result<Self, Problem> {
        const EXPECTED: &str = "expected the path of a SQLite database";
        let name = path.display().to_string();
        let metadata = fs::metadata(path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Problem::input(format_args!("{name}: there is no such file: {EXPECTED}")),
            _ => Problem::input(format_args!("{name}: cannot be looked at ({error}): {EXPECTED}")),
        })?;
        if metadata.is_dir() {
            return Err(Problem::input(format_args!("{name} is a directory: {EXPECTED}")));
        }
        if !metadata.is_file() {
            return Err(Problem::input(format_args!("{name} is no ordinary file: {EXPECTED}")));
        }
        if metadata.len() == 0 {
            return Err(Problem::input(format_args!(
                "{name} is empty (0 bytes), it has no table: {EXPECTED} with tables"
            )));
        }
        let absolute = fs::canonicalize(path)
            .map_err(|error| Problem::input(format_args!("{name}: cannot be found ({error}): {EXPECTED}")))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = Connection::open_with_flags(&absolute, flags).and_then(|connection| {
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))?;
            let journal_mode = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
            Ok((connection, journal_mode))
        });
        let (connection, journal_mode) = opened.map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Problem::input(format_args!(
                "{name} is no SQLite database, or its header is damaged (SQLite says: {error}): {EXPECTED}"
            )),
            Some(ErrorCode::DatabaseCorrupt) => {
                Problem::input(format_args!("{name} is damaged (SQLite says: {error}): {EXPECTED} that is whole"))
            }
            Some(ErrorCode::ReadOnly) => Problem::input(format_args!(
                "{name} is in WAL mode, and to read such a file SQLite has to write beside it (SQLite says: {error}): \
                 expected a folder that may be written"
            )),
            _ => Problem::input(format_args!(
                "{name} cannot be read (SQLite says: {error}): {EXPECTED} that may be read"
            )),
        })?;
        Ok(Self { name, path: absolute, bytes: metadata.len(), journal_mode, connection })
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Lets SQLite judge every statement of a script; refused are wrong ones, and those that write
    /// unless that is allowed. Nothing is run.
    pub(super) fn check(&self, script: &Script, allow_writes: bool) -> Result<(), Problem> {
        for statement in script.statements() {
            let at = format!("{}:{}", script.name, statement.line);
            let prepared = self.connection.prepare(&statement.sql);
            let prepared = prepared.map_err(|error| {
                // SQLite would quote the statement as it is run; the user wrote it with names.
                let message = said(&error);
                Problem::input(format_args!(
                    "{at}: SQLite refuses the statement: {message}: {}",
                    cut(&statement.text, 80)
                ))
            })?;
            if !prepared.readonly() && !allow_writes {
                return Err(Problem::input(format_args!(
                    "{at}: the statement writes, and {} is only read: give --allow-writes to change it: {}",
                    self.name,
                    cut(&statement.text, 80)
                )));
            }
        }
        Ok(())
    }
}

/// What SQLite says of an error, without the statement.
fn said(error: &ecm::sqlite::rusqlite::Error) -> String {
    use ecm::sqlite::rusqlite::Error;
    match error {
        Error::SqlInputError { msg, .. } => msg.clone(),
        Error::SqliteFailure(_, Some(message)) => message.clone(),
        other => other.to_string(),
    }
}

/// The beginning of a text, on one line.
pub(super) fn cut(text: &str, longest: usize) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.chars().count() <= longest {
        return text;
    }
    text.chars().take(longest.saturating_sub(2)).chain("..".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_statement_is_cut_between_characters() {
        assert_eq!(cut("SELECT\n  'ééé' ,  1", 40), "SELECT 'ééé' , 1");
        assert_eq!(cut("ééééé", 4), "éé..");
    }
}
