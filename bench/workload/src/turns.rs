use crate::{Contestant, Line, Problem};
use std::{
    io::{IsTerminal, Write, stderr},
    time::Duration,
};

/// How long each system works in a case, and in how many turns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// The time of one system in one case, all rounds together.
    pub time: Duration,
    /// The number of rounds.
    pub rounds: u32,
}

impl Plan {
    /// So many seconds, in eight rounds.
    ///
    /// # Errors
    /// No number of seconds between a hundredth and an hour.
    pub fn of_seconds(seconds: f64) -> Result<Self, Problem> {
        if (0.01..=3_600.0).contains(&seconds) {
            return Ok(Self { time: Duration::from_secs_f64(seconds), rounds: 8 });
        }
        Err(Problem(format!("--seconds {seconds} is not acceptable: between 0.01 and 3600")))
    }

    fn round(&self) -> Duration {
        self.time / self.rounds
    }
}

/// Lets all take turns: a warm-up of one round each, which is forgotten, then A B C, B C A, and so on, so that nobody
/// always comes after the same one. Tells on standard error where it is.
///
/// # Errors
/// The first system that does not answer any more.
pub fn take_turns(title: &str, plan: &Plan, mut contestants: Vec<Box<dyn Contestant>>) -> Result<Vec<Line>, Problem> {
    let shown = stderr().is_terminal();
    let tell = |round: u32, system: &str| {
        if shown {
            // Telling is a courtesy: a standard error that is closed stops nothing.
            let _ = write!(stderr(), "\r\x1b[K{title}: round {round} of {}, {system}", plan.rounds);
        }
    };
    if !shown {
        let (systems, rounds, each) = (contestants.len(), plan.rounds, plan.round());
        eprintln!("{title}: {rounds} rounds of {systems} systems, {each:.0?} each");
    }
    for round in 0..=plan.rounds {
        let first = round.saturating_sub(1) as usize % contestants.len().max(1);
        let (later, earlier) = contestants.split_at_mut(first);
        for contestant in earlier.iter_mut().chain(later) {
            tell(round, contestant.system());
            contestant.round(plan.round())?;
            if round == 0 {
                contestant.forget()?;
            }
        }
    }
    if shown {
        let _ = writeln!(stderr(), "\r\x1b[K{title}: done");
    }
    let lines = contestants.into_iter().map(Contestant::finish).collect::<Result<Vec<_>, _>>()?;
    Ok(lines.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{cell::RefCell, rc::Rc};

    struct Noting(&'static str, Rc<RefCell<String>>);

    impl Contestant for Noting {
        fn system(&self) -> &str {
            self.0
        }
        fn round(&mut self, _: Duration) -> Result<(), Problem> {
            self.1.borrow_mut().push_str(self.0);
            Ok(())
        }
        fn forget(&mut self) -> Result<(), Problem> {
            self.1.borrow_mut().push('-');
            Ok(())
        }
        fn finish(self: Box<Self>) -> Result<Vec<Line>, Problem> {
            Ok(vec![Line::empty("s", "c", self.0)])
        }
    }

    #[test]
    fn systems_take_turns_after_a_warm_up_that_is_forgotten() {
        let notes = Rc::new(RefCell::new(String::new()));
        let contestants = ["A", "B"].map(|name| Box::new(Noting(name, Rc::clone(&notes))) as Box<dyn Contestant>);
        let plan = Plan { time: Duration::from_secs(3), rounds: 3 };
        let lines = take_turns("s c", &plan, contestants.into()).unwrap();
        assert_eq!(*notes.borrow(), "A-B-ABBAAB");
        assert_eq!(lines.len(), 2);
    }

    #[test]
    fn an_absurd_number_of_seconds_is_refused() {
        for seconds in [0.0, -1.0, f64::NAN, f64::INFINITY, 3_601.0] {
            assert!(Plan::of_seconds(seconds).is_err(), "{seconds}");
        }
        assert_eq!(Plan::of_seconds(2.0).unwrap().round(), Duration::from_millis(250));
    }
}
