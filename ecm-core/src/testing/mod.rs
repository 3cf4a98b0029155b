//! Doubles for tests: a backend that can be steered, and a clock that a test moves. And [`conformance`]:
//! what implementations of the traits are held to, and [`killing`]: a process that is killed while it writes.
//!
//! ```
//! use ecm_core::{Access, Backend, Clock, Connection, FaultKind, Loan, testing::{Fake, TestClock}};
//! use std::sync::Arc;
//!
//! let clock: Arc<dyn Clock> = Arc::new(TestClock::new());
//! let fake = Fake::new();
//! fake.fail_statements(FaultKind::Storage, 1);
//!
//! let mut connection = fake.connect(Access::Read, &clock).unwrap();
//! connection.check_out(Loan::Read).unwrap();
//! assert!(connection.db().get("answer").is_err(), "the first statement fails, as told");
//! assert_eq!(connection.db().get("answer").unwrap(), None);
//! assert_eq!(fake.counts().statements, 2);
//! ```

mod clock;
pub mod conformance;
mod fake;
mod fake_connection;
mod fake_savepoints;
pub mod killing;
mod nothing;
mod random;

pub use clock::TestClock;
pub use fake::{Fake, FakeCounts, FakeError, FakeForeignWrites, Held};
pub use fake_connection::{FakeConnection, FakeDb, FakeInterrupt, FakeTx};
pub use nothing::{Idle, Nothing};
pub use random::{Random, seed};
