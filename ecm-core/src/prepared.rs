use crate::Columns;
use std::sync::Arc;

/// What a backend knows about a statement without running it.
///
/// Judged by the database itself, never by the look of the text: `WITH .. INSERT`, a leading
/// comment or a `PRAGMA` deceive whoever reads the first word.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Analysis {
    /// Whether it changes nothing: neither a table nor the state of the connection. Anything else
    /// goes to the writer.
    pub read_only: bool,
    /// The names of the columns that it answers with; empty for one that answers nothing.
    pub columns: Arc<Columns>,
    /// How many parameters it takes.
    pub parameters: usize,
    /// The tables that it reads, in lower case, sorted.
    pub reads: Box<[Box<str>]>,
    /// The columns of these tables that it names, each with its table before it, in lower case,
    /// sorted. An empty column stands for a table of which only the rows count. What a generated
    /// column or a virtual table is made of is not among them.
    pub read_columns: Box<[(Box<str>, Box<str>)]>,
    /// The tables that it writes, directly or by triggers and foreign keys, in lower case, sorted.
    pub writes: Box<[Box<str>]>,
    /// Whether the same rows and parameters always give the same answer.
    pub deterministic: bool,
    /// Whether an answer may be kept: read only, deterministic, and from ordinary tables alone.
    pub cacheable: bool,
    /// Why no answer may be kept, for people; `None` where one may, or where the backend does not say.
    pub uncacheable: Option<Box<str>>,
    /// The rows that alone decide the answer, if that is certain; else any row of the tables may.
    pub rows: Option<RowKeys>,
}

/// Which rows of its only table decide the answer of a statement: those whose key is a parameter.
///
/// Holds only while each of these parameters is bound as an integer: SQLite finds row 7 by the text
/// `'7.0'` too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowKeys {
    /// The table, in lower case.
    pub table: Box<str>,
    /// The parameters that are keys, counted from 0, sorted, each once.
    pub parameters: Box<[usize]>,
}

/// A statement with its analysis, as the facade keeps it for a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// Its number in the group: never given to another text.
    pub id: u32,
    /// The text.
    pub sql: Arc<str>,
    /// What the database says about it.
    pub analysis: Analysis,
}
