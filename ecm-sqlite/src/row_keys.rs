use crate::{guard::Guard, integer_key::IntegerKey};
use ecm_core::RowKeys;
use rusqlite::{Connection, Statement};
use sqlite3_parser::{
    Bump, FallibleIterator,
    ast::{Cmd, Expr, OneSelect, Operator, SelectTable, Stmt},
    dialect::TokenType,
    lexer::{
        Scanner,
        sql::{Parser, Tokenizer},
    },
};
use std::fmt::Write as _;

/// The rows that decide the answer of `statement`, which SQLite has accepted and which reads no table
/// but `table`, an ordinary one.
///
/// `None` unless it is certain: one table, no other query anywhere in the text, and among the
/// conditions that all must hold one that compares the integer primary key with parameters.
pub(crate) fn row_keys(
    connection: &Connection,
    guard: &Guard,
    statement: &Statement<'_>,
    sql: &str,
    table: &str,
) -> rusqlite::Result<Option<RowKeys>> {
    let number_of = |name: &str| statement.parameter_index(name).ok().flatten();
    let compared = number_parameters(sql, number_of).and_then(|text| Compared::of(&text));
    let Some(compared) = compared.filter(|compared| compared.table == table) else { return Ok(None) };
    if compared.conditions.is_empty() {
        return Ok(None);
    }
    let Some(key) = IntegerKey::of(connection, guard, table)? else { return Ok(None) };
    Ok(compared.conditions.into_iter().find(|condition| key.is(&condition.column)).map(|condition| {
        let parameters = condition.parameters.into_iter().map(|number| number - 1).collect();
        RowKeys { table: table.into(), parameters }
    }))
}

/// The text with each parameter written as `?` and its number, as SQLite counts them. `None` for a text
/// in which anything but the first word can be a query: also `VALUES`, and a table after `IN`.
fn number_parameters(sql: &str, number_of: impl Fn(&str) -> Option<usize>) -> Option<String> {
    let mut scanner = Scanner::new(Tokenizer::new());
    let mut numbered = String::with_capacity(sql.len() + 8);
    let (mut copied, mut last, mut queries, mut after_in) = (0, 0, 0, false);
    while let (start, Some((token, kind)), end) = scanner.scan(sql.as_bytes()).ok()? {
        if std::mem::take(&mut after_in) && kind != TokenType::TK_LP {
            return None;
        }
        match kind {
            TokenType::TK_SELECT => queries += 1,
            TokenType::TK_VALUES | TokenType::TK_WITH => return None,
            TokenType::TK_IN => after_in = true,
            TokenType::TK_VARIABLE => {
                let number = match std::str::from_utf8(token).ok()? {
                    "" => last + 1,
                    digits if digits.starts_with(|first: char| first.is_ascii_digit()) => digits.parse().ok()?,
                    name => number_of(name)?,
                };
                last = last.max(number);
                numbered.push_str(&sql[copied..start]);
                write!(numbered, "?{number}").ok()?;
                copied = end;
            }
            _ => {}
        }
    }
    numbered.push_str(&sql[copied..]);
    (queries == 1).then_some(numbered)
}

/// The only table of a query, and the columns that every row of the answer has equal to a parameter.
#[derive(Debug, PartialEq, Eq)]
struct Compared {
    table: String,
    conditions: Vec<Condition>,
}

/// A column, and the numbers of the parameters of which one must be equal to it.
#[derive(Debug, PartialEq, Eq)]
struct Condition {
    column: String,
    parameters: Vec<usize>,
}

impl Compared {
    /// `None` for a text of which the parser thinks other than SQLite, too.
    fn of(numbered: &str) -> Option<Self> {
        let bump = Bump::new();
        let mut parser = Parser::new(&bump, numbered.as_bytes());
        let Ok(Some(Cmd::Stmt(Stmt::Select(select)))) = parser.next() else { return None };
        let OneSelect::Select { from: Some(from), where_clause: Some(condition), .. } = &select.body.select else {
            return None;
        };
        let Some(SelectTable::Table(table, ..)) = from.select else { return None };
        if select.with.is_some() || select.body.compounds.is_some() || from.joins.is_some() {
            return None;
        }
        let mut compared = Self { table: unquoted(table.name.0), conditions: Vec::new() };
        compared.add(condition);
        Some(compared)
    }

    /// What must hold for `expression` to hold.
    fn add(&mut self, expression: &Expr<'_>) {
        match expression {
            Expr::Parenthesized(inner) => {
                if let [only] = &inner[..] {
                    self.add(only);
                }
            }
            Expr::Binary(left, Operator::And, right) => {
                self.add(left);
                self.add(right);
            }
            Expr::Binary(left, Operator::Equals, right) => {
                for (column, value) in [(left, right), (right, left)] {
                    self.add_one(column, std::slice::from_ref(*value));
                }
            }
            Expr::InList { lhs, not: false, rhs: Some(values) } => self.add_one(lhs, values),
            _ => {}
        }
    }

    fn add_one(&mut self, column: &Expr<'_>, values: &[Expr<'_>]) {
        let parameters: Option<Vec<usize>> = values.iter().map(parameter).collect();
        if let (Some(column), Some(mut parameters)) = (column_name(column), parameters) {
            parameters.sort_unstable();
            parameters.dedup();
            self.conditions.push(Condition { column, parameters });
        }
    }
}

/// The name of a column, whatever stands before it: there is only one table.
fn column_name(expression: &Expr<'_>) -> Option<String> {
    match expression {
        Expr::Id(name) => Some(unquoted(name.0)),
        Expr::Name(name) | Expr::Qualified(_, name) | Expr::DoublyQualified(_, _, name) => Some(unquoted(name.0)),
        Expr::Parenthesized(inner) => match &inner[..] {
            [only] => column_name(only),
            _ => None,
        },
        _ => None,
    }
}

/// The number of a parameter, as [`number_parameters`] has written it.
fn parameter(expression: &Expr<'_>) -> Option<usize> {
    match expression {
        Expr::Variable(text) => text.trim_start_matches('?').parse().ok(),
        _ => None,
    }
}

/// A name without quotes. Doubled quotes inside are left as they are: no name is found by it then.
fn unquoted(name: &str) -> String {
    let inner = name.strip_prefix(['"', '`', '[']).and_then(|rest| rest.strip_suffix(['"', '`', ']'])).unwrap_or(name);
    inner.to_ascii_lowercase()
}
