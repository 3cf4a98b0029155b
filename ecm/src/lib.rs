//! ECM: fast, fair, observable and fault-tolerant access to databases, with SQLite embedded.
//!
//! A program makes a [`ConnectionManager`], by [`open`](ConnectionManager::open), by
//! [`standard`](ConnectionManager::standard) or by [`builder`](ConnectionManager::builder), and asks it:
//!
//! ```
//! # #[cfg(feature = "standard")] {
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use ecm::ConnectionManager;
//!
//! let manager = ConnectionManager::open(":memory:")?;
//! manager.execute("CREATE TABLE note (id INTEGER PRIMARY KEY, title TEXT)").wait()?;
//! manager.write(|tx| Ok(tx.execute("INSERT INTO note (title) VALUES (?1)", ["bread"])?)).wait()?;
//! let titles: Vec<String> = manager.query("SELECT title FROM note").all().wait()?;
//! assert_eq!(titles, ["bread"]);
//! # Ok(()) }
//! # main().unwrap();
//! # }
//! ```
//!
//! What belongs together is saved together by a [`UnitOfWork`], through [`Store`]s.
//!
//! A [`Call`] is a value and does nothing until [`wait`](Call::wait). Every failure is an [`Error`] whose
//! [`Kind`] says what to do next. Strategies are traits of [`core`], put in by the [`Builder`].
//!
//! # Features
//!
//! | feature | what it adds | default |
//! |---|---|---|
//! | `standard` | `open()`, `standard()`, and what they name: the features below | yes |
//! | `sqlite-bundled` | [`sqlite`], with SQLite compiled in | yes |
//! | `sqlite` | [`sqlite`], with the system's SQLite | by `standard` |
//! | `balancer` | [`balancer`], which `enable_load_balancing` needs | by `standard` |
//! | `breaker` | [`breaker`] | by `standard` |
//! | `cache-quick` | [`cache`], with `Quick` | by `standard` |
//! | `cache-lru` | [`cache`], with `Lru` | no |
//! | `cache-sharded` | [`cache`], with `Sharded` | no |
//! | `metrics` | [`metrics`], which `enable_metrics` needs | by `standard` |
//! | `testing` | for your tests: `core::testing`, and `sqlite::testing` with a disk that fails | no |
//!
//! Switching one on may turn a build error into a success; it never changes a manager that already
//! built.

mod answer;
mod awaited;
mod away;
mod back_off;
pub mod batch;
mod borrowed;
mod build_error;
mod builder;
mod cache_mode;
mod cached;
mod caches;
mod call;
mod config;
mod connecting;
mod costs;
mod currency;
mod database;
mod decode;
mod explanation;
mod floor;
mod following;
mod hand_off;
mod handle;
mod health;
mod idempotent;
pub mod job;
mod known_statement;
mod load_balance_strategy;
mod loads;
mod log;
mod manager;
#[cfg(feature = "sqlite")]
mod open;
mod parameter;
mod pause;
mod place;
mod positioned;
mod promotion;
mod ran;
mod reader_threads;
mod registry;
mod repeats;
mod replica;
mod report;
mod rereads;
mod retry_budget;
mod route;
mod seen;
mod session;
mod shelf;
pub mod single_flight;
mod start;
pub mod statement;
mod status;
mod store;
mod supplied;
mod sync;
mod threads;
mod topology;
mod travel;
mod turnstile;
mod unit_of_work;
mod watched_breaker;

pub use answer::{Answer, Source};
pub use awaited::Awaited;
pub use borrowed::Borrowed;
pub use build_error::BuildError;
pub use builder::Builder;
pub use cache_mode::CacheMode;
pub use call::Call;
pub use config::ManagerConfig;
pub use connecting::Connecting;
pub use database::{DEFAULT_GROUP, Database, DatabaseInfo, GroupInfo};
pub use explanation::Explanation;
pub use handle::Handle;
pub use load_balance_strategy::LoadBalanceStrategy;
pub use manager::ConnectionManager;
pub use parameter::Parameter;
pub use promotion::Promotion;
pub use replica::Replica;
pub use session::Session;
pub use store::Store;
pub use unit_of_work::UnitOfWork;

pub use ecm_core as core;
pub use ecm_core::{Error, Executed, Failure, Kind, Stage};
pub use ecm_pool::{Fairness, PoolConfig, PoolStrategy};

#[cfg(feature = "balancer")]
pub use ecm_balancer as balancer;
#[cfg(feature = "breaker")]
pub use ecm_breaker as breaker;
#[cfg(any(feature = "cache-quick", feature = "cache-lru", feature = "cache-sharded"))]
pub use ecm_cache as cache;
#[cfg(feature = "metrics")]
pub use ecm_metrics as metrics;
#[cfg(feature = "sqlite")]
pub use ecm_sqlite as sqlite;

#[cfg(all(doctest, feature = "standard"))]
#[doc = include_str!("../../README.md")]
struct Readme;

#[cfg(all(doctest, feature = "standard"))]
#[doc = include_str!("../../docs/caches.md")]
struct Caches;

#[cfg(all(doctest, feature = "standard"))]
#[doc = include_str!("../../docs/replicas.md")]
struct Replicas;

#[cfg(all(doctest, feature = "standard"))]
#[doc = include_str!("../../docs/migration.md")]
struct Migration;
