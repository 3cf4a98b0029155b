use super::promise::{Promise, ensure, hold};
use crate::{Balancer, CallKind, Context, Intent, Mask, Node, Sample};
use std::{
    sync::{Barrier, atomic::Ordering},
    thread,
    time::Duration,
};

#[cfg(test)]
mod wrong;

/// What a balancer does otherwise than most, by design and as its documentation says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BalancerException {
    /// It wants none of some databases although they are fit, such as one that insists on a tag.
    Declines,
}

/// Holds a balancer to what [`Balancer`] promises.
///
/// ```
/// use ecm_core::{FirstFit, testing::conformance};
///
/// conformance::balancer(|| FirstFit);
/// ```
///
/// # Panics
/// If a promise is broken, with its name and what was seen.
#[track_caller]
pub fn balancer<B: Balancer + 'static>(make: impl Fn() -> B + 'static) {
    balancer_except(&[], make);
}

/// The same for a balancer with documented exceptions.
///
/// # Panics
/// If a promise is broken, with its name and what was seen.
#[track_caller]
pub fn balancer_except<B: Balancer + 'static>(exceptions: &[BalancerException], make: impl Fn() -> B + 'static) {
    let excepted = |promise: &Promise<Make>| {
        exceptions.iter().any(|exception| match exception {
            BalancerException::Declines => promise.name == SERVES,
        })
    };
    let make: &Make = &move || Box::new(make());
    hold("balancer", PROMISES.iter().filter(|promise| !excepted(promise)), make);
}

type Make = dyn Fn() -> Box<dyn Balancer>;

const SERVES: &str = "picks one of plain databases";

const PROMISES: &[Promise<Make>] = &[
    Promise { name: "picks only what is fit", holds: picks_only_what_is_fit },
    Promise { name: SERVES, holds: serves },
    Promise { name: "serves who is ill only in need", holds: serves_the_ill_in_need },
    Promise { name: "picks what is fit even in need", holds: picks_what_is_fit_in_need },
    Promise { name: "explains itself at any time", holds: explains },
    Promise { name: "bears every figure", holds: bears_every_figure },
    Promise { name: "leaves counting the calls in flight to the caller", holds: leaves_counting },
    Promise { name: "bears picks that never end", holds: bears_picks_that_never_end },
    Promise { name: "bears ends of calls that it did not pick", holds: bears_ends_of_others },
    Promise { name: "takes the group as it is given each time", holds: takes_the_group_as_it_is },
    Promise { name: "picks for many threads as for one", holds: picks_for_many_threads },
];

const SIZES: [usize; 6] = [1, 2, 3, 8, 63, Mask::CAPACITY];
const INTENT: Intent<'_> = Intent::new(CallKind::Read, &Context::NONE);

/// Databases that are all alike, idle and without tags.
fn plain(count: usize) -> Vec<Node> {
    (0..count).map(|index| Node::new(format!("plain-{index}"))).collect()
}

/// Databases that differ in everything.
fn motley(count: usize) -> Vec<Node> {
    let node = |index: usize| {
        let number = index as u32;
        let node = Node {
            weight: 1 + number * 7 % 5,
            priority: (number * 5 % 3) as i32 - 1,
            writable: index == 0,
            tags: [["eu", "us"][index % 2].into(), "ssd".into()].into(),
            ..Node::new(format!("motley-{index}"))
        };
        (0..number * 11 % 4).for_each(|_| node.load.started());
        node.load.ewma().store(u64::from(number) * 1_000_003, Ordering::Relaxed);
        node
    };
    (0..count).map(node).collect()
}

/// Some sets of the first `count` databases, none of them empty.
fn sets(count: usize) -> Vec<Mask> {
    let all = Mask::first(count);
    let some = (0..count).flat_map(|index| [Mask::NONE.with(index), all.without(index)]);
    let others = [all, (0..count).step_by(2).collect(), (count / 2..count).collect()];
    some.chain(others).filter(|set| !set.is_empty()).collect()
}

fn picked(balancer: &dyn Balancer, nodes: &[Node], fit: Mask) -> Result<Option<usize>, String> {
    let picked = balancer.pick(nodes, fit, &INTENT);
    let right = picked.is_none_or(|index| fit.contains(index));
    ensure(right, || format!("{picked:?} of {} databases, of which {fit:?} are fit", nodes.len()))?;
    Ok(picked)
}

fn picks_only_what_is_fit(make: &Make) -> Result<(), String> {
    for group in [plain, motley] {
        for nodes in SIZES.map(group) {
            let balancer = make();
            for fit in sets(nodes.len()) {
                for _ in 0..20 {
                    if let Some(index) = picked(&*balancer, &nodes, fit)? {
                        balancer.settled(&nodes, index, &Sample::new(Duration::from_millis(1), index % 3 == 0));
                    }
                }
            }
        }
    }
    Ok(())
}

fn serves(make: &Make) -> Result<(), String> {
    for nodes in SIZES.map(plain) {
        let balancer = make();
        for fit in sets(nodes.len()) {
            let picked = picked(&*balancer, &nodes, fit)?;
            ensure(picked.is_some(), || format!("it wants none of {} of them, {fit:?}", nodes.len()))?;
        }
    }
    Ok(())
}

fn serves_the_ill_in_need(make: &Make) -> Result<(), String> {
    for group in [plain, motley] {
        for nodes in SIZES.map(group) {
            let (balancer, all) = (make(), Mask::first(nodes.len()));
            for healthy in sets(nodes.len()) {
                for _ in 0..5 {
                    let well = picked(&*balancer, &nodes, healthy)?;
                    let chosen = balancer.choose(&nodes, all, healthy, &INTENT);
                    // Whom it wants among the healthy, it has to take there.
                    let right = well.is_none() || chosen.is_some_and(|index| healthy.contains(index));
                    ensure(right, || format!("it chose {chosen:?} where {healthy:?} of {} are healthy", nodes.len()))?;
                }
            }
        }
    }
    Ok(())
}

fn picks_what_is_fit_in_need(make: &Make) -> Result<(), String> {
    for nodes in SIZES.map(plain) {
        let (balancer, all) = (make(), Mask::first(nodes.len()));
        for fit in sets(nodes.len()) {
            for healthy in [Mask::NONE, all.minus(fit), all.minus(fit).with(fit.lowest().unwrap_or(0))] {
                let chosen = balancer.choose(&nodes, fit, healthy, &INTENT);
                let right = chosen.is_none_or(|index| fit.contains(index));
                ensure(right, || format!("it chose {chosen:?} of {fit:?}, {healthy:?} being healthy"))?;
                let serves = chosen.is_some() || picked(&*balancer, &nodes, fit)?.is_none();
                ensure(serves, || format!("it chose nobody of {fit:?}, {healthy:?} being healthy"))?;
            }
        }
    }
    Ok(())
}

fn explains(make: &Make) -> Result<(), String> {
    let (balancer, nodes) = (make(), motley(12));
    for count in [2, 8, 12] {
        for _ in 0..3_000 {
            if let Some(index) = picked(&*balancer, &nodes[..count], Mask::first(count))? {
                balancer.settled(&nodes[..count], index, &Sample::new(Duration::from_millis(1), index == 1));
            }
            if count == 8 {
                balancer.explain();
            }
        }
        let explanation = balancer.explain();
        let entries = explanation.decisions.len().max(explanation.changes.len());
        ensure(entries <= 1_000, || format!("it has kept {entries} entries"))?;
        for decision in &explanation.decisions {
            let known = |name: &str| nodes.iter().any(|node| *node.name == *name);
            let compared = decision.scores.iter().all(|score| known(&score.database));
            ensure(known(&decision.picked) && compared, || format!("it names nobody of the group: {decision:?}"))?;
            let scores = &decision.scores;
            let among = scores.is_empty() || scores.iter().any(|score| score.database == decision.picked);
            ensure(among, || format!("who was picked was not compared: {decision:?}"))?;
        }
    }
    Ok(())
}

fn bears_every_figure(make: &Make) -> Result<(), String> {
    let mut nodes = plain(Mask::CAPACITY);
    for (index, node) in nodes.iter_mut().enumerate() {
        node.weight = [u32::MAX, 1, u32::MAX - 1][index % 3];
        node.priority = [i32::MIN, i32::MAX, 0, -1][index % 4];
        if index % 5 > 0 {
            // The counter wraps around: the greatest number of calls in flight.
            node.load.ended();
        }
        node.load.ewma().store([0, u64::MAX, 1 << 63][index % 3], Ordering::Relaxed);
    }
    let kinds = [CallKind::Read, CallKind::Write, CallKind::Query, CallKind::Execute, CallKind::Connection];
    let context = Context::new(());
    let balancer = make();
    for fit in sets(Mask::CAPACITY) {
        for (kind, attempt) in kinds.into_iter().zip([0, 1, 63, 64, u32::MAX]) {
            let picked = balancer.pick(&nodes, fit, &Intent::new(kind, &context).attempt(attempt));
            ensure(picked.is_none_or(|index| fit.contains(index)), || format!("{picked:?} of {fit:?}"))?;
            let took = [Duration::ZERO, Duration::MAX][attempt as usize % 2];
            balancer.settled(&nodes, picked.unwrap_or(63), &Sample::new(took, attempt == 1));
        }
    }
    Ok(())
}

fn leaves_counting(make: &Make) -> Result<(), String> {
    let (balancer, nodes) = (make(), motley(8));
    let pending = || nodes.iter().map(|node| node.load.pending()).collect::<Vec<_>>();
    let before = pending();
    for _ in 0..100 {
        if let Some(index) = picked(&*balancer, &nodes, Mask::first(8))? {
            ensure(pending() == before, || format!("a pick has made {:?} of {before:?}", pending()))?;
            balancer.settled(&nodes, index, &Sample::new(Duration::from_millis(1), false));
            ensure(pending() == before, || format!("an end has made {:?} of {before:?}", pending()))?;
        }
    }
    Ok(())
}

fn bears_picks_that_never_end(make: &Make) -> Result<(), String> {
    let (balancer, nodes) = (make(), plain(3));
    let wanted = |fit| Ok::<_, String>(picked(&*balancer, &nodes, fit)?.is_some());
    let before: Vec<_> = sets(3).into_iter().map(wanted).collect::<Result<_, _>>()?;
    for _ in 0..10_000 {
        picked(&*balancer, &nodes, Mask::first(3))?;
    }
    let after: Vec<_> = sets(3).into_iter().map(wanted).collect::<Result<_, _>>()?;
    ensure(after == before, || format!("of {:?} it has wanted {before:?}, after 10000 picks {after:?}", sets(3)))
}

fn bears_ends_of_others(make: &Make) -> Result<(), String> {
    let (balancer, nodes) = (make(), plain(3));
    for index in (0..3).cycle().take(10_000) {
        balancer.settled(&nodes, index, &Sample::new(Duration::from_millis(1), false));
    }
    let fresh = make();
    for fit in sets(3) {
        let (one, other) = (picked(&*balancer, &nodes, fit)?, picked(&*fresh, &nodes, fit)?);
        ensure(one.is_some() == other.is_some(), || format!("{one:?} of {fit:?}, and {other:?} if there were none"))?;
    }
    Ok(())
}

fn takes_the_group_as_it_is(make: &Make) -> Result<(), String> {
    let balancer = make();
    for count in [3, Mask::CAPACITY, 1, 8, 2, 63, 1] {
        for group in [plain, motley] {
            let nodes = group(count);
            for _ in 0..2 * count {
                if let Some(index) = picked(&*balancer, &nodes, Mask::first(count))? {
                    balancer.settled(&nodes, index, &Sample::new(Duration::from_millis(1), false));
                }
            }
        }
    }
    Ok(())
}

fn picks_for_many_threads(make: &Make) -> Result<(), String> {
    const THREADS: usize = 8;
    let (balancer, nodes, start) = (&*make(), &plain(16), &Barrier::new(THREADS));
    let thread = |own: usize| {
        let fit = [own, own + THREADS].into_iter().collect();
        start.wait();
        for _ in 0..2_000 {
            if let Some(index) = picked(balancer, nodes, fit)? {
                balancer.settled(nodes, index, &Sample::new(Duration::from_millis(1), false));
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|own| scope.spawn(move || thread(own))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| Err("a thread has panicked".into())))
    })
}
