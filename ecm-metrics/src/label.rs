use prometheus_client::encoding::{EncodeLabelValue, LabelValueEncoder};
use std::fmt::{self, Write};

/// The calls that reached no database.
pub(crate) const NONE: &str = "none";
/// The databases beyond the limit.
pub(crate) const OTHER: &str = "other";

/// The longest value, in bytes.
const LONGEST: usize = 120;

/// A name as the value of a label: cut where it is too long.
pub(crate) fn cut(name: &str) -> &str {
    &name[..name.floor_char_boundary(LONGEST)]
}

/// A value as the text format wants it: `prometheus-client` writes values as they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Escaped<'a>(pub(crate) &'a str);

impl EncodeLabelValue for Escaped<'_> {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        for character in self.0.chars() {
            match character {
                '\\' => encoder.write_str("\\\\")?,
                '"' => encoder.write_str("\\\"")?,
                '\n' => encoder.write_str("\\n")?,
                other => encoder.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut_between_two_characters() {
        assert_eq!(cut("main"), "main");
        assert_eq!(cut(&"a".repeat(500)), "a".repeat(120));
        assert_eq!(cut(&format!("a{}", "é".repeat(80))), format!("a{}", "é".repeat(59)));
    }
}
