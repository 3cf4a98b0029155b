//! The real program, run as a person runs it.

mod bad_input;
mod bench;
mod demo;
mod ran;
