use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{error::Error, fmt};

/// One line of output, which is one JSON object.
///
/// A line with figures has `ops_per_s` and the rest. A line without is about the conditions of a suite
/// (`name` and `value`), or says in `absent` why there are no figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// What kind of work.
    pub suite: String,
    /// Which of the suite's cases.
    pub case: String,
    /// Who did it.
    pub system: String,
    /// Operations per second, of all callers together.
    pub ops_per_s: Option<f64>,
    /// How long an operation took, from its caller's side.
    pub mean_ns: Option<f64>,
    /// Half of them took no longer.
    pub p50_ns: Option<f64>,
    /// 99 of 100 took no longer.
    pub p99_ns: Option<f64>,
    /// 999 of 1000 took no longer.
    pub p999_ns: Option<f64>,
    /// The longest.
    pub max_ns: Option<f64>,
    /// Operations that failed.
    pub errors: Option<u64>,
    /// Further figures of the case.
    #[serde(flatten)]
    pub further: Map<String, Value>,
}

impl Line {
    /// A line without figures.
    #[must_use]
    pub fn empty(suite: &str, case: &str, system: &str) -> Self {
        Self {
            suite: suite.into(),
            case: case.into(),
            system: system.into(),
            ops_per_s: None,
            mean_ns: None,
            p50_ns: None,
            p99_ns: None,
            p999_ns: None,
            max_ns: None,
            errors: None,
            further: Map::new(),
        }
    }

    /// Says why a system has no figures.
    #[must_use]
    pub fn absent(suite: &str, case: &str, system: &str, why: &str) -> Self {
        Self::empty(suite, case, system).with("absent", why)
    }

    /// Says under what conditions a suite ran, of one system or of the machine.
    #[must_use]
    pub fn condition(suite: &str, system: &str, name: &str, value: impl Into<String>) -> Self {
        Self::empty(suite, "conditions", system).with("name", name).with("value", value.into())
    }

    /// With a further figure.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.further.insert(name.into(), value.into());
        self
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

/// Why something could not be measured.
#[derive(Debug)]
pub struct Problem(pub String);

impl Problem {
    /// While doing this, that went wrong.
    pub fn during(what: impl fmt::Display, error: impl fmt::Display) -> Self {
        Self(format!("{what}: {error}"))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let line = Line { ops_per_s: Some(2.5), p50_ns: Some(7.5), ..Line::empty("pool", "cycle-1", "r2d2") };
        let line = line.with("allocations", 0.5);
        let text = line.to_string();
        assert!(text.starts_with(r#"{"suite":"pool","case":"cycle-1","system":"r2d2","ops_per_s":2.5,"mean_ns":null"#));
        assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), line);
    }
}
