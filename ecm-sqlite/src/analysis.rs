use crate::{
    fault::refused,
    guard::{Guard, Mode},
    recording::Recording,
    row_keys::row_keys,
};
use ecm_core::{Analysis, Columns, Failure, Kind};
use rusqlite::{Connection, OptionalExtension, PrepFlags};
use std::{collections::HashSet, sync::Arc};

/// Functions that SQLite calls deterministic, or does not, and whose answer changes from one moment
/// or one connection to the next all the same: the date functions know `'now'`.
const CHANGING: [&str; 18] = [
    "changes",
    "current_date",
    "current_time",
    "current_timestamp",
    "date",
    "datetime",
    "julianday",
    "last_insert_rowid",
    "load_extension",
    "random",
    "randomblob",
    "sqlite_log",
    "sqlite_offset",
    "strftime",
    "time",
    "timediff",
    "total_changes",
    "unixepoch",
];

/// The functions of a connection whose answer depends on their arguments alone.
#[derive(Debug)]
pub(crate) struct Functions(HashSet<Box<str>>);

impl Functions {
    /// Asks SQLite, which marks them, and leaves away what is not constant for all that. It does not
    /// mark what it has itself for many rows (`count`, `sum`, `row_number`), of which none is changing.
    pub(crate) fn of(connection: &Connection, guard: &Guard) -> rusqlite::Result<Self> {
        const DETERMINISTIC: i64 = 0x800;
        let _entered = guard.enter(Mode::End);
        let mut statement = connection
            .prepare("select lower(name), flags, builtin and type in ('a', 'w') from pragma_function_list")?;
        let mut rows = statement.query([])?;
        let (mut constant, mut changing) = (HashSet::new(), HashSet::<String>::new());
        while let Some(row) = rows.next()? {
            let name: String = row.get(0)?;
            let marked = row.get::<_, i64>(1)? & DETERMINISTIC != 0 || row.get(2)?;
            if marked && !CHANGING.contains(&&*name) {
                constant.insert(name.into_boxed_str());
            } else {
                // One variant of the name that changes spoils the others: the authorizer tells no arity.
                changing.insert(name);
            }
        }
        constant.retain(|name| !changing.contains(&**name));
        Ok(Self(constant))
    }

    fn have(&self, name: &str) -> bool {
        self.0.contains(name)
    }
}

/// What SQLite says about a statement, which is prepared for it as a borrower's would be.
pub(crate) fn analyse(
    connection: &Connection,
    guard: &Guard,
    functions: &Functions,
    sql: &str,
) -> Result<Analysis, Failure> {
    if sql.contains('\0') {
        return Err(refused(
            Kind::Misuse,
            "the SQL holds a NUL character, at which SQLite would end it silently: bind texts instead of writing them \
             into the SQL",
        ));
    }
    refresh_schema(connection, guard)?;
    let _entered = guard.enter(Mode::Lent);
    guard.start_recording();
    let prepared = connection.prepare(sql);
    let seen = guard.stop_recording();
    let statement = prepared.map_err(|error| match error {
        rusqlite::Error::MultipleStatement => refused(
            Kind::Misuse,
            "the SQL holds more than one statement: run them one by one, or together with execute_batch in a closure \
             that writes",
        ),
        error => guard.explain(error).into(),
    })?;
    if statement.column_count() == 0 && statement.expanded_sql().is_none() {
        return Err(refused(Kind::Misuse, "the SQL holds no statement, only white space or comments: give one"));
    }
    let columns = Columns::new(statement.column_names());
    let parameters = statement.parameter_count();
    let explains = statement.is_explain() != 0;
    let read_only = explains || (statement.readonly() && !seen.acts);
    let read = Read::of(connection, guard, &seen)?;
    // Reading a column makes SQLite name the functions of its default too, which is not evaluated: what
    // the text does not name comes from there, or from a view. A generated column has none that change.
    let text = sql.to_ascii_lowercase();
    let names_it = |name: &str| read.views || text.contains(name);
    let changing = seen.functions.iter().find(|name| !functions.have(name) && names_it(name));
    let deterministic = changing.is_none() && !seen.asks_pragma && !read.beyond_tables;
    let uncacheable = if !read_only {
        Some("it does not only read".into())
    } else if explains || columns.is_empty() {
        Some("it answers nothing that is in the database".into())
    } else if let Some(name) = changing {
        Some(format!("it calls {name}(), whose answer may differ from one call to the next"))
    } else if seen.asks_pragma {
        Some("it asks for a setting by a PRAGMA".into())
    } else if seen.leaves_main {
        Some("it reads a temporary or an attached database".into())
    } else if read.system {
        Some("it reads a table of SQLite's own, which changes unnoticed".into())
    // Also refuses the tables that only their module knows, such as json_each.
    } else if read.beyond_tables || connection.prepare_with_flags(sql, PrepFlags::SQLITE_PREPARE_NO_VTAB).is_err() {
        Some("it reads a virtual table, of which it is not known what that depends on".into())
    } else {
        None
    };
    let cacheable = uncacheable.is_none();
    let rows = match &read.tables[..] {
        [table] if cacheable && !read.views => row_keys(connection, guard, &statement, sql, table)?,
        _ => None,
    };
    let writes = if explains { Vec::new() } else { written(connection, guard, &seen)? };
    let names = |names: &mut dyn Iterator<Item = &str>| names.map(Box::from).collect();
    Ok(Analysis {
        read_only,
        columns: Arc::new(columns),
        parameters,
        reads: names(&mut read.tables.iter().map(|name| &**name)),
        read_columns: seen
            .columns
            .iter()
            .filter(|(table, _)| read.tables.contains(table))
            .map(|(table, column)| (Box::from(&**table), Box::from(&**column)))
            .collect(),
        writes: names(&mut writes.iter().map(|name| &**name)),
        deterministic,
        cacheable,
        uncacheable: uncacheable.map(String::into_boxed_str),
        rows,
    })
}

/// Makes the connection notice changes of the schema by others. Preparing alone does not: it believes
/// what was last read, and some statements then fail for an object that exists by now.
fn refresh_schema(connection: &Connection, guard: &Guard) -> rusqlite::Result<()> {
    let _entered = guard.enter(Mode::End);
    connection.prepare_cached("select 1 from sqlite_schema limit 1")?.exists([])?;
    Ok(())
}

/// The names that the authorizer reported as written, without the views whose triggers write in their place.
fn written(connection: &Connection, guard: &Guard, seen: &Recording) -> rusqlite::Result<Vec<String>> {
    let _entered = guard.enter(Mode::End);
    let mut written = Vec::new();
    for name in &seen.writes {
        if kind_of(connection, name)?.as_deref() != Some("view") {
            written.push(name.clone());
        }
    }
    Ok(written)
}

/// What this is in the schema; `None` for what is not in it.
fn kind_of(connection: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    let look_up = "select type from pragma_table_list(?1) where schema = 'main'";
    connection.prepare_cached(look_up)?.query_row([name], |row| row.get(0)).optional()
}

/// The tables among the names that the authorizer reported as read.
struct Read {
    tables: Vec<String>,
    /// Virtual tables and what they keep their content in: it changes under another name.
    beyond_tables: bool,
    /// SQLite's own tables.
    system: bool,
    /// Views, whose text is not that of the statement.
    views: bool,
}

impl Read {
    /// Looks each name up in the schema, since views and common table expressions are reported too.
    fn of(connection: &Connection, guard: &Guard, seen: &Recording) -> rusqlite::Result<Self> {
        let _entered = guard.enter(Mode::End);
        let mut read = Self { tables: Vec::new(), beyond_tables: false, system: false, views: false };
        if seen.reads.is_empty() {
            return Ok(read);
        }
        for name in &seen.reads {
            read.system |= name.starts_with("sqlite_");
            // What they tell is of the connection, not of the rows.
            read.beyond_tables |= name.starts_with("pragma_");
            match kind_of(connection, name)?.as_deref() {
                None => {}
                Some("view") => read.views = true,
                Some("table") => read.tables.push(name.clone()),
                Some(_) => {
                    read.beyond_tables = true;
                    read.tables.push(name.clone());
                }
            }
        }
        Ok(read)
    }
}
