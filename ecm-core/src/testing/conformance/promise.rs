use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// One thing that every implementation of a trait keeps to. `M` makes the subject.
pub(super) struct Promise<M: ?Sized> {
    /// A sentence whose subject is the implementation.
    pub(super) name: &'static str,
    /// What was seen instead, if it is broken.
    pub(super) holds: fn(&M) -> Result<(), String>,
}

/// Holds what `make` makes to each of the promises.
///
/// # Panics
/// If some are broken, with the name of each and what was seen. A panic of the subject breaks the
/// promise that was being looked at.
#[track_caller]
pub(super) fn hold<'a, M: ?Sized + 'a>(what: &str, promises: impl Iterator<Item = &'a Promise<M>>, make: &M) {
    let broken = promises.filter_map(|promise| {
        let seen = match catch_unwind(AssertUnwindSafe(|| (promise.holds)(make))) {
            Ok(kept) => kept.err()?,
            Err(panic) => format!("it panicked: {}", message(&*panic)),
        };
        Some(format!("\n  it {}: {seen}", promise.name))
    });
    let broken: Vec<_> = broken.collect();
    assert!(broken.is_empty(), "this {what} breaks what every {what} promises:{}", broken.concat());
}

/// `seen`, unless `kept`.
pub(super) fn ensure(kept: bool, seen: impl FnOnce() -> String) -> Result<(), String> {
    if kept { Ok(()) } else { Err(seen()) }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}

/// Holds a suite to its promises: each deliberately wrong subject is caught, by the promise it breaks.
#[cfg(test)]
pub(super) fn each_is_caught<W, M: ?Sized>(
    promises: &[Promise<M>],
    wrong: impl IntoIterator<Item = (W, &'static str)>,
    suite: impl Fn(W),
) {
    let mut left: Vec<_> = promises.iter().map(|promise| promise.name).collect();
    for (subject, name) in wrong {
        let at = left.iter().position(|&other| other == name).expect("a promise that no other wrong one breaks");
        left.remove(at);
        let caught = catch_unwind(AssertUnwindSafe(|| suite(subject))).expect_err(name);
        let message = message(&*caught);
        assert!(message.contains(&format!("\n  it {name}: ")), "{name:?} is not named in: {message}");
    }
    assert!(left.is_empty(), "nothing wrong is known that breaks {left:?}");
}
