//! Balancers for ECM: which database of a group serves a call.
//!
//! Each is an [`ecm_core::Balancer`], chosen by a recipe: `builder.balancer(|_group|
//! RoundRobin::new())`. All of them respect weights, and none allocates or locks.
//!
//! | balancer | whom it picks |
//! |---|---|
//! | [`RoundRobin`] | every fit database in turn, exactly in proportion to its weight |
//! | [`Priority`] | those of the highest priority in turn, the others only when none of these is fit |
//! | [`LeastConnections`] | the one with the fewest calls in flight for its weight |
//! | [`PeakEwma`] | the one that is expected to answer first: latency, calls in flight and failures |
//! | [`Adaptive`] | as one of these, by what it observes |
//! | [`PreferTag`], [`RequireTag`] | those with a tag first, or only those, as another balancer picks among them |
//! | [`Named`] | as the one of these whose [name](Strategy) is selected, which may change while calls go on |
//! | [`Random`] | any, with a chance in proportion to its weight, from a seed |

mod adaptive;
mod draws;
mod estimate;
mod least;
mod least_connections;
mod logarithm;
mod named;
mod observations;
mod peak_ewma;
mod peak_ewma_config;
mod phase;
mod priority;
mod random;
mod recorder;
mod round_robin;
mod shares;
mod tagged;
mod turns;

pub use adaptive::Adaptive;
pub use least_connections::LeastConnections;
pub use named::{Named, Selection, Strategy};
pub use peak_ewma::PeakEwma;
pub use peak_ewma_config::PeakEwmaConfig;
pub use priority::Priority;
pub use random::Random;
pub use round_robin::RoundRobin;
pub use tagged::{PreferTag, RequireTag};
