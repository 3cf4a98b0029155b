use crate::pool::Loans;
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};
use tokio::runtime::Handle;
use workload::{Caller, Contest, Contestant, Line, Problem};

/// How long a loan is held while fairness is measured. The holder sleeps, which takes about 0.05 ms longer:
/// one that spins would keep callers from reaching the pool's queue, who would then look overtaken.
const HOLD: Duration = Duration::from_micros(50);

/// The part of a round in which fairness is measured, of ten.
const TENTHS: u32 = 4;

/// Who waits since when, and how often somebody who came later was served before.
#[derive(Debug)]
struct Board {
    arrivals: AtomicU64,
    callers: Vec<Place>,
    loans: AtomicU64,
    overtakes: AtomicU64,
    overtakes_max: AtomicU64,
    longest_wait_ns: AtomicU64,
    held_ns: AtomicU64,
    /// The most overtakes and the longest wait of each round.
    rounds: Mutex<Vec<(u64, u64)>>,
}

/// One caller on the board.
#[derive(Debug, Default)]
struct Place {
    /// The number of the arrival that waits; 0 while none does.
    waiting: AtomicU64,
    overtaken: AtomicU64,
}

impl Board {
    fn new(callers: usize) -> Self {
        Self {
            arrivals: AtomicU64::new(0),
            callers: (0..callers).map(|_| Place::default()).collect(),
            loans: AtomicU64::new(0),
            overtakes: AtomicU64::new(0),
            overtakes_max: AtomicU64::new(0),
            longest_wait_ns: AtomicU64::new(0),
            held_ns: AtomicU64::new(0),
            rounds: Mutex::default(),
        }
    }

    fn arrive(&self, caller: usize) -> u64 {
        let place = &self.callers[caller];
        place.overtaken.store(0, SeqCst);
        let number = self.arrivals.fetch_add(1, SeqCst) + 1;
        place.waiting.store(number, SeqCst);
        number
    }

    fn granted(&self, caller: usize, number: u64, waited: Duration) {
        let mine = &self.callers[caller];
        mine.waiting.store(0, SeqCst);
        for place in &self.callers {
            let waiting = place.waiting.load(SeqCst);
            if waiting != 0 && waiting < number {
                place.overtaken.fetch_add(1, SeqCst);
            }
        }
        let overtaken = mine.overtaken.load(SeqCst);
        self.loans.fetch_add(1, SeqCst);
        self.overtakes.fetch_add(overtaken, SeqCst);
        self.overtakes_max.fetch_max(overtaken, SeqCst);
        self.longest_wait_ns.fetch_max(waited.as_nanos() as u64, SeqCst);
    }

    fn clear(&self) {
        let Self { loans, overtakes, overtakes_max, longest_wait_ns, held_ns, .. } = self;
        for figure in [loans, overtakes, overtakes_max, longest_wait_ns, held_ns] {
            figure.store(0, SeqCst);
        }
        self.rounds.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// A round is over: the worst of it is kept apart.
    fn end_round(&self) {
        let worst = (self.overtakes_max.swap(0, SeqCst), self.longest_wait_ns.swap(0, SeqCst));
        self.rounds.lock().unwrap_or_else(PoisonError::into_inner).push(worst);
    }
}

struct Holder<L> {
    pool: Arc<L>,
    board: Arc<Board>,
    number: usize,
}

impl<L: Loans> Caller for Holder<L> {
    async fn call(&mut self) -> Result<(), String> {
        let arrival = self.board.arrive(self.number);
        let asked = Instant::now();
        let held = async {
            let granted = Instant::now();
            self.board.granted(self.number, arrival, granted - asked);
            thread::sleep(HOLD);
            self.board.held_ns.fetch_add(granted.elapsed().as_nanos() as u64, SeqCst);
        };
        self.pool.hold(held).await
    }
}

/// A contestant of which fairness is measured too: a part of each round, in which loans are held for a while.
pub(crate) struct Fair<L: Loans> {
    plain: Box<dyn Contestant>,
    holders: Contest<Holder<L>>,
    board: Arc<Board>,
}

impl<L: Loans> Fair<L> {
    pub(crate) fn new(plain: Box<dyn Contestant>, pool: &Arc<L>, callers: usize, runtime: &Handle) -> Self {
        let board = Arc::new(Board::new(callers));
        let holder = |number| Holder { pool: Arc::clone(pool), board: Arc::clone(&board), number };
        let holders = Contest::new("pool", "held", plain.system(), runtime, (0..callers).map(holder).collect());
        Self { plain, holders, board }
    }
}

impl<L: Loans> Contestant for Fair<L> {
    fn system(&self) -> &str {
        self.plain.system()
    }

    fn round(&mut self, length: Duration) -> Result<(), Problem> {
        let held = length * TENTHS / 10;
        self.plain.round(length - held)?;
        self.holders.round(held)?;
        self.board.end_round();
        Ok(())
    }

    fn forget(&mut self) -> Result<(), Problem> {
        self.board.clear();
        self.holders.forget()?;
        self.plain.forget()
    }

    fn finish(self: Box<Self>) -> Result<Vec<Line>, Problem> {
        let loans = self.board.loans.load(SeqCst).max(1);
        let figure = |figure: &AtomicU64| figure.load(SeqCst);
        let mean = figure(&self.board.overtakes) as f64 / loans as f64;
        let rounds = std::mem::take(&mut *self.board.rounds.lock().unwrap_or_else(PoisonError::into_inner));
        let (overtakes, waits) = rounds.into_iter().unzip();
        let ((overtakes, most_overtakes), (wait, longest_wait)) = (middle_and_most(overtakes), middle_and_most(waits));
        let lines = self.plain.finish()?.into_iter();
        Ok(lines
            .map(|line| {
                line.with("held_loans", loans)
                    .with("held_mean_ns", figure(&self.board.held_ns) / loans)
                    .with("overtakes_mean", (mean * 1_000.0).round() / 1_000.0)
                    .with("overtakes_max_of_a_round", overtakes)
                    .with("overtakes_max", most_overtakes)
                    .with("longest_wait_of_a_round_ns", wait)
                    .with("longest_wait_ns", longest_wait)
            })
            .collect())
    }
}

/// The median, the lower one of two, and the greatest.
fn middle_and_most(mut figures: Vec<u64>) -> (u64, u64) {
    figures.sort_unstable();
    let middle = figures.len().saturating_sub(1) / 2;
    (figures.get(middle).copied().unwrap_or(0), figures.last().copied().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_arrival_that_is_served_first_overtakes_those_that_wait() {
        let board = Board::new(3);
        let (first, second, third) = (board.arrive(0), board.arrive(1), board.arrive(2));
        board.granted(2, third, Duration::from_nanos(5));
        board.granted(0, first, Duration::from_nanos(9));
        let again = board.arrive(0);
        board.granted(0, again, Duration::ZERO);
        board.granted(1, second, Duration::from_nanos(7));
        assert_eq!(
            board.overtakes_max.load(SeqCst),
            2,
            "the second caller was overtaken by the third, then by the first"
        );
        assert_eq!(board.overtakes.load(SeqCst), 3);
        assert_eq!(board.longest_wait_ns.load(SeqCst), 9);
    }

    #[test]
    fn first_come_first_served_overtakes_nobody() {
        let board = Board::new(2);
        for _ in 0..10 {
            let (first, second) = (board.arrive(0), board.arrive(1));
            board.granted(0, first, Duration::ZERO);
            board.granted(1, second, Duration::ZERO);
        }
        assert_eq!(board.overtakes.load(SeqCst), 0);
    }
}
