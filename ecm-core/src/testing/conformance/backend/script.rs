/// What the suite for backends says to a database, in its own language.
///
/// The default is SQL as SQLite understands it:
///
/// ```
/// use ecm_core::testing::conformance::BackendScript;
///
/// let mine = BackendScript { wrong: "SELEKT 1", ..BackendScript::default() };
/// assert!(mine.get.starts_with("SELECT"));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct BackendScript {
    /// What makes the tables that the other statements need, in an empty database.
    pub setup: &'static [&'static str],
    /// Puts the number that is its only parameter into a place, of one row.
    pub set: &'static str,
    /// Answers the number in that place as the first value of its first row; at first NULL, or no row.
    pub get: &'static str,
    /// As `set`, for another place.
    pub set_other: &'static str,
    /// As `get`, for that other place.
    pub get_other: &'static str,
    /// Answers its only parameter.
    pub echo: &'static str,
    /// Answers rows for ever.
    pub endless: &'static str,
    /// Means nothing.
    pub wrong: &'static str,
    /// Statements without parameters that write, though they do not begin as if they did; may be empty.
    pub disguised: &'static [&'static str],
}

impl Default for BackendScript {
    fn default() -> Self {
        Self {
            setup: &["CREATE TABLE \"Place\" (name TEXT PRIMARY KEY, value INTEGER)"],
            set: "INSERT INTO place VALUES ('a', ?1) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            get: "SELECT value FROM place WHERE name = 'a'",
            set_other: "INSERT INTO place VALUES ('b', ?1) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            get_other: "SELECT value FROM place WHERE name = 'b'",
            echo: "SELECT ?1 AS value",
            endless: "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n",
            wrong: "SELECT nonsense FROM nowhere",
            disguised: &[
                "WITH v (x) AS (SELECT 1) INSERT INTO place SELECT 'c', x FROM v",
                "/* SELECT */ DELETE FROM place",
            ],
        }
    }
}

impl BackendScript {
    /// What a [`Fake`](crate::testing::Fake) understands.
    #[must_use]
    pub fn fake() -> Self {
        Self {
            setup: &[],
            set: "set a",
            get: "get a",
            set_other: "set b",
            get_other: "get b",
            echo: "echo",
            endless: "endless",
            wrong: "SELECT nonsense",
            disguised: &["set a"],
        }
    }
}
