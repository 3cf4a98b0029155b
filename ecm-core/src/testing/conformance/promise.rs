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

/// The promises of a suite that sees several of them at work together: a constant each, whose text begins the panic of
/// whoever breaks it, and all of them as `PROMISES`.
macro_rules! promises {
    ($($name:ident = $words:literal;)+) => {
        $(const $name: &str = $words;)+
        #[cfg(test)]
        const PROMISES: &[&str] = &[$($name),+];
    };
}

pub(super) use promises;

/// Holds a suite to its promises: for each there is something wrong that breaks it, and is caught by that very promise.
#[cfg(test)]
pub(super) fn each_is_caught<W>(
    promises: impl IntoIterator<Item = &'static str>,
    wrong: impl IntoIterator<Item = (W, &'static str)>,
    suite: impl Fn(W),
) {
    let mut left: Vec<_> = promises.into_iter().collect();
    for (subject, name) in wrong {
        let at = left.iter().position(|&other| other == name).expect("a promise that no other wrong one breaks");
        left.remove(at);
        let caught = catch_unwind(AssertUnwindSafe(|| suite(subject))).expect_err(name);
        let message = message(&*caught);
        let named = message.starts_with(name) || message.contains(&format!("\n  it {name}: "));
        assert!(named, "what breaks {name:?} was caught by another promise: {message}");
    }
    assert!(left.is_empty(), "nothing wrong is known that breaks {left:?}");
}

/// The same where what is wrong is made by the name of the promise that it breaks.
#[cfg(test)]
pub(super) fn each_is_caught_by_name(promises: &'static [&'static str], suite: impl Fn(&'static str)) {
    let wrong = promises.iter().map(|name| (*name, *name));
    each_is_caught(promises.iter().copied(), wrong, suite);
}
