use std::{error::Error, fmt};

/// A configuration value that is not acceptable.
///
/// ```
/// let invalid = ecm_core::InvalidConfig::new("max_connections", 0, "at least 1");
/// assert_eq!(invalid.to_string(), "max_connections = 0 is not acceptable: at least 1");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidConfig {
    /// The field.
    pub field: &'static str,
    /// The value that was given.
    pub value: String,
    /// What would be accepted.
    pub accepted: String,
}

impl InvalidConfig {
    /// `field` was given `value`, where only `accepted` is.
    #[must_use]
    pub fn new(field: &'static str, value: impl fmt::Display, accepted: impl fmt::Display) -> Self {
        Self { field, value: value.to_string(), accepted: accepted.to_string() }
    }
}

impl fmt::Display for InvalidConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {} is not acceptable: {}", self.field, self.value, self.accepted)
    }
}

impl Error for InvalidConfig {}
