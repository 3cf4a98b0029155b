mod limits;
mod loans;
mod savepoints;
mod script;
mod stand;
mod statements;
mod transactions;
#[cfg(test)]
mod wrong;

pub use savepoints::savepoints;
pub use script::BackendScript;

use super::promise::promises;
use crate::{Backend, Transact};
use stand::Stand;

promises! {
    OPENS = "connections are opened for reading and for writing, and answer a ping";
    THREADS = "connections are opened by several threads at once, and used by others than those";
    VISIBLE = "what was committed is seen by every other connection";
    HIDDEN = "what is not committed is seen inside its transaction and nowhere else";
    UNDONE = "what was rolled back is gone, and rolling back where nothing is left is harmless";
    POSITIONS = "every commit has a higher position than the one before";
    MEMBERS = "one member of a transaction is undone alone, and the others are kept";
    REFUSES = "a connection for reading writes nothing";
    STABLE = "a read sees one state from its start to its end, and the next read a newer one";
    CHANGES = "a statement that writes tells how many rows it has changed";
    VALUES = "a value comes back with its type and its bits";
    ENOUGH = "a query shows no more rows once the sink has enough";
    OWN = "an error of the sink comes back by its type";
    PARAMETERS = "parameters that do not fit in number are refused";
    STATEMENTS = "an error of a statement is known, and is no fault of the database";
    FOREIGN = "an error that is not the backend's is not classified";
    ANALYSES = "a statement is judged by what it would do, and is not run for it";
    TABLES = "what reads a table and what writes it name it alike, in lower case and sorted";
    CLEAN = "a loan that left nothing behind is clean";
    LEFT = "what a borrower left open is not there for the next one";
    WHOLE = "a connection that was lent whole is not lent again";
    LIMITS = "a limit stops what runs, and the connection says so";
    UNREACHED = "nothing counts as stopped where no limit was reached";
    OUTLIVED = "no limit outlives its loan, nor that it has stopped something";
    UNSTOPPED = "what the manager itself runs to end a transaction is not stopped by a limit";
    INTERRUPTS = "an interrupt stops what runs";
    IDLE = "an interrupt while nothing runs stops nothing that runs later";
    CLOSED = "an interrupt is safe after the connection is closed";
    UPKEEP = "upkeep asks to come again later than now";
}

/// Holds a backend to the contract of [`Backend`], [`Connection`](crate::Connection) and [`Transact`].
///
/// `make` makes an empty database each time it is called; `script` is what is said to it. Time stands
/// still on the clock that connections get, so a backend that waits for a lock should be told not to wait
/// long.
///
/// ```
/// use ecm_core::testing::{Fake, conformance::{self, BackendScript}};
///
/// conformance::backend(Fake::new, &BackendScript::fake());
/// ```
///
/// # Panics
/// With the first promise that is broken.
pub fn backend<B: Backend<Connection: Transact>>(make: impl Fn() -> B, script: &BackendScript) {
    let fresh = || Stand::new(make(), script);
    transactions::keeps_its_promises(&fresh);
    statements::keeps_its_promises(&fresh);
    loans::keeps_its_promises(&fresh);
    limits::keeps_its_promises(&fresh);
}
