//! Why a run ends early.

use ecm::core::Value;
use std::{error::Error, fmt};

/// What was answered: rows, or that it failed.
pub(crate) type Answer = Result<Vec<Vec<Value>>, String>;

/// Two answers that should be the same.
#[derive(Clone, Debug)]
pub(crate) struct Mismatch {
    /// The file, and the line of the record at which it was noticed.
    pub(crate) place: String,
    pub(crate) sql: String,
    pub(crate) parameters: Vec<Value>,
    /// What was written last.
    pub(crate) after: String,
    pub(crate) cached: bool,
    pub(crate) manager: Answer,
    pub(crate) sqlite: Answer,
}

/// How many rows of an answer are shown.
const SHOWN: usize = 20;

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, sql, parameters, after, cached, manager, sqlite } = self;
        let from = if *cached { " from the cache" } else { "" };
        writeln!(f, "MISMATCH at {place}\n  {sql}\n  parameters: {parameters:?}\n  after: {after}")?;
        for (who, answer) in [(format!("the manager{from}"), manager), ("plain SQLite".into(), sqlite)] {
            match answer {
                Ok(rows) => {
                    writeln!(f, "  {who}: {} rows", rows.len())?;
                    rows.iter().take(SHOWN).try_for_each(|row| writeln!(f, "    {row:?}"))?;
                }
                Err(error) => writeln!(f, "  {who}: failed: {error}")?,
            }
        }
        Ok(())
    }
}

impl Error for Mismatch {}
