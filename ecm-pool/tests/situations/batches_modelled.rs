//! Writes that share transactions beside a model in which each runs alone.

use crate::writers::{Outcome, Writers, Writing, poll};
use ecm_core::{Connection, Failure, FaultKind, Transact, testing::FakeConnection};
use ecm_pool::{Terms, Transacted};
use proptest::prelude::*;
use std::task::Poll;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Does {
    Adds,
    Fails,
    Loses,
    HidesALoss,
    Goes,
}

fn does() -> impl Strategy<Value = Does> {
    prop_oneof![
        6 => Just(Does::Adds),
        2 => Just(Does::Fails),
        1 => Just(Does::Loses),
        1 => Just(Does::HidesALoss),
        1 => Just(Does::Goes),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Beside a model that runs one after the other: each outcome is that of its write alone, and what is
    /// there is what was committed, once.
    #[test]
    fn whoever_shares_a_transaction_ends_as_if_alone(
        story in prop::collection::vec((does(), any::<bool>(), prop::bool::weighted(0.8)), 1..24),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..200),
        broken_commits in 0..3_u32,
    ) {
        let writers = Writers::new();
        let held = writers.held();
        let mut all: Vec<Option<Writing<'_, i64>>> = Vec::new();
        for (index, &(does, sent, shares)) in story.iter().enumerate() {
            let mut hidden = false;
            let job = move |connection: &mut FakeConnection| {
                let name = format!("row {index}");
                let runs = connection.tx().get(&name)?.unwrap_or(0) + 1;
                connection.tx().set(&name, runs)?;
                match does {
                    Does::Fails => Err(Failure::msg("no")),
                    Does::Loses => {
                        connection.roll_back()?;
                        Err(Failure::msg("all is lost"))
                    }
                    Does::HidesALoss if !std::mem::replace(&mut hidden, true) && shares => {
                        connection.roll_back()?;
                        Ok(0)
                    }
                    _ => Ok(runs),
                }
            };
            let terms = Terms { shares, ..writers.terms() };
            all.push(Some(if sent { writers.sends(job) } else { writers.writes_on(terms, job) }));
        }
        drop(held);
        writers.fake.fail_commits(FaultKind::Corrupt, broken_commits);
        let mut outcomes: Vec<Option<Outcome<i64>>> = story.iter().map(|_| None).collect();
        let rest = (0..story.len()).cycle().take(story.len() * 200);
        let order: Vec<usize> = order.iter().map(|at| at.index(story.len())).chain(rest).collect();
        for index in order {
            if story[index].0 == Does::Goes {
                all[index] = None;
            }
            if let Some(writing) = &mut all[index]
                && let Poll::Ready(outcome) = poll(writing)
            {
                outcomes[index] = Some(outcome);
                all[index] = None;
            }
        }
        let mut broken = 0;
        for (index, (&(does, _, shares), outcome)) in story.iter().zip(&outcomes).enumerate() {
            let there = writers.fake.committed(&format!("row {index}"));
            match (does, outcome) {
                (Does::Goes, None) => prop_assert!(matches!(there, None | Some(1))),
                (Does::Adds, Some(Ok(Transacted::Committed(1, _)))) => prop_assert_eq!(there, Some(1)),
                // Alone it loses nothing, or what the second run has written is there.
                (Does::HidesALoss, Some(Ok(Transacted::Committed(..)))) => {
                    prop_assert!(matches!(there, Some(1)) || shares, "{:?}", there);
                }
                (Does::Adds | Does::HidesALoss, Some(Ok(Transacted::Undone(failure)))) => {
                    broken += 1;
                    prop_assert!(failure.to_string().contains("told to fail"), "{}", failure);
                    prop_assert_eq!(there, None);
                }
                (Does::Fails, Some(Ok(Transacted::Undone(failure)))) => {
                    prop_assert!(there.is_none() && failure.to_string() == "no");
                }
                (Does::Loses, Some(Ok(Transacted::Undone(failure)))) => {
                    prop_assert!(there.is_none() && failure.to_string() == "all is lost");
                }
                other => prop_assert!(false, "{index}: {other:?}"),
            }
        }
        prop_assert!(broken <= broken_commits);
        writers.is_at_rest();
    }
}
