use crate::{
    Clock, Concern, Connection, Error, Failure, Fault, Follow, ForeignWrites, Kind, LogObserver, LogStatus, Position,
    Time,
};
use std::{
    error::Error as StdError,
    fmt,
    sync::{Arc, Weak},
};

/// One database, and how connections to it are opened.
///
/// # Concurrency
/// Shared by all threads; connections may be opened by several at once.
pub trait Backend: Send + Sync + fmt::Debug + 'static {
    /// An open handle.
    type Connection: Connection;

    /// Opens a connection. May block; is called without any lock held. `clock` is what the
    /// deadlines of [`Limit::Until`](crate::Limit::Until) are told in.
    ///
    /// # Errors
    /// What cannot be opened, or opened as asked: never a connection with other settings.
    fn connect(&self, access: Access, clock: &Arc<dyn Clock>) -> Result<Self::Connection, Failure>;

    /// What an error means; `None` for one that is not this backend's. `error` is one link of a
    /// chain: the sources are asked one after the other.
    fn classify(&self, error: &(dyn StdError + 'static)) -> Option<Fault>;

    /// What this backend can do.
    fn abilities(&self) -> Abilities;

    /// Whether connections opened like this may keep something between loans, so that
    /// [`Connection::idle`] has to be called.
    fn keeps(&self, _access: Access) -> bool {
        false
    }

    /// Where the data is, for people: a path or an address, without secrets.
    fn describe(&self) -> String;

    /// The log of the database; `None` where there is none, or nobody of this process writes it.
    fn log(&self) -> Option<LogStatus> {
        None
    }

    /// Whom to ask about loans, and to tell what becomes of the log. Called before the first connection
    /// is opened, by each who lends connections; one that is gone is forgotten.
    fn observe_log(&self, _observer: Weak<dyn LogObserver>) {}

    /// How writes past the manager are noticed. May open something, and block: called before the first result is
    /// kept, and again when what it answered [is over](crate::DataVersion::is_over).
    ///
    /// # Errors
    /// What is there cannot be opened now: nothing is kept meanwhile.
    fn foreign_writes(&self, _clock: &Arc<dyn Clock>) -> Result<ForeignWrites, Failure> {
        Ok(ForeignWrites::Unseen)
    }

    /// Whether somebody depends on single rows, so that [`Transact::written`](crate::Transact::written) should name
    /// them where it can. At first nobody does. It holds for transactions that begin after the call; until then, and
    /// where a backend cannot tell, any row of a table counts as written.
    ///
    /// Called under a lock, and in the path of reads and commits: it must neither wait nor call back.
    fn follow_rows(&self, _wanted: bool) {}

    /// Where the last commit stands that was made through this value or one that it shares its commits with: whoever
    /// reads from now on sees it, and all before. `None` where that is not known. Some nanoseconds.
    fn position(&self) -> Option<Position> {
        None
    }

    /// Makes this database a copy of `source`, step by step. Opens nothing yet.
    ///
    /// # Errors
    /// One that cannot be copied, or cannot be a copy, and why. A backend that copies nothing says so.
    fn follow(&self, _source: &Self, _clock: &Arc<dyn Clock>) -> Result<Box<dyn Follow>, Failure>
    where
        Self: Sized,
    {
        let message = "the backend cannot keep one database a copy of another one: register it without replica()";
        Err(Error::new(Kind::Invalid, message).into())
    }

    /// Looks for what people should know of before it becomes a failure: room that runs out, a log that grows.
    ///
    /// `connection` was opened for this look alone, from [`Access::Read`], and has answered a
    /// [`ping`](Connection::ping). `written` says whether the database is to be written. A `thorough` look reads all
    /// that is stored, and tells damage as [`Concern::Damaged`]; it may take long. *Default:* nothing is looked for.
    ///
    /// # Errors
    /// The database fails.
    fn examine(
        &self,
        _connection: &mut Self::Connection,
        _written: bool,
        _thorough: bool,
    ) -> Result<Vec<Concern>, Failure> {
        Ok(Vec::new())
    }

    /// Does what is due (copies, watches) on the writer's connection, and answers when
    /// to come again; `None` for never. Called between transactions, never inside one.
    fn upkeep(&self, _writer: &mut Self::Connection, _now: Time) -> Option<Time> {
        None
    }
}

/// How a connection is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// For reading: the database itself must refuse every write on it.
    Read,
    /// For reading and writing.
    Write,
}

/// What a backend can do, so that the manager asks nothing else of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Abilities {
    /// At most one transaction writes at a time: all writes go through one connection, in order.
    pub one_writer: bool,
    /// Answers in the calling thread, without waiting for a network.
    pub answers_in_process: bool,
    /// Several writes may share one commit.
    pub group_commit: bool,
}
