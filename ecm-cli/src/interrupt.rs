use crate::problem::Problem;
use std::sync::atomic::{AtomicBool, Ordering};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// The exit code of a run that Ctrl-C has ended, as shells have it: 128 + SIGINT.
pub(crate) const EXIT_CODE: u8 = 130;

/// Makes Ctrl-C (and SIGTERM) a wish to end, which [`requested`] shows. A second one ends at once.
pub(crate) fn install() -> Result<(), Problem> {
    ctrlc::set_handler(|| {
        if REQUESTED.swap(true, Ordering::Relaxed) {
            std::process::exit(EXIT_CODE.into());
        }
    })
    .map_err(|error| Problem::failure(format_args!("cannot listen for Ctrl-C: {error}")))
}

/// Whether somebody wants the run to end.
pub(crate) fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}
