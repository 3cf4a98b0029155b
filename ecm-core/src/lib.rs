//! The traits and the vocabulary of ECM (Enterprise Connection Management), a data access layer.
//!
//! **Who should depend on this crate:** authors of backends and of strategies. Programs use the
//! facade, [`ecm`](https://docs.rs/ecm), which wires an implementation of each trait into a
//! `ConnectionManager`.
//!
//! | to write | implement | what it does when you write none |
//! |---|---|---|
//! | a backend | [`Backend`], [`Connection`], [`Transact`], and [`Savepoints`] for nested units of work | there is no default: the facade is generic over it |
//! | a balancer | [`Balancer`] | [`FirstFit`]: the fit database of the highest priority |
//! | a breaker | [`Breaker`] | [`NeverOpen`]: every call is admitted |
//! | a result cache | [`Cache`] | [`NoCache`]: stores nothing |
//! | a sizing strategy | [`Sizing`] | [`FixedSize`]: up to the configured maximum |
//! | an observer | [`Observer`] | [`NoObserver`]: interested in nothing |
//! | a source of time | [`Clock`] | [`SystemClock`]: monotonic, with one keeper thread |
//!
//! Strategies compute, they do not wait: every method here is synchronous, may be called from many
//! threads at once, and must neither block nor panic unless its documentation says otherwise.
//!
//! The feature `testing` adds a backend that can be steered, a clock that a test moves, and a suite
//! for each trait that holds an implementation to its contract; `serde` makes the status types
//! serialisable. Without features the crate depends on nothing but the standard library, and it
//! re-exports nothing foreign.

mod backend;
mod balancer;
mod breaker;
mod cache;
mod call;
mod clock;
mod config;
mod connection;
mod error;
mod explanation;
mod failure;
mod fault;
mod follow;
mod foreign;
mod health;
mod log;
mod managed;
mod mixer;
mod node;
mod observer;
mod per_thread;
mod position;
mod prepared;
mod rows;
mod savepoints;
mod sizing;
mod status;
mod striped;
#[cfg(feature = "testing")]
pub mod testing;
mod time;
mod transact;
mod value;
mod versions;
mod wait;

pub use backend::{Abilities, Access, Backend};
pub use balancer::{Balancer, FirstFit, Intent, Sample};
pub use breaker::{Admission, Breaker, BreakerState, NeverOpen, Outcome, Permit, Rejected};
pub use cache::{Cache, CacheRereads, CacheStats, Entry, Key, KeyRef, NoCache, TableVersion};
pub use call::{CallKind, Context};
pub use clock::{Alarm, Alarms, Clock, SystemClock};
pub use config::InvalidConfig;
pub use connection::{CheckIn, Connection, Interrupt, Limit, Loan};
pub use error::{Error, Executed, Kind, Stage};
pub use explanation::{Decision, Explanation, Score};
pub use failure::Failure;
pub use fault::{Fault, FaultKind};
pub use follow::{Copied, Follow, FollowError, Relation};
pub use foreign::{DataVersion, ForeignWrites, Stamp};
pub use health::{Concern, Health};
pub use log::{LogObserver, LogStatus, OldestLoan, Pinned};
pub use managed::Managed;
pub use node::{Load, Mask, Node};
pub use observer::{CallReport, Event, Interest, NoObserver, Observer};
pub use per_thread::{Mine, PerThread};
pub use position::Position;
pub use prepared::{Analysis, Prepared, RowKeys};
pub use rows::{Changes, Columns, Flow, Row, Rows};
pub use savepoints::Savepoints;
pub use sizing::{FixedSize, Order, PoolLoad, Sizing, Target};
pub use status::{DatabaseStatus, GroupStatus, PoolStatus, ReplicaStatus, Role, Status};
pub use striped::{Striped, thread_number};
pub use time::Time;
pub use transact::{Commit, Durability, Member, Transact, Written, WrittenRows, WrittenTable};
pub use value::{Value, ValueRef};
pub use versions::Versions;
pub use wait::block_on;
