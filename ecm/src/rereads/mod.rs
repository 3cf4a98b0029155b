//! Answers that are read again in the background: to see whether the cache is right, or because an old one was served.

mod again;
mod background;
mod counts;
mod same_answer;
mod sampling;

pub(crate) use background::Background;
pub(crate) use counts::Counts;
pub(crate) use sampling::Sampling;
