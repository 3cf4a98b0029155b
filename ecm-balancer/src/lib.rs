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
//! | [`Random`] | any, with a chance in proportion to its weight, from a seed |

mod least;
mod least_connections;
mod priority;
mod random;
mod round_robin;
mod shares;
mod turns;

pub use least_connections::LeastConnections;
pub use priority::Priority;
pub use random::Random;
pub use round_robin::RoundRobin;
