use crate::sync::{Mutex, lock};
use ecm_pool::Workers;
use std::{
    collections::{HashSet, VecDeque},
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};
#[cfg(not(shuttle))]
use std::{
    sync::{Condvar, PoisonError},
    time::Duration,
};

type Task = Box<dyn FnOnce() + Send>;

/// What is done for nobody in particular: one after the other, on a thread that is there while there is something to do.
///
/// Bounded: who asks for more is refused. A task that panics is over; the others go on. What nobody waits for (a task
/// without a number) may be done up to [`NAP`] later, together with what comes meanwhile.
///
/// # Concurrency
/// One lock, held for a few instructions, never while a task runs.
pub(crate) struct Background {
    desk: Arc<Desk>,
    workers: Arc<dyn Workers>,
}

#[derive(Default)]
struct Desk {
    state: Mutex<State>,
    #[cfg(not(shuttle))]
    hurry: Condvar,
}

#[derive(Default)]
struct State {
    tasks: VecDeque<(Option<u64>, Task)>,
    /// Those with a number that have not ended.
    numbers: HashSet<u64>,
    /// Whether somebody works, and will look for tasks again before it ends.
    works: bool,
}

/// How long whoever works stays when nothing is left to be done. To wake a thread takes microseconds of the one who has
/// a hit compared, who got that hit in a tenth of one; at a million hits a second a thousand are compared.
#[cfg(not(shuttle))]
const NAP: Duration = Duration::from_millis(10);

/// How many tasks may wait.
const MOST: usize = 64;

impl Background {
    pub(crate) fn new(workers: Arc<dyn Workers>) -> Self {
        Self { desk: Arc::default(), workers }
    }

    /// Whether a task of this number has not ended yet.
    pub(crate) fn has(&self, number: u64) -> bool {
        lock(&self.desk.state).numbers.contains(&number)
    }

    /// Has a task done soon, unless one of the same number has not ended yet; answers whether one will be done.
    pub(crate) fn ask(&self, number: Option<u64>, task: Task) -> bool {
        let mut state = lock(&self.desk.state);
        if number.is_some_and(|number| state.numbers.contains(&number)) {
            return true;
        }
        if state.tasks.len() >= MOST {
            return false;
        }
        state.numbers.extend(number);
        state.tasks.push_back((number, task));
        if std::mem::replace(&mut state.works, true) {
            drop(state);
            if number.is_some() {
                self.desk.hurry();
            }
            return true;
        }
        drop(state);
        let desk = Arc::clone(&self.desk);
        let hired = self.workers.run(Box::new(move || desk.work()));
        if !hired {
            self.desk.give_up();
        }
        hired
    }
}

impl Desk {
    fn work(&self) {
        loop {
            let Some((number, task)) = self.next() else { return };
            // The hook of panics has told of it; nobody waits for the task.
            let _panicked = catch_unwind(AssertUnwindSafe(task));
            if let Some(number) = number {
                lock(&self.state).numbers.remove(&number);
            }
        }
    }

    /// The next task; `None` if there was none for a while, and whoever works goes.
    fn next(&self) -> Option<(Option<u64>, Task)> {
        let mut state = lock(&self.state);
        #[cfg(not(shuttle))]
        if state.tasks.is_empty() {
            state = self.hurry.wait_timeout(state, NAP).unwrap_or_else(PoisonError::into_inner).0;
        }
        let next = state.tasks.pop_front();
        state.works = next.is_some();
        next
    }

    /// Somebody will ask soon for what was asked to be done.
    fn hurry(&self) {
        #[cfg(not(shuttle))]
        self.hurry.notify_one();
    }

    /// There is no thread to be had.
    fn give_up(&self) {
        let mut state = lock(&self.state);
        let State { tasks, .. } = std::mem::take(&mut *state);
        drop(state);
        // They may be the last to hold what they were to work on.
        drop(tasks);
    }
}

impl fmt::Debug for Background {
    /// By hand: tasks cannot be printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Background").field("waiting", &lock(&self.desk.state).tasks.len()).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;
    use std::sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc::channel,
    };

    /// Nobody works before it is told to.
    #[derive(Default)]
    struct Lazy(Mutex<Vec<Task>>, AtomicUsize);

    impl fmt::Debug for Lazy {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Lazy")
        }
    }

    impl Workers for Lazy {
        fn run(&self, work: Task) -> bool {
            lock(&self.0).push(work);
            self.1.fetch_add(1, Ordering::SeqCst);
            true
        }
    }

    impl Lazy {
        fn work(&self) {
            let work = std::mem::take(&mut *lock(&self.0));
            work.into_iter().for_each(|work| work());
        }
    }

    fn counting(ran: &Arc<AtomicUsize>) -> Task {
        let ran = Arc::clone(ran);
        Box::new(move || {
            ran.fetch_add(1, Ordering::SeqCst);
        })
    }

    #[test]
    fn what_is_too_much_is_refused_and_everything_else_is_done_once_by_one_worker() {
        let (lazy, ran) = (Arc::new(Lazy::default()), Arc::new(AtomicUsize::new(0)));
        let background = Background::new(Arc::<Lazy>::clone(&lazy));
        let taken = (0..2 * MOST).filter(|_| background.ask(None, counting(&ran))).count();
        assert_eq!((taken, ran.load(Ordering::SeqCst), lazy.1.load(Ordering::SeqCst)), (MOST, 0, 1));
        lazy.work();
        assert_eq!(ran.load(Ordering::SeqCst), MOST);
        assert!(background.ask(None, counting(&ran)), "there is room again, and somebody comes for it");
        lazy.work();
        assert_eq!((ran.load(Ordering::SeqCst), lazy.1.load(Ordering::SeqCst)), (MOST + 1, 2));
    }

    #[test]
    fn what_has_a_number_is_done_once_until_it_has_ended() {
        let (lazy, ran) = (Arc::new(Lazy::default()), Arc::new(AtomicUsize::new(0)));
        let background = Background::new(Arc::<Lazy>::clone(&lazy));
        for round in 1..=3 {
            assert!((0..10).all(|_| background.ask(Some(7), counting(&ran))) && background.has(7));
            assert!(!background.has(8));
            lazy.work();
            assert_eq!((ran.load(Ordering::SeqCst), background.has(7)), (round, false));
        }
    }

    #[test]
    fn a_task_that_panics_takes_no_other_along() {
        let (lazy, ran) = (Arc::new(Lazy::default()), Arc::new(AtomicUsize::new(0)));
        let background = Background::new(Arc::<Lazy>::clone(&lazy));
        assert!(background.ask(Some(1), Box::new(|| panic!("as it should"))));
        assert!(background.ask(None, counting(&ran)));
        lazy.work();
        assert_eq!((ran.load(Ordering::SeqCst), background.has(1)), (1, false));
    }

    #[test]
    fn where_there_is_no_thread_nothing_is_kept_for_later() {
        #[derive(Debug)]
        struct Nobody;
        impl Workers for Nobody {
            fn run(&self, _work: Task) -> bool {
                false
            }
        }
        let background = Background::new(Arc::new(Nobody));
        let (held, dropped) = channel::<()>();
        assert!(!background.ask(Some(1), Box::new(move || drop(held))));
        assert!(dropped.recv().is_err() && !background.has(1), "the task is gone, with all that it held");
    }
}
