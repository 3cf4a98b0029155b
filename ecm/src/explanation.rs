use crate::CacheMode;
use std::{fmt, time::Duration};

/// What the manager knows about a query: see [`Call::explain`](crate::Call::explain).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// Whether it changes nothing. Anything else goes to the writer.
    pub read_only: bool,
    /// The tables that it reads, in lower case, sorted.
    pub reads: Vec<String>,
    /// The tables that it writes, directly or by triggers and foreign keys, in lower case, sorted.
    pub writes: Vec<String>,
    /// Whether single rows decide the answer, so that writes to others leave it current.
    pub by_rows: bool,
    /// What it accepts from the cache: as the call says, else as
    /// [`set_cache_mode`](crate::ConnectionManager::set_cache_mode) has said of its text.
    pub cache_mode: CacheMode,
    /// Why answers are not kept; `None` if they are.
    pub not_cached: Option<String>,
    /// Why it would not run inside a poll if it were awaited now, and its answer not kept; `None` if it would.
    pub not_in_place: Option<String>,
    /// The answer that is kept for these parameters: its age, and whether it is current.
    pub kept: Option<(Duration, bool)>,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |names: &[String]| if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
        writeln!(f, "reads {}; writes {}", list(&self.reads), list(&self.writes))?;
        writeln!(f, "runs on {}", if self.read_only { "a reader" } else { "the writer" })?;
        match &self.not_in_place {
            Some(why) => writeln!(f, "awaited, it runs on a thread of the database: {why}")?,
            None => writeln!(f, "awaited, it runs inside the poll")?,
        }
        match (&self.not_cached, self.by_rows) {
            (Some(why), _) => writeln!(f, "answers are not kept: {why}")?,
            (None, true) => writeln!(f, "answers are kept, until one of their rows is written")?,
            (None, false) => writeln!(f, "answers are kept, until one of its tables is written")?,
        }
        match self.kept {
            Some((age, current)) => {
                let worth = if current { "is current" } else { "is out of date" };
                write!(f, "one is there for these parameters, {age:.1?} old, which {worth}")
            }
            None => write!(f, "none is there for these parameters"),
        }
    }
}
