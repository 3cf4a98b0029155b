use std::time::Duration;

/// Whether a caller may be overtaken while it is being woken up.
///
/// Waking a thread takes some microseconds, in which a connection that was handed to it lies idle.
/// Strict order spends them; the others let whoever runs already have it. In every setting nobody
/// overtakes those who stand in the queue, and one who was overtaken keeps its rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Fairness {
    /// First come, first served: nobody is overtaken, except by one who began to ask before it queued.
    Strict,
    /// As [`Free`](Self::Free) until a caller has waited this long, then as [`Strict`](Self::Strict).
    Bounded(#[cfg_attr(feature = "serde", serde(with = "crate::seconds"))] Duration),
    /// What is on its way to a caller goes to whoever asks before that caller runs. Nothing bounds how
    /// often that happens.
    Free,
}
