use crate::error::{Error, Result};
use serde_json::Value;

/// One line of the comparison: figures, a condition, or the reason why there are no figures.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Line {
    text: String,
    fields: Value,
}

impl Line {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let unusable = |why: &str| Error::Check(format!("the comparison has told a line that {why}: {text}"));
        let fields: Value = serde_json::from_str(text).map_err(|_| unusable("is not JSON"))?;
        let line = Self { text: text.into(), fields };
        if ["suite", "case", "system"].iter().any(|field| line.words(field).is_none()) {
            return Err(unusable("lacks its suite, case or system"));
        }
        Ok(line)
    }

    /// The line as it was told.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn suite(&self) -> &str {
        self.words("suite").unwrap_or_default()
    }

    pub(crate) fn case(&self) -> &str {
        self.words("case").unwrap_or_default()
    }

    pub(crate) fn system(&self) -> &str {
        self.words("system").unwrap_or_default()
    }

    /// The name and the value of a condition.
    pub(crate) fn condition(&self) -> Option<(&str, &str)> {
        Some((self.words("name")?, self.words("value")?))
    }

    /// Why there are no figures.
    pub(crate) fn absent(&self) -> Option<&str> {
        self.words("absent")
    }

    pub(crate) fn words(&self, field: &str) -> Option<&str> {
        self.fields.get(field)?.as_str()
    }

    pub(crate) fn number(&self, field: &str) -> Option<f64> {
        self.fields.get(field)?.as_f64()
    }

    /// Every figure with its name, by name.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = (&str, f64)> {
        let fields = self.fields.as_object().into_iter().flatten();
        fields.filter_map(|(name, value)| Some((name.as_str(), value.as_f64()?)))
    }

    /// Whether it is of ECM, be it a variant.
    pub(crate) fn is_ours(&self) -> bool {
        self.system() == "ecm" || self.system().starts_with("ecm-")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_not_one_is_shown() {
        for text in
            ["Hello", "{}", r#"{"suite": "pool", "case": "cycle-1"}"#, r#"{"suite": 1, "case": "", "system": ""}"#]
        {
            assert!(Line::parse(text).unwrap_err().to_string().ends_with(text), "{text}");
        }
    }

    #[test]
    fn the_three_kinds_are_told_apart() {
        let parse =
            |rest: &str| Line::parse(&format!(r#"{{"suite":"s","case":"c","system":"ecm-x",{rest}}}"#)).unwrap();
        assert_eq!(parse(r#""ops_per_s":2.5"#).number("ops_per_s"), Some(2.5));
        let absent = parse(r#""ops_per_s":null,"absent":"not there""#);
        assert_eq!((absent.number("ops_per_s"), absent.absent()), (None, Some("not there")));
        assert_eq!(parse(r#""name":"rows","value":"7""#).condition(), Some(("rows", "7")));
        assert!(absent.is_ours());
    }
}
