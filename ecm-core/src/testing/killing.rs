//! A process that is killed while it writes, again and again, and what it leaves.
//!
//! A test program runs itself: the test that kills names another test of the program, the victim, in which some
//! callers write and tell what was acknowledged to them. Each caller counts from 1, and writes each of its numbers
//! in two places by one transaction, so that half of one shows.
//!
//! ```no_run
//! use ecm_core::testing::{Random, killing::{self, Kills}, seed};
//! use std::{collections::BTreeMap, path::Path};
//! # fn stored(file: &Path) -> BTreeMap<i64, i64> { BTreeMap::new() }
//! # fn write(file: &Path, caller: i64, number: i64) {}
//!
//! // #[test]
//! fn the_victim() {
//!     let Some(file) = killing::file() else { return };
//!     for number in 1 + stored(&file).get(&0).unwrap_or(&0).. {
//!         write(&file, 0, number);
//!         killing::acknowledged(0, number);
//!     }
//! }
//!
//! // #[test]
//! fn nothing_that_was_acknowledged_is_lost() {
//!     let times = killing::times(100);
//!     Kills::of("the_victim").times(times).run("notes.db".as_ref(), &mut Random::new(seed()), stored);
//! }
//! ```

use super::random::Random;
use std::{
    collections::BTreeMap,
    env,
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

/// What the victim is told to work on: its presence makes a test the victim.
const FILE: &str = "ECM_VICTIM_FILE";

/// How many kills are asked for, instead of those of every day.
const TIMES: &str = "ECM_KILLS";

/// A process is killed after at most so many acknowledgements.
const MOST_ACKNOWLEDGED: u64 = 150;

/// And then at most so much later, so that any moment of a commit can be the last.
const LATEST: Duration = Duration::from_millis(2);

/// The last number of each caller.
pub type Last = BTreeMap<i64, i64>;

/// The file that the victim works on; `None` where the test is not run as a victim.
#[must_use]
pub fn file() -> Option<PathBuf> {
    env::var_os(FILE).map(PathBuf::from)
}

/// How often to kill: the variable `ECM_KILLS`, or else as often as usual.
///
/// # Panics
/// If the variable holds no number.
#[must_use]
pub fn times(usual: u64) -> u64 {
    env::var(TIMES).map_or(usual, |text| text.parse().expect("ECM_KILLS is a number"))
}

/// Tells, in the victim, that a number was acknowledged to a caller. To be called by the caller itself, after it
/// knows.
///
/// # Panics
/// If nobody listens.
pub fn acknowledged(caller: i64, number: i64) {
    let mut out = io::stdout().lock();
    // On a line of its own: the test harness leaves its own words without an end.
    let told = writeln!(out, "\nacknowledged {caller} {number}.").and_then(|()| out.flush());
    told.expect("whoever kills listens");
}

/// The last number of each caller, of what was read in the two places, in any order.
///
/// # Panics
/// If a number is in one of them only, or twice, or if a number is left out.
#[must_use]
pub fn last_of_each(mut one: Vec<(i64, i64)>, mut other: Vec<(i64, i64)>) -> Last {
    one.sort_unstable();
    other.sort_unstable();
    assert_eq!(one, other, "half of a transaction is there");
    let mut last = Last::new();
    for (caller, number) in one {
        let before = last.insert(caller, number).unwrap_or(0);
        assert_eq!(number, before + 1, "caller {caller} has a gap, or what was undone is there");
    }
    last
}

/// A run of kills.
#[derive(Debug)]
#[must_use = "nobody is killed before it runs"]
pub struct Kills<'t> {
    victim: &'t str,
    times: u64,
    variable: Option<(&'t str, &'t str)>,
}

impl<'t> Kills<'t> {
    /// Kills the process that runs this test of the same program; a hundred times.
    pub fn of(victim: &'t str) -> Self {
        Self { victim, times: 100, variable: None }
    }

    /// So many times.
    pub fn times(self, times: u64) -> Self {
        Self { times, ..self }
    }

    /// With a variable of the environment for the victim.
    pub fn variable(self, name: &'t str, value: &'t str) -> Self {
        Self { variable: Some((name, value)), ..self }
    }

    /// Kills, at moments that follow from `random`, and reads by `stored` after each kill what is in the file.
    /// Answers what is there at the end.
    ///
    /// # Panics
    /// If what was acknowledged is not there, and if a process ends by itself.
    pub fn run(self, file: &Path, random: &mut Random, mut stored: impl FnMut(&Path) -> Last) -> Last {
        let (mut told, mut unheard) = (Last::new(), 0_u64);
        for kill in 1..=self.times {
            self.kill(file, random, &mut told);
            let there = stored(file);
            for (caller, number) in &told {
                let last = there.get(caller).copied().unwrap_or(0);
                assert!(last >= *number, "kill {kill}: caller {caller} was told of {number}, {last} is the last there");
            }
            unheard += u64::from(there != told);
            told = there;
        }
        eprintln!("{} kills, after {unheard} of which there was more than had been acknowledged", self.times);
        told
    }

    fn kill(&self, file: &Path, random: &mut Random, told: &mut Last) {
        let mut child = self.start(file);
        let output = child.stdout.take().expect("it was asked for");
        let left = 1 + random.below(MOST_ACKNOWLEDGED);
        let later = Duration::from_micros(random.below(LATEST.as_micros().try_into().unwrap_or(1)));
        let mut heard = 0;
        // To its end: what it had said before it was killed counts.
        for line in BufReader::new(output).lines() {
            let line = line.expect("it speaks in UTF-8");
            let said = line.strip_prefix("acknowledged ").and_then(|line| line.strip_suffix('.'));
            let Some((caller, number)) = said.and_then(|said| said.split_once(' ')) else { continue };
            let parsed = |text: &str| text.parse::<i64>().expect("callers and numbers are numbers");
            let last = told.entry(parsed(caller)).or_default();
            *last = parsed(number).max(*last);
            heard += 1;
            if heard == left {
                thread::sleep(later);
                child.kill().expect("it is killed");
            }
        }
        let ended = child.wait().expect("it ends");
        assert!(heard >= left && !ended.success(), "{} ended by itself after {heard}: {ended}", self.victim);
    }

    fn start(&self, file: &Path) -> Child {
        let program = env::current_exe().expect("a program knows where it is");
        let mut command = Command::new(program);
        command.args(["--exact", self.victim, "--nocapture", "--test-threads=1"]).env(FILE, file).envs(self.variable);
        command.stdout(Stdio::piped()).spawn().expect("the program runs again")
    }
}
