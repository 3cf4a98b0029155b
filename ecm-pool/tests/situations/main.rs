//! Situations that the pool must survive, each test named after how things go wrong.
//!
//! Time stands still unless a test moves it, and futures are polled by hand, so that each story
//! happens in exactly the order in which it is told.
#![cfg(not(shuttle))]

mod basics;
mod batches;
mod batches_modelled;
mod broken;
mod cancelled;
mod changes;
mod closing;
mod crowd;
mod everywhere;
mod fairness;
mod growth;
mod judged;
mod lane;
mod lead;
mod loans_told;
mod modelled;
mod overtaking;
mod panics;
mod posted;
mod revoked;
mod rough;
mod running;
mod stress;
mod stuck;
mod succession;
mod support;
mod tended;
mod timeouts;
mod visited;
mod writers;
