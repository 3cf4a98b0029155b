use crate::problem::Problem;
use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

static REQUESTED: AtomicBool = AtomicBool::new(false);
static STOPS: Mutex<Vec<Box<dyn Fn() + Send>>> = Mutex::new(Vec::new());

/// The exit code of a run that Ctrl-C has ended, as shells have it: 128 + SIGINT.
pub(crate) const EXIT_CODE: u8 = 130;

/// Makes Ctrl-C (and SIGTERM) a wish to end, which [`requested`] shows. A second one ends at once.
pub(crate) fn install() -> Result<(), Problem> {
    ctrlc::set_handler(|| {
        if REQUESTED.swap(true, Ordering::Relaxed) {
            std::process::exit(EXIT_CODE.into());
        }
        STOPS.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(|stop| stop());
    })
    .map_err(|error| Problem::failure(format_args!("cannot listen for Ctrl-C: {error}")))
}

/// Runs `stop`, on another thread, as soon as somebody wants the run to end: it stops what may run for
/// long without looking at [`requested`]. It may be called more than once.
pub(crate) fn at_request(stop: impl Fn() + Send + 'static) {
    let mut stops = STOPS.lock().unwrap_or_else(PoisonError::into_inner);
    if requested() {
        stop();
    }
    stops.push(Box::new(stop));
}

/// Whether somebody wants the run to end.
pub(crate) fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}
