use ecm_core::{Error, InvalidConfig};
use std::{error::Error as StdError, fmt};

/// Why a manager could not be built.
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// A field of the configuration is out of its limits: correct it.
    Invalid(InvalidConfig),
    /// The configuration asks for something whose feature is off: switch the feature on in
    /// `Cargo.toml`, or change the value.
    FeatureOff {
        /// The field.
        field: &'static str,
        /// The value that was given.
        value: String,
        /// The feature of the crate `ecm` that supplies it.
        feature: &'static str,
    },
    /// A database could not be registered: the error names it.
    Database(Error),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(invalid) => invalid.fmt(f),
            Self::FeatureOff { field, value, feature } => {
                write!(f, "{field} = {value} needs the feature {feature:?} of the crate ecm, which is off")
            }
            Self::Database(error) => error.fmt(f),
        }
    }
}

impl StdError for BuildError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Invalid(_) | Self::FeatureOff { .. } => None,
            Self::Database(error) => error.source(),
        }
    }
}

impl From<InvalidConfig> for BuildError {
    fn from(invalid: InvalidConfig) -> Self {
        Self::Invalid(invalid)
    }
}

impl From<Error> for BuildError {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}
