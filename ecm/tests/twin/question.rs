//! What is asked after every step.

use crate::schema::Schema;
use ecm::core::Value;

#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) sql: String,
    pub(crate) parameters: Vec<Value>,
}

/// About one table, and another one. Among them all the ways to name a row which only look as if no other row
/// mattered, and the reverse. Some fail in some schemas, and have to.
const OF_A_ROW: [&str; 19] = [
    "SELECT * FROM {T} WHERE id = ?1",
    "SELECT k, v FROM {T} WHERE ?1 == id AND v > 1",
    "SELECT id, v FROM {T} WHERE id IN (?1, 7)",
    "SELECT v FROM {T} WHERE rowid = ?1",
    "SELECT v FROM {T} AS a WHERE a._rowid_ = ?1",
    "SELECT id, k FROM {T} WHERE oid IN (?1)",
    "SELECT id, g FROM {T} WHERE id = ?1",
    "SELECT hex(b), n FROM {T} WHERE id = ?1",
    "SELECT hex(b), typeof(k) FROM {T} WHERE id = ?1",
    "SELECT max(v), count(*) FROM {T} WHERE id = ?1",
    "SELECT id FROM {T} WHERE id = ?1 OR v = 4",
    "SELECT id, (SELECT max(v) FROM {O}) FROM {T} WHERE id = ?1",
    "SELECT id FROM {T} WHERE id = ?1 AND EXISTS (SELECT 1 FROM {O} WHERE v = 2)",
    "SELECT id, v FROM {T} WHERE id = ?1 UNION ALL SELECT id, v FROM {O} WHERE id = ?1",
    "SELECT a.id, b.id, b.v FROM {T} AS a JOIN {O} AS b ON b.id = a.r WHERE a.id = ?1",
    "SELECT a.id, b.id FROM {T} AS a, {T} AS b WHERE a.id = ?1 AND b.v = a.v",
    "WITH w AS (SELECT * FROM {T}) SELECT id, v FROM w WHERE id = ?1",
    "SELECT id, rank() OVER (ORDER BY v) FROM {T} WHERE id = ?1",
    "SELECT id FROM {T} WHERE k = ?1",
];

const OF_A_TABLE: [&str; 6] = [
    "SELECT count(*), sum(v), min(k) FROM {T}",
    "SELECT count(*) FROM {T}",
    "SELECT * FROM {T} ORDER BY id, v, k",
    "SELECT rowid, v FROM {T}",
    "SELECT id, v FROM {T} WHERE v BETWEEN 1 AND 4 ORDER BY id, v, k LIMIT 3",
    "SELECT a.k, count(*), sum(b.v) FROM {T} AS a LEFT JOIN {O} AS b ON b.r = a.id GROUP BY a.k",
];

impl Question {
    pub(crate) fn all(schema: &Schema) -> Vec<Self> {
        let text = |text: &str| Value::Text(text.into());
        // All but the last three find row 3 where the key is an integer.
        let keys =
            [Value::Integer(3), text("3"), text(" 3.0"), Value::Real(3.0), Value::Integer(5), text("k2"), Value::Null];
        let mut questions = Vec::new();
        let mut add = |sql: String, parameters: &[Value]| {
            questions.push(Self { sql, parameters: parameters.to_vec() });
        };
        for table in 0..schema.tables.len() {
            let other = schema.number(table + 1);
            let named = |sql: &str| sql.replace("{T}", &format!("t{table}")).replace("{O}", &format!("t{other}"));
            for (number, sql) in OF_A_ROW.iter().enumerate() {
                add(named(sql), &keys[..1]);
                // Each with some of the other keys, and the plainest with all.
                let others = if number == 0 { &keys[1..] } else { &keys[1 + number % 6..=1 + number % 6] };
                others.iter().for_each(|key| add(named(sql), std::slice::from_ref(key)));
            }
            add(named("SELECT id, k, v FROM {T} WHERE id IN (?1, ?2)"), &[Value::Integer(2), Value::Integer(6)]);
            add(named("SELECT id, k, v FROM {T} WHERE id IN (?1, ?2)"), &[text("2"), Value::Integer(6)]);
            OF_A_TABLE.iter().for_each(|sql| add(named(sql), &[]));
        }
        for view in 0..2 {
            add(format!("SELECT * FROM v{view}"), &[]);
            add(format!("SELECT * FROM v{view} WHERE id = ?1"), &keys[..1]);
        }
        add("SELECT name, tbl_name FROM sqlite_schema".into(), &[]);
        add("SELECT name, seq FROM sqlite_sequence".into(), &[]);
        questions
    }
}
