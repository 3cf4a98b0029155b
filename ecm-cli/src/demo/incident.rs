use super::{damage::Damage, load::Load};
use crate::{
    latency::{Figures, rate, span},
    problem::Problem,
};
use ecm::core::{BreakerState, Event, Interest, Observer};
use serde::Serialize;
use std::{
    fmt,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// When the replica breaks and when it is mended, as shares of the load's duration.
const BREAKS_AT: f64 = 0.4;
const MENDED_AT: f64 = 0.7;

/// An observer that remembers what became of the replica, and of the reads that met it.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch(Arc<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// Reads that failed on one database and were answered by another.
    rerouted: AtomicU64,
    breaker: Mutex<Vec<(Instant, BreakerState)>>,
}

impl Observer for Watch {
    fn interest(&self) -> Interest {
        Interest::CALLS | Interest::BREAKERS
    }

    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Call(call) if call.attempts > 1 && call.error.is_none() => {
                self.0.rerouted.fetch_add(1, Ordering::Relaxed);
            }
            Event::Breaker { state, .. } => {
                self.0.breaker.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), *state));
            }
            _ => {}
        }
    }
}

impl Watch {
    /// When the breaker first was in a state, from this moment on.
    fn first(&self, wanted: BreakerState, from: Instant) -> Option<Duration> {
        let seen = self.0.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().find(|(at, state)| *state == wanted && *at >= from).map(|(at, _)| *at - from)
    }
}

/// Garbage in the replica's file while the load runs, and its mending.
#[derive(Debug)]
pub(super) struct Incident<'a> {
    file: &'a Path,
    watch: &'a Watch,
    breaks: Duration,
    mended: Duration,
    state: State,
    /// What was measured while the replica was whole, broken, and whole again.
    phases: [Load; 3],
}

#[derive(Debug)]
enum State {
    Whole,
    Broken(Damage, Instant),
    Mended { broken: Instant, mended: Instant },
    Failed(Problem),
}

/// What the incident cost.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Cost {
    /// Reads that met the damage and were answered by the primary.
    pub(super) rerouted: u64,
    /// From the damage to the opening of the breaker; `None` if it stayed closed.
    pub(super) opened_after_ms: Option<f64>,
    /// From the mending to the closing of the breaker; `None` if the load ended before.
    pub(super) closed_after_ms: Option<f64>,
    /// All calls while the replica was whole, broken, and whole again.
    pub(super) before: Figures,
    pub(super) during: Figures,
    pub(super) after: Figures,
    /// Calls that failed while it was broken.
    pub(super) errors: u64,
    /// What `PRAGMA integrity_check` says of the replica at the end.
    pub(super) integrity: String,
}

impl<'a> Incident<'a> {
    pub(super) fn new(file: &'a Path, watch: &'a Watch, seconds: Duration) -> Self {
        let (breaks, mended) = (seconds.mul_f64(BREAKS_AT), seconds.mul_f64(MENDED_AT));
        Self { file, watch, breaks, mended, state: State::Whole, phases: Default::default() }
    }

    /// Takes in what was measured since the last tick, then does what is due; answers what it did.
    pub(super) fn tick(&mut self, elapsed: Duration, since: &Load) -> Option<&'static str> {
        let phase = match self.state {
            State::Whole | State::Failed(_) => 0,
            State::Broken(..) => 1,
            State::Mended { .. } => 2,
        };
        self.phases[phase].merge(since.clone());
        self.phases[phase].elapsed += since.elapsed;
        match &self.state {
            State::Whole if elapsed >= self.breaks => self.break_it(),
            State::Broken(..) if elapsed >= self.mended => self.mend(),
            _ => None,
        }
    }

    fn break_it(&mut self) -> Option<&'static str> {
        let at = Instant::now();
        match Damage::of(self.file) {
            Ok(damage) => {
                self.state = State::Broken(damage, at);
                Some("garbage in every page of the replica: reads that meet it go to the primary")
            }
            Err(error) => self.fail(format_args!("the replica cannot be damaged: {error}")),
        }
    }

    fn mend(&mut self) -> Option<&'static str> {
        let State::Broken(damage, broken) = std::mem::replace(&mut self.state, State::Whole) else { return None };
        match damage.mend() {
            Ok(()) => {
                self.state = State::Mended { broken, mended: Instant::now() };
                Some("the replica is mended: its breaker tries it again by and by")
            }
            Err(error) => self.fail(format_args!("the replica cannot be mended: {error}")),
        }
    }

    /// Told at the end, as the reason why the run has failed.
    fn fail(&mut self, line: fmt::Arguments<'_>) -> Option<&'static str> {
        self.state = State::Failed(Problem::failure(line));
        None
    }

    /// Mends what is still broken, and tells what it cost; `None` if the load ended before anything broke.
    pub(super) fn end(mut self, integrity: impl FnOnce() -> Result<String, Problem>) -> Result<Option<Cost>, Problem> {
        let (broken, mended) = match self.state {
            State::Whole => return Ok(None),
            State::Failed(problem) => return Err(problem),
            State::Mended { broken, mended } => (broken, mended),
            State::Broken(damage, broken) => {
                let failed = |error| Problem::failure(format_args!("the replica cannot be mended: {error}"));
                damage.mend().map_err(failed)?;
                (broken, Instant::now())
            }
        };
        let ms = |span: Duration| span.as_secs_f64() * 1e3;
        let [before, during, after] = self.phases.each_mut().map(|load| load.total().figures(load.elapsed));
        Ok(Some(Cost {
            rerouted: self.watch.0.rerouted.load(Ordering::Relaxed),
            opened_after_ms: self.watch.first(BreakerState::Open, broken).map(ms),
            closed_after_ms: self.watch.first(BreakerState::Closed, mended).map(ms),
            before,
            during,
            after,
            errors: self.phases[1].errors.count(),
            integrity: integrity()?,
        }))
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rerouted, errors, integrity, .. } = self;
        let ms = |span: Option<f64>, never: &str| span.map_or_else(|| never.into(), |ms| format!("after {ms:.1} ms"));
        let opened = ms(self.opened_after_ms, "never");
        let closed = ms(self.closed_after_ms, "not within the load");
        writeln!(
            f,
            "garbage in the replica: {rerouted} reads met it and were answered by the primary, {errors} calls failed;"
        )?;
        writeln!(
            f,
            "  its breaker opened {opened}; mended, the replica was taken back {closed}; integrity {integrity}"
        )?;
        for (when, figures) in [("whole", &self.before), ("broken", &self.during), ("mended", &self.after)] {
            let (rate, p50, p99) = (rate(figures.per_second), span(figures.p50_ns), span(figures.p99_ns));
            writeln!(f, "  {when:<6} {rate:>9} calls a second, p50 {p50}, p99 {p99}, max {}", span(figures.max_ns))?;
        }
        Ok(())
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_replica_that_could_not_be_mended_is_not_said_to_be() {
        let watch = Watch::default();
        let mut incident = Incident::new(Path::new("none"), &watch, Duration::ZERO);
        let fails = Command::new("false").stdin(Stdio::piped()).spawn().unwrap();
        incident.state = State::Broken(Damage::by(fails), Instant::now());
        assert_eq!(incident.tick(Duration::ZERO, &Load::default()), None);
        let problem = incident.end(|| Ok("ok".into())).unwrap_err();
        assert!(problem.to_string().contains("cannot be mended"), "{problem}");
    }
}
