use ecm_core::Time;
use std::{ops::RangeInclusive, time::Duration};

/// A log that is so many times longer than its threshold is cut off, once it is empty, to give the disk back.
const LONG: u32 = 4;

/// So many pages in parts of the threshold may be moved while those who commit wait.
const REMAINDER: u32 = 8;

/// How often what is left is moved beside those who commit before they have to wait.
const ROUNDS: u32 = 4;

/// The pause after attempts that were in vain doubles from one to the other.
const IN_VAIN: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(1));

/// As above, after a failure of the disk.
const FAILED: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(5));

/// After so many attempts in vain readers have to make room as well, while the log is long; not for ever,
/// because nobody can make somebody end who reads for long.
const PRESSED: RangeInclusive<u32> = 3..=10;

/// For how long it may be in vain before whoever stands in the way is named, and before those who
/// commit wait no more for what they cannot change.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// What a look at the log has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// How many frames it has.
    pub(crate) frames: u32,
    /// How many of them are in the file.
    pub(crate) backfilled: u32,
    /// Which log it is: another one after it was begun anew.
    pub(crate) log: u64,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Move frames into the file, beside everybody.
    Backfill,
    /// Move the last frames and wait for readers while those who commit wait, so that the log begins
    /// anew; cut it off as well?
    Empty { cut: bool },
    /// Ask for snapshots that are held, and wait for this long.
    Pause(Duration),
    /// Nothing until somebody calls.
    Rest,
}

/// How a step went, if it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// Somebody stood in the way.
    Busy,
}

/// How far the governor goes to keep a log short, and when it goes back.
///
/// Plain data. Frames are moved beside everybody first; only where commits follow each other so quickly, or
/// readers so closely, that the log would never be empty do those who commit wait for a moment. What is
/// in vain is tried again and again, ever more rarely.
#[derive(Debug)]
pub(crate) struct Escalation {
    threshold: u32,
    /// How often frames were moved since the log was last empty.
    rounds: u32,
    /// Attempts in a row that were in vain, and since when.
    vain: u32,
    vain_since: Option<Time>,
    failures: u32,
    pause: Option<Duration>,
    /// Which log all of this is about.
    log: Option<u64>,
    /// The log that was whole in the file when there was nothing to do: the next commit should begin it
    /// anew.
    rested_in: Option<u64>,
    /// What was there when it was emptied.
    emptied: Option<Seen>,
}

impl Seen {
    /// Whether all of it is in the file.
    pub(crate) fn is_whole(&self) -> bool {
        self.backfilled >= self.frames
    }
}

impl Escalation {
    pub(crate) fn new(threshold: u32) -> Self {
        Self {
            threshold,
            rounds: 0,
            vain: 0,
            vain_since: None,
            failures: 0,
            pause: None,
            log: None,
            rested_in: None,
            emptied: None,
        }
    }

    /// From how many frames on those who commit should wait, whatever is left: so late that what is moved beside them is
    /// mostly moved by then, on a slow disk too, and so early that the log stays below twice its threshold.
    pub(crate) fn high_water(threshold: u32) -> u32 {
        threshold.saturating_add(threshold / 4 * 3)
    }

    /// What is to be done about this log.
    pub(crate) fn next(&mut self, seen: Seen) -> Step {
        if self.log != Some(seen.log) {
            self.calm_down();
            self.log = Some(seen.log);
        }
        if let Some(pause) = self.pause.take() {
            return Step::Pause(pause);
        }
        if seen.frames < self.threshold || self.emptied == Some(seen) {
            self.calm_down();
            return Step::Rest;
        }
        if seen.is_whole() {
            if self.rested_in != Some(seen.log) {
                self.rested_in = Some(seen.log);
                return Step::Rest;
            }
            return self.empty(seen);
        }
        let left = seen.frames - seen.backfilled;
        let long = seen.frames >= Self::high_water(self.threshold);
        if long && PRESSED.contains(&self.vain) {
            return self.empty(seen);
        }
        if self.rounds == 0 || (left > self.threshold / REMAINDER && self.rounds < ROUNDS && !long) {
            return Step::Backfill;
        }
        self.empty(seen)
    }

    /// Takes note of how a step went.
    pub(crate) fn took(&mut self, step: Step, before: Seen, after: Seen, outcome: Outcome, now: Time) {
        self.failures = 0;
        let moved =
            after.log != before.log || after.backfilled >= before.frames || after.backfilled > before.backfilled;
        match (step, outcome) {
            (Step::Backfill, Outcome::Done) if moved => self.rounds += 1,
            (Step::Empty { .. }, Outcome::Done) => {
                self.calm_down();
                self.emptied = Some(after);
            }
            (Step::Backfill | Step::Empty { .. }, _) => {
                self.rounds = 0;
                self.vain = self.vain.saturating_add(1);
                self.vain_since.get_or_insert(now);
                self.pause = Some(longer(IN_VAIN, self.vain - 1));
            }
            (Step::Pause(_) | Step::Rest, _) => {}
        }
    }

    /// The disk has failed, or the log could not even be looked at.
    pub(crate) fn failed(&mut self) {
        self.rounds = 0;
        self.pause = Some(longer(FAILED, self.failures));
        self.failures = self.failures.saturating_add(1);
    }

    /// Whether it helps that those who commit wait.
    pub(crate) fn is_pressing(&self, now: Time) -> bool {
        self.failures == 0 && self.vain_since.is_none_or(|since| now.since(since) < PATIENCE)
    }

    /// For how long nothing is to be tried.
    pub(crate) fn pause(&self) -> Option<Duration> {
        self.pause
    }

    /// As [`pause`](Self::pause), for who keeps to it now.
    pub(crate) fn take_pause(&mut self) -> Option<Duration> {
        self.pause.take()
    }

    /// Since when it has been in vain.
    pub(crate) fn vain_since(&self) -> Option<Time> {
        self.vain_since
    }

    fn empty(&self, seen: Seen) -> Step {
        Step::Empty { cut: seen.frames >= self.threshold.saturating_mul(LONG) }
    }

    fn calm_down(&mut self) {
        let Self { failures, pause, log, .. } = *self;
        let pause = pause.filter(|_| failures > 0);
        *self = Self { failures, pause, log, ..Self::new(self.threshold) };
    }
}

fn longer((first, longest): (Duration, Duration), times: u32) -> Duration {
    first.saturating_mul(1 << times.min(16)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ecm_core::{Clock, testing::TestClock};
    use proptest::prelude::*;

    const THRESHOLD: u32 = 100;

    fn seen(frames: u32, backfilled: u32) -> Seen {
        Seen { frames, backfilled, log: 1 }
    }

    fn now() -> Time {
        Time::from_nanos(1)
    }

    #[test]
    fn a_log_that_was_moved_as_a_whole_waits_for_the_next_commit() {
        let mut escalation = Escalation::new(THRESHOLD);
        assert_eq!(escalation.next(seen(99, 0)), Step::Rest);
        assert_eq!(escalation.next(seen(100, 0)), Step::Backfill);
        escalation.took(Step::Backfill, seen(100, 0), seen(100, 100), Outcome::Done, now());
        assert_eq!(escalation.next(seen(100, 100)), Step::Rest);
        assert_eq!(escalation.next(Seen { log: 2, ..seen(2, 0) }), Step::Rest);
    }

    #[test]
    fn where_it_grows_all_the_same_commits_have_to_wait_and_a_long_one_is_cut_off() {
        let mut escalation = Escalation::new(THRESHOLD);
        escalation.next(seen(100, 0));
        escalation.took(Step::Backfill, seen(100, 0), seen(100, 100), Outcome::Done, now());
        assert_eq!(escalation.next(seen(100, 100)), Step::Rest);
        assert_eq!(escalation.next(seen(102, 100)), Step::Empty { cut: false });
        let mut escalation = Escalation::new(THRESHOLD);
        escalation.next(seen(400, 0));
        escalation.took(Step::Backfill, seen(400, 0), seen(450, 400), Outcome::Done, now());
        assert_eq!(escalation.next(seen(450, 400)), Step::Empty { cut: true });
        escalation.took(Step::Empty { cut: true }, seen(450, 400), seen(0, 0), Outcome::Done, now());
        assert_eq!(escalation.next(seen(0, 0)), Step::Rest);
    }

    #[test]
    fn what_commits_leave_behind_is_moved_beside_them_until_it_is_little_or_the_log_long() {
        let mut escalation = Escalation::new(THRESHOLD);
        for (before, after) in [(seen(100, 0), seen(115, 100)), (seen(115, 100), seen(130, 115))] {
            assert_eq!(escalation.next(before), Step::Backfill);
            escalation.took(Step::Backfill, before, after, Outcome::Done, now());
        }
        assert_eq!(escalation.next(seen(130, 120)), Step::Empty { cut: false });
        assert_eq!(escalation.next(seen(130, 115)), Step::Backfill);
        assert_eq!(escalation.next(seen(174, 115)), Step::Backfill);
        assert_eq!(escalation.next(seen(175, 115)), Step::Empty { cut: false });
    }

    #[test]
    fn what_is_in_vain_is_tried_ever_more_rarely_and_ends_with_a_new_log() {
        let (clock, mut escalation) = (TestClock::new(), Escalation::new(THRESHOLD));
        let mut pauses = Vec::new();
        for vain in 0..14 {
            let step = escalation.next(seen(500, 50));
            let presses = (3..=10).contains(&vain);
            assert_eq!(step, if presses { Step::Empty { cut: true } } else { Step::Backfill });
            let outcome = if presses { Outcome::Busy } else { Outcome::Done };
            escalation.took(step, seen(500, 50), seen(500, 50), outcome, clock.now());
            let Step::Pause(pause) = escalation.next(seen(500, 50)) else { panic!("no pause") };
            pauses.push(pause.as_millis());
            clock.advance(pause);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000, 1000, 1000, 1000]);
        assert!(!escalation.is_pressing(clock.now()), "nobody waits for what cannot be changed");
        assert_eq!(escalation.vain_since(), Some(Time::START));
        assert_eq!(escalation.next(Seen { log: 2, ..seen(3, 0) }), Step::Rest);
        assert!(escalation.is_pressing(clock.now()) && escalation.vain_since().is_none());
    }

    #[test]
    fn a_disk_that_fails_is_left_alone_for_longer_each_time_also_where_the_log_changes() {
        let mut escalation = Escalation::new(THRESHOLD);
        for (number, expected) in [10, 20, 40, 80].into_iter().enumerate() {
            escalation.failed();
            assert!(!escalation.is_pressing(now()));
            let log = number as u64;
            assert_eq!(escalation.next(Seen { log, ..seen(500, 0) }), Step::Pause(Duration::from_millis(expected)));
        }
        escalation.took(Step::Backfill, seen(500, 0), seen(500, 500), Outcome::Done, now());
        assert!(escalation.is_pressing(now()));
        escalation.failed();
        assert_eq!(escalation.pause(), Some(Duration::from_millis(10)));
    }

    /// What happens around a governor between two of its steps.
    #[derive(Clone, Copy, Debug)]
    struct Around {
        /// How many frames are committed, if commits do not wait.
        commits: u32,
        /// A reader that stands so many frames before the end of the log.
        reader: Option<u32>,
        fails: bool,
    }

    fn around() -> impl Strategy<Value = Around> {
        (0..40_u32, proptest::option::weighted(0.5, 0..60_u32), proptest::bool::weighted(0.1))
            .prop_map(|(commits, reader, fails)| Around { commits, reader, fails })
    }

    /// A log as SQLite keeps it, with one governor.
    struct Log {
        seen: Seen,
        clock: TestClock,
        escalation: Escalation,
    }

    impl Log {
        fn commit(&mut self, frames: u32) {
            if frames > 0 && self.seen.is_whole() && self.seen.frames > 0 {
                self.seen = Seen { frames: 0, backfilled: 0, log: self.seen.log + 1 };
            }
            self.seen.frames += frames;
        }

        /// One step, and what it was.
        fn step(&mut self, around: Around) -> Step {
            let before = self.seen;
            let step = self.escalation.next(before);
            let limit = before.frames.saturating_sub(around.reader.unwrap_or(0));
            let gone = around.reader.is_none();
            match step {
                Step::Pause(pause) => self.clock.advance(pause),
                Step::Rest => self.commit(around.commits),
                _ if around.fails => self.escalation.failed(),
                Step::Backfill | Step::Empty { .. } => {
                    self.seen.backfilled = self.seen.backfilled.max(limit);
                    let still = matches!(step, Step::Empty { .. });
                    let done = !still || (gone && self.seen.is_whole());
                    if matches!(step, Step::Empty { cut: true }) && done {
                        self.seen = Seen { frames: 0, backfilled: 0, log: before.log + 1 };
                    }
                    if !still {
                        // Those who commit do not wait, and cannot begin it anew while a reader is there.
                        self.seen.frames += around.commits;
                    }
                    let outcome = if done { Outcome::Done } else { Outcome::Busy };
                    self.escalation.took(step, before, self.seen, outcome, self.clock.now());
                }
            }
            step
        }
    }

    proptest! {
        #[test]
        fn whatever_happened_before_the_log_is_empty_soon_after_everybody_has_gone(
            before in proptest::collection::vec(around(), 0..200),
        ) {
            let clock = TestClock::new();
            let mut log = Log { seen: seen(0, 0), clock, escalation: Escalation::new(THRESHOLD) };
            for around in before {
                let step = log.step(around);
                if let Step::Pause(pause) = step {
                    prop_assert!(pause <= Duration::from_secs(5));
                }
            }
            // Commits go on; a log that is whole is begun anew by the next one.
            let calm = Around { commits: 3, reader: None, fails: false };
            let mut steps = 0;
            while log.seen.frames >= THRESHOLD {
                log.step(calm);
                log.commit(if log.seen.is_whole() { 3 } else { 0 });
                steps += 1;
                prop_assert!(steps < 20, "{:?}", log.escalation);
            }
            prop_assert_eq!(log.step(Around { commits: 0, ..calm }), Step::Rest);
        }

        #[test]
        fn while_the_disk_works_and_readers_go_the_log_stays_below_twice_its_threshold(
            commits in 0..12_u32,
            leave in proptest::collection::vec(0..10_u32, 300),
        ) {
            let clock = TestClock::new();
            let mut log = Log { seen: seen(0, 0), clock, escalation: Escalation::new(THRESHOLD) };
            for reader in leave {
                // Those who commit wait where the log is long.
                let waits = log.seen.frames >= Escalation::high_water(THRESHOLD);
                let reader = (reader > 4).then_some(reader);
                let around = Around { commits: if waits { 0 } else { commits }, reader, fails: false };
                log.step(around);
                prop_assert!(log.seen.frames < 2 * THRESHOLD, "{:?}", log.seen);
            }
        }
    }
}
