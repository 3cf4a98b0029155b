//! A breaker of one's own: opens when four of the last nine calls have failed, in a row or not.

use ecm::core::{Breaker, BreakerState, Outcome, Permit, Rejected, Time};
use ecm::{ConnectionManager, Database, ManagerConfig, sqlite::Sqlite};
use std::{error::Error, fs, io::Write, io::stdout, sync::Mutex, time::Duration};

const PAUSE: Duration = Duration::from_secs(10);

/// Opens for ten seconds, then tries one call at a time, and waits for it for ten seconds at most.
#[derive(Debug, Default)]
struct FourOfNine(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: BreakerState,
    epoch: u64,
    next_trial: Time,
    /// The last eight calls, a bit for each.
    failed: u8,
}

impl Breaker for FourOfNine {
    fn admit(&self, now: Time) -> Result<Permit, Rejected> {
        let mut inner = self.0.lock().unwrap();
        let probe = inner.state != BreakerState::Closed;
        if probe && now < inner.next_trial {
            return Err(Rejected { until: inner.next_trial });
        } else if probe {
            (inner.state, inner.next_trial) = (BreakerState::HalfOpen, now + PAUSE);
        }
        Ok(Permit { epoch: inner.epoch, probe })
    }

    fn record(&self, permit: Permit, outcome: Outcome, now: Time) {
        let mut inner = self.0.lock().unwrap();
        let state = match outcome {
            _ if permit.epoch != inner.epoch => return,
            Outcome::Failure { .. } if permit.probe || inner.failed.count_ones() == 3 => BreakerState::Open,
            Outcome::Failure { .. } => return inner.failed = inner.failed << 1 | 1,
            Outcome::Success { .. } if permit.probe => BreakerState::Closed,
            Outcome::Success { .. } => return inner.failed <<= 1,
            _ => return inner.next_trial = now,
        };
        *inner = Inner { state, epoch: permit.epoch + 1, next_trial: now + PAUSE, failed: 0 };
    }

    fn state(&self) -> BreakerState {
        self.0.lock().unwrap().state
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let [good, bad] = ["good.db", "bad.db"].map(|file| folder.path().join(file));
    let writer = ConnectionManager::open(&good)?;
    writer.write(|tx| Ok(tx.execute_batch("CREATE TABLE note (title TEXT)")?)).wait()?;
    writer.close(PAUSE)?;
    let mut bytes = fs::read(&good)?;
    bytes[4096..].fill(0); // All but the first page: it opens, and cannot be read.
    fs::write(&bad, bytes)?;

    let manager = ConnectionManager::builder()
        .configure(&ManagerConfig { enable_load_balancing: false, ..ManagerConfig::default() })
        .database(Database::new("good", Sqlite::open(good)))
        .database(Database::new("bad", Sqlite::open(bad)).read_only(true).priority(1))
        .breaker(|_database| FourOfNine::default())
        .build()?;
    (0..20).try_for_each(|_| manager.query("SELECT count(*) FROM note").one::<i64>().wait().map(drop))?;
    for database in &manager.status().groups[0].databases {
        writeln!(stdout(), "{}: {:?}, failed {} times", database.name, database.breaker, database.failures)?;
    }
    Ok(())
}

#[test]
fn it_keeps_what_every_breaker_promises() {
    use ecm::core::testing::conformance::{BreakerException::ForgetsOnResume, breaker_except};
    breaker_except(&[ForgetsOnResume], FourOfNine::default);
}
