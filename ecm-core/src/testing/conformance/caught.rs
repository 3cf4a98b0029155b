use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// Runs the suite over an implementation that breaks each promise in turn. It must fail each time, and
/// by that very promise.
pub(super) fn each_is_caught(promises: &[&'static str], suite: impl Fn(&'static str)) {
    for promise in promises {
        let panic = catch_unwind(AssertUnwindSafe(|| suite(promise)));
        let panic = panic.expect_err(&format!("nothing has caught what breaks {promise:?}"));
        let message = words(&*panic);
        assert!(message.starts_with(promise), "what breaks {promise:?} was caught by another promise: {message}");
    }
}

fn words(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
        (Some(words), _) => words,
        (None, Some(words)) => words,
        (None, None) => "a panic without words",
    }
}
