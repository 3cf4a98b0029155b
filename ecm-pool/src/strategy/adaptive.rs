use ecm_core::{PoolLoad, Sizing, Target, Time};
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

const PERIOD: Duration = Duration::from_secs(1);
/// How fast it believes in less load: a burst that comes back within some ten seconds finds its
/// connections. In more load it believes at once.
const FORGETTING: f64 = 0.1;
/// What is kept above the average, since arrivals are not evenly spread: so many times the square
/// root of it, which is the deviation of independent arrivals.
const HEADROOM: f64 = 2.0;
/// What is lent so many times in a row is a loan that lasts.
const LOOKS: usize = 10;
/// Less than this in use on average is nothing.
const NOTHING: f64 = 0.01;

/// Keeps as many connections as the load needs, by Little's law: what is in use on average is the rate
/// of loans times the time that each one lasts.
///
/// It believes in more load at once, in less only over some ten seconds, and changes its mind about
/// shrinking only by more than a fifth: so it does not oscillate around a load that does. Loans of many
/// seconds, of which the law learns late, count when they were lent ten times in a row that it looked.
/// Callers who wait are never kept from opening up to the configured maximum.
///
/// **When to use it:** when nothing is known of the load, or it changes over the day. It keeps what
/// the load needs open across pauses in which a small pool would have let it go, and lets it go when the
/// load has gone.
#[derive(Debug, Default)]
pub struct Adaptive(Mutex<Learned>);

#[derive(Clone, Copy, Debug, Default)]
struct Learned {
    /// When it last looked, and how many loans there had been.
    seen: Option<(Time, u64)>,
    /// What was lent when it looked the last times.
    lent: [u32; LOOKS],
    /// Connections in use, on average.
    in_use: f64,
    warm: u32,
}

impl Learned {
    fn look(&mut self, load: &PoolLoad, now: Time) {
        let Some((since, loans)) = self.seen else {
            self.seen = Some((now, load.loans));
            return;
        };
        let span = now.since(since);
        if span < PERIOD {
            return;
        }
        self.seen = Some((now, load.loans));
        let arrived = load.loans.saturating_sub(loans) as f64;
        let by_law = arrived / span.as_secs_f64() * load.held.as_secs_f64();
        // The law counts loans that have ended. Those that last longer are lent whenever it looks; what is
        // lent at one moment only is noise around what the law says.
        self.lent.rotate_right(1);
        self.lent[0] = load.lent;
        let lasting = self.lent.iter().min().map_or(0.0, |lent| f64::from(*lent));
        let in_use = by_law.max(lasting);
        if in_use >= self.in_use {
            self.in_use = in_use;
        } else {
            let periods = span.as_secs_f64() / PERIOD.as_secs_f64();
            let kept = (1.0 - FORGETTING).powf(periods);
            self.in_use = in_use + (self.in_use - in_use) * kept;
            if self.in_use < NOTHING {
                self.in_use = 0.0;
            }
        }
        let wanted = (self.in_use + HEADROOM * self.in_use.sqrt()).ceil() as u32;
        let shrinks = wanted.saturating_add((self.warm / 5).max(1)) < self.warm;
        if wanted > self.warm || shrinks || wanted == 0 {
            self.warm = wanted;
        }
    }
}

impl Sizing for Adaptive {
    fn target(&self, load: &PoolLoad, now: Time) -> Target {
        let mut learned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        learned.look(load, now);
        let warm = learned.warm.max(load.min_connections);
        Target::up_to(load.max_connections).warm(warm)
    }

    fn period(&self) -> Option<Duration> {
        Some(PERIOD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// A load of so many connections in use on average, second after second.
    struct Simulated {
        sizing: Adaptive,
        now: Time,
        loans: u64,
    }

    impl Simulated {
        fn new() -> Self {
            Self { sizing: Adaptive::default(), now: Time::START, loans: 0 }
        }

        fn second(&mut self, in_use: u64) -> u32 {
            const HELD: Duration = Duration::from_millis(10);
            self.now = self.now + PERIOD;
            self.loans += in_use * 100;
            let mut load = PoolLoad::new(50);
            (load.loans, load.held, load.min_connections) = (self.loans, HELD, 1);
            self.sizing.target(&load, self.now).warm
        }
    }

    #[test]
    fn follows_a_load_that_rises_bursts_and_falls() {
        let mut simulated = Simulated::new();
        assert_eq!(simulated.second(4), 1, "nothing is known after one look");
        let risen: Vec<_> = (1..=10).map(|in_use| simulated.second(in_use)).collect();
        assert!(risen.is_sorted() && risen[9] == 17, "{risen:?}");
        assert_eq!(simulated.second(40), 53, "a burst is believed at once");
        let fallen: Vec<_> = (0..60).map(|_| simulated.second(2)).collect();
        assert!(fallen.is_sorted_by(|a, b| a >= b) && fallen[0] >= 45, "{fallen:?}");
        assert!((5..=7).contains(&fallen[59]), "{fallen:?}");
        let idle: Vec<_> = (0..60).map(|_| simulated.second(0)).collect();
        assert_eq!(idle[59], 1);
    }

    #[test]
    fn does_not_oscillate_with_a_load_that_does() {
        let mut simulated = Simulated::new();
        (0..10).for_each(|_| assert!(simulated.second(8) > 0));
        let steady = simulated.second(10);
        let swinging: Vec<_> = (0..100).map(|second| simulated.second(if second % 2 == 0 { 8 } else { 10 })).collect();
        assert!(swinging.iter().all(|warm| *warm == steady), "{swinging:?}");
    }

    #[test]
    fn loans_that_last_are_counted_and_a_crowd_of_one_moment_is_not() {
        let sizing = Adaptive::default();
        let mut now = Time::START;
        let mut look = |lent| {
            now = now + PERIOD;
            let mut load = PoolLoad::new(50);
            load.lent = lent;
            sizing.target(&load, now).warm
        };
        assert_eq!([0, 0, 30, 0, 0, 30, 30, 30].map(&mut look), [0; 8]);
        let lasting = [4, 9, 4, 9, 7, 5, 4, 30, 9, 4].map(&mut look);
        assert_eq!((lasting[5], lasting[6]), (0, 8), "four for ever, and twice the deviation");
    }

    #[test]
    fn does_not_oscillate_around_a_steady_load_whose_arrivals_are_random() {
        const SEED: u64 = 7;
        let (sizing, mut random, mut load) = (Adaptive::default(), Random::new(SEED), PoolLoad::new(50));
        load.held = Duration::from_millis(20);
        let mut second = |now: u64| {
            // Four deviations of 400 independent arrivals to either side.
            let more = u64::try_from(random.part_of(Duration::from_nanos(160)).as_nanos()).unwrap();
            load.loans += 320 + more;
            // Between none and twice as many as on average.
            load.lent = u32::try_from(random.part_of(Duration::from_nanos(17)).as_nanos()).unwrap();
            sizing.target(&load, Time::START + Duration::from_secs(now)).warm
        };
        let warm: Vec<_> = (0..2_000).map(&mut second).collect();
        assert!(warm.is_sorted() && (14..=18).contains(&warm[1_999]), "seed {SEED}: {warm:?}");
    }
}
