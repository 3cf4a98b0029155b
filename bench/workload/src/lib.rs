//! What every compared system is asked to do, and how it is measured. It knows no SQLite, so that programs
//! that link different ones share it.

mod allocations;
mod caller;
mod case;
mod contest;
mod kv;
mod line;
mod lock;
mod record;
mod remote;
mod session;
mod syncs;
mod turns;
mod zipf;

pub use allocations::Counting;
pub use caller::{Caller, Shape};
pub use case::{Case, SQL_CASES, Work};
pub use contest::{Contest, Contestant};
pub use kv::{CREATE, INSERT, Keys, PRAGMAS, READ, READ_BACK, ROWS, VALUE_BYTES, WRITE, value};
pub use line::{Line, Problem};
pub use lock::locked_version;
pub use record::Record;
pub use remote::{Hosted, Open, Remote, host};
pub use session::{Session, Settings, contest};
pub use syncs::{SYNC_DELAY, SYNC_VFS, record_sync};
pub use turns::{Plan, take_turns};
pub use zipf::Zipf;
