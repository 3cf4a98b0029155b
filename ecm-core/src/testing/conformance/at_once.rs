use std::{
    panic,
    sync::Barrier,
    thread::{self, ScopedJoinHandle},
};

/// Runs this on so many threads, which begin together; the first panic is this thread's.
pub(super) fn at_once(threads: u64, work: impl Fn(u64) + Sync) {
    let together = Barrier::new(usize::try_from(threads).expect("a few"));
    thread::scope(|scope| {
        let (together, work) = (&together, &work);
        let begin = |thread| {
            scope.spawn(move || {
                together.wait();
                work(thread);
            })
        };
        let running: Vec<_> = (0..threads).map(begin).collect();
        let ended: Vec<_> = running.into_iter().map(ScopedJoinHandle::join).collect();
        if let Some(panic) = ended.into_iter().find_map(Result::err) {
            panic::resume_unwind(panic);
        }
    });
}
