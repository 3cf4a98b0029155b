//! Balancers for ECM: which database of a group serves a call.
//!
//! Each is an [`ecm_core::Balancer`], chosen by a recipe: `builder.balancer(|_group|
//! RoundRobin::new())`.

mod round_robin;

pub use round_robin::RoundRobin;
