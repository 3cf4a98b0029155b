use crate::{Backend, Failure, Fault, FaultKind};
use std::{error::Error as StdError, fmt, panic::Location, sync::Arc, time::Duration};

/// Why a call failed: what happened, where, and whether the database has executed anything.
///
/// [`kind`](Error::kind) says what to do next, [`executed`](Error::executed) whether doing it again
/// would do it twice. The backend's own error, or the one that a closure returned, is the
/// [`source`](StdError::source) and comes back by type from [`downcast`](Error::downcast).
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    executed: Executed,
    message: String,
    database: Option<Arc<str>>,
    sql: Option<Arc<str>>,
    location: Option<&'static Location<'static>>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What happened, each with what the caller does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The time allowed ran out in this stage. Allow more, or mend what the stage names.
    Timeout(Stage),
    /// The manager, or this database, is closed. Stop calling.
    Closed,
    /// No database or group of that name is registered. Correct the name, or register it.
    NotFound,
    /// A name is registered already. Choose another one, or unregister the first.
    Exists,
    /// No database may serve this call now: a write without a writable primary, or everything
    /// unfit. Register one, or wait for a recovery.
    Unavailable,
    /// A write met a database, or a connection, that is open for reading only.
    ReadOnly,
    /// As many callers wait for a connection as may. Ask less often, lend for a shorter time, or
    /// allow more.
    QueueFull,
    /// The breaker of every fit database refused. Wait as long as the message says.
    Rejected,
    /// The backend failed; the fault says how. Act by [`FaultKind`].
    Fault(Fault),
    /// The call asks for what this place does not allow. Use the means that the message names.
    Misuse,
    /// A parameter, a column or a row is not what was asked for. Correct the type or the count.
    Decode,
    /// A configuration value is not acceptable. Correct the field that the message names.
    Invalid,
    /// The closure failed with an error of its own: [`Error::downcast`] gives it back.
    Closure,
}

/// The stage of a call in which its time ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// Waiting for a connection: all are lent. Lend for a shorter time, or allow more connections.
    Wait,
    /// Opening a connection. Look at the storage.
    Open,
    /// Running the statement or the closure. Make it shorter, or allow more time.
    Run,
    /// Closing: not every connection came back. Look for who holds one.
    Close,
}

/// Whether the database has executed what the failed call asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Executed {
    /// It has not, or it has undone it: repeating cannot do it twice.
    No,
    /// It has, and what it changed is there.
    Yes,
    /// It cannot be known. Look at the data before repeating.
    Unknown,
}

impl Error {
    /// An error of this kind, of which nothing was executed. The message is a full clause that
    /// names the value and what would be accepted.
    #[must_use]
    pub fn new(kind: Kind, message: impl fmt::Display) -> Self {
        Self(Box::new(Inner {
            kind,
            executed: Executed::No,
            message: message.to_string(),
            database: None,
            sql: None,
            location: None,
            source: None,
        }))
    }

    /// What a closure or a backend failed with, as `backend` classifies it.
    ///
    /// An [`Error`] that travelled inside the failure comes out as it was; whatever `backend` knows
    /// becomes a [`Kind::Fault`] (or [`Kind::ReadOnly`]); the rest is the closure's own.
    #[must_use]
    pub fn from_failure<B: Backend>(failure: Failure, backend: &B) -> Self {
        let failure = match failure.downcast::<Self>() {
            Ok(error) => return error,
            Err(failure) => failure,
        };
        // The chain is searched because closures wrap the backend's errors in their own.
        let mut cause: Option<&(dyn StdError + 'static)> = Some(failure.as_error());
        let mut kind = Kind::Closure;
        while let Some(error) = cause {
            if let Some(fault) = backend.classify(error) {
                kind = if fault.kind == FaultKind::ReadOnly { Kind::ReadOnly } else { Kind::Fault(fault) };
                break;
            }
            cause = error.source();
        }
        Self::new(kind, &failure).caused_by(failure)
    }

    /// A wait in `stage` that was given up after `waited`.
    #[must_use]
    pub fn timeout(stage: Stage, waited: Duration, detail: impl fmt::Display) -> Self {
        Self::new(Kind::Timeout(stage), format_args!("gave up after {waited:.1?} {stage}: {detail}"))
    }

    /// With what is known about its execution.
    #[must_use]
    pub fn with_executed(mut self, executed: Executed) -> Self {
        self.0.executed = executed;
        self
    }

    /// With the database in which it happened, unless one is named already.
    #[must_use]
    pub fn in_database(mut self, name: &Arc<str>) -> Self {
        self.0.database.get_or_insert_with(|| Arc::clone(name));
        self
    }

    /// With the SQL that was run, unless some is named already.
    #[must_use]
    pub fn with_sql(mut self, sql: &str) -> Self {
        self.0.sql.get_or_insert_with(|| sql.into());
        self
    }

    /// With the place of the call in the caller's code, unless one is named already.
    #[must_use]
    pub fn called_at(mut self, location: &'static Location<'static>) -> Self {
        self.0.location.get_or_insert(location);
        self
    }

    /// With its cause.
    #[must_use]
    pub fn caused_by(mut self, failure: Failure) -> Self {
        self.0.source = Some(failure.into_inner());
        self
    }

    /// What happened.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Whether the database has executed what was asked for.
    #[must_use]
    pub fn executed(&self) -> Executed {
        self.0.executed
    }

    /// The database in which it happened; `None` where no database was reached.
    #[must_use]
    pub fn database(&self) -> Option<&str> {
        self.0.database.as_deref()
    }

    /// The SQL that was run; `None` for closures and where none was reached.
    #[must_use]
    pub fn sql(&self) -> Option<&str> {
        self.0.sql.as_deref()
    }

    /// The place of the call in the caller's code.
    #[must_use]
    pub fn location(&self) -> Option<&'static Location<'static>> {
        self.0.location
    }

    /// The fault, if the backend failed.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        match self.0.kind {
            Kind::Fault(fault) => Some(fault),
            _ => None,
        }
    }

    /// Takes the source out as an `E`: the error that a closure returned, or the backend's own.
    ///
    /// # Errors
    /// This error, unchanged, if its source is something else.
    pub fn downcast<E: StdError + 'static>(mut self) -> Result<E, Self> {
        match self.0.source.take().map(|source| source.downcast::<E>()) {
            Some(Ok(error)) => Ok(*error),
            Some(Err(source)) => {
                self.0.source = Some(source);
                Err(self)
            }
            None => Err(self),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(database) = &self.0.database {
            write!(f, "database {database:?}: ")?;
        }
        f.write_str(&self.0.message)?;
        if let Some(sql) = &self.0.sql
            && !self.0.message.contains(&**sql)
        {
            write!(f, " in SQL: {sql}")?;
        }
        if self.0.executed == Executed::Unknown {
            f.write_str(" (whether it was executed cannot be known)")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    /// By hand: what `unwrap` prints should be the sentence, then the facts a developer looks for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} [{:?}, executed: {:?}", self.0.kind, self.0.executed)?;
        if let Some(location) = self.0.location {
            write!(f, ", called at {location}")?;
        }
        f.write_str("]")
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wait => "waiting for a connection",
            Self::Open => "opening a connection",
            Self::Run => "running",
            Self::Close => "waiting for lent connections to come back",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, FakeError};

    #[test]
    fn a_closures_own_error_comes_back_by_type() {
        let own = std::io::Error::other("mine");
        let error = Error::from_failure(own.into(), &Fake::new());
        assert_eq!(error.kind(), Kind::Closure);
        assert_eq!(error.source().unwrap().to_string(), "mine");
        let error = error.downcast::<fmt::Error>().unwrap_err();
        assert_eq!(error.downcast::<std::io::Error>().unwrap().to_string(), "mine");
    }

    #[test]
    fn the_backends_error_is_classified_also_inside_anothers() {
        #[derive(Debug)]
        struct Wrapped(FakeError);
        impl fmt::Display for Wrapped {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("could not load the note")
            }
        }
        impl StdError for Wrapped {
            fn source(&self) -> Option<&(dyn StdError + 'static)> {
                Some(&self.0)
            }
        }
        let error = Error::from_failure(Wrapped(FakeError::new(FaultKind::Full)).into(), &Fake::new());
        assert_eq!(error.fault().map(|fault| fault.kind), Some(FaultKind::Full));
        assert_eq!(error.to_string(), "could not load the note");
        let read_only = Error::from_failure(FakeError::new(FaultKind::ReadOnly).into(), &Fake::new());
        assert_eq!(read_only.kind(), Kind::ReadOnly);
    }

    #[test]
    fn an_error_of_ecm_is_not_nested() {
        let inner = Error::new(Kind::Closed, "closed").with_executed(Executed::Unknown);
        let outer = Error::from_failure(inner.into(), &Fake::new());
        assert_eq!((outer.kind(), outer.executed()), (Kind::Closed, Executed::Unknown));
        assert!(outer.source().is_none());
    }

    #[test]
    fn says_where_and_what() {
        let error = Error::timeout(Stage::Wait, Duration::from_millis(1500), "all 5 connections are lent")
            .in_database(&"main".into())
            .with_sql("select 1");
        assert_eq!(
            error.to_string(),
            "database \"main\": gave up after 1.5s waiting for a connection: all 5 connections are lent in SQL: select 1"
        );
        assert_eq!(error.kind(), Kind::Timeout(Stage::Wait));
        assert_eq!((error.database(), error.sql()), (Some("main"), Some("select 1")));
    }
}
