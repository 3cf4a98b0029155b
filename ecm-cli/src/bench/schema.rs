//! Queries derived from the tables of a file, for a run without a script.

use crate::problem::Problem;
use ecm::sqlite::rusqlite::{Connection, Error, OptionalExtension, types::Type};
use std::cmp::Reverse;

/// A table that can be read by a number.
#[derive(Clone, Debug)]
struct Table {
    name: String,
    /// The column that holds the number, quoted: an `INTEGER PRIMARY KEY`, or the rowid.
    key: String,
    /// Whether the table declares that column: then people look its rows up by it.
    declares_key: bool,
    lowest: i64,
    highest: i64,
    columns: Vec<String>,
}

/// Scripts that only read, each with its name: a point lookup, a scan, a count, a join and a search,
/// as far as the tables allow.
pub(super) fn scripts(connection: &Connection, file: &str) -> Result<Vec<(String, String)>, Problem> {
    let unreadable = |error| Problem::input(format_args!("{file}: its tables cannot be read: {error}"));
    let tables = tables(connection).map_err(unreadable)?;
    let Some(table) = tables.first() else {
        let advice = "expected a table with rows, or queries of your own by --script";
        return Err(Problem::input(format_args!("{file}: no table has rows that can be read by number: {advice}")));
    };
    let mut scripts = vec![point_lookup(table), range_scan(table)];
    scripts.extend(indexed_count(connection, table).map_err(unreadable)?);
    scripts.extend(join(connection, &tables).map_err(unreadable)?);
    scripts.extend(prefix_search(connection, &tables).map_err(unreadable)?);
    Ok(scripts)
}

fn point_lookup(table: &Table) -> (String, String) {
    let Table { name, key, .. } = table;
    let sql = format!("SELECT * FROM {} WHERE {key} = :id;", quoted(name));
    (format!("point lookup in {name}"), format!("{}{sql}\n", random_id(table)))
}

fn range_scan(table: &Table) -> (String, String) {
    let Table { name, key, .. } = table;
    let sql = format!("SELECT * FROM {} WHERE {key} >= :id ORDER BY {key} LIMIT 20;", quoted(name));
    (format!("range scan of {name}"), format!("{}{sql}\n", random_id(table)))
}

fn indexed_count(connection: &Connection, table: &Table) -> Result<Option<(String, String)>, Error> {
    let Table { name, key, .. } = table;
    let sql = "SELECT c.name FROM pragma_index_list(?1) i JOIN pragma_index_info(i.name) c \
               WHERE c.seqno = 0 AND c.name IS NOT NULL AND NOT i.partial ORDER BY i.\"unique\", i.seq LIMIT 1";
    let columns = strings(connection, sql, name)?;
    Ok(columns.first().map(|column| {
        let (from, column) = (quoted(name), quoted(column));
        let sql =
            format!("SELECT count(*) FROM {from} WHERE {column} = (SELECT {column} FROM {from} WHERE {key} = :id);");
        (format!("indexed count in {name}"), format!("{}{sql}\n", random_id(table)))
    }))
}

fn join(connection: &Connection, tables: &[Table]) -> Result<Option<(String, String)>, Error> {
    for child in tables {
        let sql = "SELECT f.\"table\", f.\"from\", p.name FROM pragma_foreign_key_list(?1) f \
                   JOIN pragma_table_info(f.\"table\") p ON p.name = coalesce(f.\"to\", p.name) AND (f.\"to\" IS NOT NULL OR p.pk = 1) \
                   WHERE f.\"table\" <> ?1 AND f.seq = 0 ORDER BY f.id DESC LIMIT 1";
        let found = connection.query_row(sql, [&child.name], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
        });
        if let Some((parent, from, to)) = found.optional()? {
            let sql = format!(
                "SELECT c.*, p.* FROM {} c JOIN {} p ON p.{} = c.{}\n  WHERE c.{key} >= :id ORDER BY c.{key} LIMIT 20;",
                quoted(&child.name),
                quoted(&parent),
                quoted(&to),
                quoted(&from),
                key = child.key
            );
            let name = format!("join of {} with {parent}", child.name);
            return Ok(Some((name, format!("{}{sql}\n", random_id(child)))));
        }
    }
    Ok(None)
}

fn prefix_search(connection: &Connection, tables: &[Table]) -> Result<Option<(String, String)>, Error> {
    for table in tables {
        let from = quoted(&table.name);
        for column in &table.columns {
            let column_name = quoted(column);
            let key = &table.key;
            let sample = format!("SELECT {column_name} FROM {from} WHERE {key} = ?1");
            let is_text = connection.query_row(&sample, [table.lowest], |row| {
                let value = row.get_ref(0)?;
                Ok(value.data_type() == Type::Text && value.as_bytes().is_ok_and(|text| text.len() >= 3))
            });
            if is_text? {
                let prefix = format!("(SELECT substr({column_name}, 1, 3) FROM {from} WHERE {key} = :id)");
                let sql = format!(
                    "SELECT {key}, {column_name} FROM {from}\n  WHERE {column_name} LIKE {prefix} || '%' LIMIT 20;"
                );
                let name = format!("prefix search in {}.{column}", table.name);
                return Ok(Some((name, format!("{}{sql}\n", random_id(table)))));
            }
        }
    }
    Ok(None)
}

fn random_id(table: &Table) -> String {
    format!("\\set id random({}, {})\n", table.lowest, table.highest)
}

/// The ordinary tables with rows: those that declare their number first, then by its range.
fn tables(connection: &Connection) -> Result<Vec<Table>, Error> {
    let sql = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND wr = 0 \
               AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND ?1 = ?1 ORDER BY name";
    let mut tables = Vec::new();
    for name in strings(connection, sql, "")? {
        let columns = strings(connection, "SELECT name FROM pragma_table_info(?1) ORDER BY cid", &name)?;
        let Some((key, declares_key)) = key(connection, &name, &columns)? else { continue };
        let sql = format!("SELECT min({key}), max({key}) FROM {}", quoted(&name));
        let (lowest, highest) = connection.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        if let (Some(lowest), Some(highest)) = (lowest, highest) {
            tables.push(Table { name, key, declares_key, lowest, highest, columns });
        }
    }
    tables.sort_by_key(|table| Reverse((table.declares_key, table.highest.saturating_sub(table.lowest))));
    Ok(tables)
}

/// The column that is the rowid, quoted, and true; else a name of the rowid that no column has
/// taken, and false.
fn key(connection: &Connection, table: &str, columns: &[String]) -> Result<Option<(String, bool)>, Error> {
    let sql = "SELECT name FROM pragma_table_info(?1) WHERE pk = 1 AND upper(type) = 'INTEGER' \
               AND (SELECT count(*) FROM pragma_table_info(?1) WHERE pk > 0) = 1";
    if let Some(column) = strings(connection, sql, table)?.first() {
        return Ok(Some((quoted(column), true)));
    }
    let is_free = |name: &&str| !columns.iter().any(|column| column.eq_ignore_ascii_case(name));
    Ok(["rowid", "_rowid_", "oid"].into_iter().find(is_free).map(|name| (name.into(), false)))
}

fn strings(connection: &Connection, sql: &str, parameter: &str) -> Result<Vec<String>, Error> {
    connection.prepare(sql)?.query_map([parameter], |row| row.get(0))?.collect()
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::script::{Scope, Script};

    fn derived(schema: &str) -> Result<Vec<(String, String)>, Problem> {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(schema).unwrap();
        let scripts = scripts(&connection, "x.db")?;
        for (name, text) in &scripts {
            let script = Script::parse(name, text).unwrap();
            let run = |_, statement: &crate::bench::script::Statement, values: &[i64]| {
                let mut prepared = connection.prepare(&statement.sql)?;
                assert!(prepared.readonly());
                let parameters = ecm::sqlite::rusqlite::params_from_iter(values);
                prepared.query_map(parameters, |_| Ok(()))?.collect::<Result<Vec<_>, _>>().map(drop)
            };
            let ran = script.pass(&mut Scope::new(1), run, |_, error| panic!("{error}"));
            ran.unwrap_or_else(|error| panic!("{text}: {error}"));
        }
        Ok(scripts)
    }

    #[test]
    fn names_that_need_quotes_make_queries_that_run() {
        let scripts = derived(
            "CREATE TABLE \"odd \"\"name;\" (\"the id\" INTEGER PRIMARY KEY, \"select\" TEXT, parent REFERENCES other);
             CREATE INDEX i ON \"odd \"\"name;\" (\"select\");
             CREATE TABLE other (id INTEGER PRIMARY KEY, label TEXT);
             INSERT INTO other VALUES (1, 'first');
             INSERT INTO \"odd \"\"name;\" VALUES (5, 'some text', 1), (9, 'more', 1);",
        );
        let names: Vec<_> = scripts.unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(
            names,
            [
                "point lookup in odd \"name;",
                "range scan of odd \"name;",
                "indexed count in odd \"name;",
                "join of odd \"name; with other",
                "prefix search in odd \"name;.select"
            ]
        );
    }

    #[test]
    fn a_column_called_rowid_is_not_mistaken_for_the_rowid() {
        let scripts = derived("CREATE TABLE t (rowid TEXT, oid TEXT); INSERT INTO t VALUES ('abc', 'def');").unwrap();
        assert!(scripts[0].1.contains("WHERE _rowid_ = :id"), "{}", scripts[0].1);
    }

    #[test]
    fn tables_without_rows_or_without_rowid_are_left_out() {
        let message = derived(
            "CREATE TABLE empty (id INTEGER PRIMARY KEY); CREATE TABLE w (k TEXT PRIMARY KEY) WITHOUT ROWID;
             INSERT INTO w VALUES ('a'); CREATE VIRTUAL TABLE f USING fts5(x);",
        );
        // The full-text index keeps shadow tables, which are not the user's.
        assert!(message.unwrap_err().to_string().contains("no table has rows"));
    }
}
