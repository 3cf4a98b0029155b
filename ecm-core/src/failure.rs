use std::{error::Error as StdError, fmt};

/// What a closure, or a backend, may fail with: any error.
///
/// `?` converts every error type into it, the backend's own and the caller's alike, with no type
/// annotation:
///
/// ```
/// use ecm_core::Failure;
///
/// fn parse(text: &str) -> Result<i64, Failure> {
///     let number: i64 = text.trim().parse()?;
///     if number < 0 {
///         return Err(Failure::msg(format!("{number} is negative")));
///     }
///     Ok(number)
/// }
///
/// assert_eq!(parse(" 7 ").unwrap(), 7);
/// assert!(parse("x").unwrap_err().downcast_ref::<std::num::ParseIntError>().is_some());
/// assert_eq!(parse("-1").unwrap_err().to_string(), "-1 is negative");
/// ```
///
/// It is not itself a `std::error::Error`: that is what makes the blanket conversion legal. Where a
/// call returns, it has become an [`Error`](crate::Error), with the failure as its source. Errors
/// of crates that are no `std::error::Error` either (`anyhow::Error`) convert by
/// `.map_err(Failure::msg)`.
pub struct Failure(Box<dyn StdError + Send + Sync + 'static>);

impl Failure {
    /// A failure that is only a message.
    pub fn msg(message: impl fmt::Display) -> Self {
        Self(message.to_string().into())
    }

    /// The error inside, by reference.
    #[must_use]
    pub fn as_error(&self) -> &(dyn StdError + 'static) {
        &*self.0
    }

    /// The error inside, if it is an `E`.
    #[must_use]
    pub fn downcast_ref<E: StdError + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }

    /// Takes the error out as an `E`.
    ///
    /// # Errors
    /// The failure itself, unchanged, if it is something else.
    pub fn downcast<E: StdError + 'static>(self) -> Result<E, Self> {
        self.0.downcast().map(|error| *error).map_err(Self)
    }

    /// The error inside.
    #[must_use]
    pub fn into_inner(self) -> Box<dyn StdError + Send + Sync + 'static> {
        self.0
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_come_back_by_type() {
        let failure = Failure::from(std::io::Error::other("disk on fire"));
        let failure = failure.downcast::<fmt::Error>().unwrap_err();
        assert_eq!(failure.downcast::<std::io::Error>().unwrap().to_string(), "disk on fire");
    }
}
