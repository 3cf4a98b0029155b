use crate::{Caller, Line, Problem, Record, Shape, caller, syncs::Syncs};
use std::time::Duration;
use tokio::runtime::Handle;

/// A system in a case, which takes its turns.
pub trait Contestant {
    /// The name of the system.
    fn system(&self) -> &str;

    /// Works for about so long.
    ///
    /// # Errors
    /// The system does not answer any more.
    fn round(&mut self, length: Duration) -> Result<(), Problem>;

    /// Forgets what was measured so far: the warm-up is over.
    ///
    /// # Errors
    /// The system does not answer any more.
    fn forget(&mut self) -> Result<(), Problem>;

    /// The lines of all rounds.
    ///
    /// # Errors
    /// The system does not answer any more.
    fn finish(self: Box<Self>) -> Result<Vec<Line>, Problem>;
}

/// Callers of one system in this process.
#[derive(Debug)]
pub struct Contest<C> {
    suite: String,
    system: String,
    runtime: Handle,
    shape: Shape,
    batch: u32,
    callers: Vec<C>,
    /// What the lines of each caller are called; callers of one label are told as one.
    labels: Vec<&'static str>,
    records: Vec<(&'static str, Record)>,
    conditions: Vec<Line>,
}

impl<C: Caller> Contest<C> {
    /// These callers, each on a thread of its own, all told as one.
    pub fn new(suite: &str, case: &'static str, system: &str, runtime: &Handle, callers: Vec<C>) -> Self {
        Self {
            suite: suite.into(),
            system: system.into(),
            runtime: runtime.clone(),
            shape: Shape::Threads,
            batch: 1,
            labels: vec![case; callers.len()],
            callers,
            records: Vec::new(),
            conditions: Vec::new(),
        }
    }

    /// Where they run.
    #[must_use]
    pub fn shape(mut self, shape: Shape) -> Self {
        self.shape = shape;
        self
    }

    /// How many calls are timed together, for calls that are as short as a look at the clock.
    #[must_use]
    pub fn batch(mut self, batch: u32) -> Self {
        self.batch = batch;
        self
    }

    pub(crate) fn labels(mut self, labels: Vec<&'static str>) -> Self {
        self.labels = labels;
        self
    }

    pub(crate) fn conditions(mut self, conditions: Vec<Line>) -> Self {
        self.conditions = conditions;
        self
    }
}

impl<C: Caller> Contestant for Contest<C> {
    fn system(&self) -> &str {
        &self.system
    }

    fn round(&mut self, length: Duration) -> Result<(), Problem> {
        let syncs = Syncs::so_far();
        let (records, elapsed) = caller::run(&self.runtime, self.shape, &mut self.callers, length, self.batch);
        let syncs = Syncs::so_far().since(syncs);
        let mut seen = Vec::new();
        for (label, record) in self.labels.iter().zip(&records) {
            let index = self.records.iter().position(|(known, _)| known == label).unwrap_or_else(|| {
                self.records.push((label, Record::default()));
                self.records.len() - 1
            });
            let whole = &mut self.records[index].1;
            whole.merge(record);
            if !seen.contains(label) {
                seen.push(label);
                whole.ran(elapsed);
                whole.syncs.add(syncs);
            }
        }
        Ok(())
    }

    fn forget(&mut self) -> Result<(), Problem> {
        self.records.clear();
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Vec<Line>, Problem> {
        let Self { suite, system, runtime, batch, callers, records, mut conditions, .. } = *self;
        // Some systems close their connections by the runtime of the thread that drops them.
        let entered = runtime.enter();
        drop(callers);
        drop(entered);
        conditions.extend(records.iter().map(|(case, record)| {
            let line = record.line(&suite, case, &system);
            if batch > 1 { line.with("batch", batch) } else { line }
        }));
        Ok(conditions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::runtime::Runtime;

    struct FailingAtFirst(u64);

    impl Caller for FailingAtFirst {
        async fn call(&mut self) -> Result<(), String> {
            self.0 += 1;
            tokio::task::yield_now().await;
            if self.0 == 1 { Err("the first one fails".into()) } else { Ok(()) }
        }
    }

    fn contest(runtime: &Runtime, shape: Shape) -> Box<Contest<FailingAtFirst>> {
        let callers = (0..4).map(|_| FailingAtFirst(0)).collect();
        let contest = Contest::new("read", "beside", "x", runtime.handle(), callers).shape(shape);
        Box::new(contest.labels(vec!["reads", "writes", "writes", "writes"]))
    }

    #[test]
    fn callers_of_one_label_are_told_as_one() {
        let runtime = Runtime::new().unwrap();
        for shape in [Shape::Threads, Shape::Tasks] {
            let mut contest = contest(&runtime, shape);
            contest.round(Duration::from_millis(2)).unwrap();
            contest.round(Duration::from_millis(2)).unwrap();
            let lines = contest.finish().unwrap();
            let told: Vec<_> = lines.iter().map(|line| (&*line.case, line.errors)).collect();
            assert_eq!(told, [("reads", Some(1)), ("writes", Some(3))], "{shape:?}");
        }
    }

    #[test]
    fn the_warm_up_is_forgotten() {
        let runtime = Runtime::new().unwrap();
        let mut contest = contest(&runtime, Shape::Threads);
        contest.round(Duration::from_millis(2)).unwrap();
        contest.forget().unwrap();
        contest.round(Duration::from_millis(2)).unwrap();
        assert!(contest.finish().unwrap().iter().all(|line| line.errors == Some(0) && line.ops_per_s > Some(0.0)));
    }
}
