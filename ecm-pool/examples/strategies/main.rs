//! What each strategy makes of a load that rises, bursts and falls: a real pool over a fake database, on a
//! clock that is moved, drawn as `docs/strategies.svg`.
//!
//! ```text
//! cargo run --release -p ecm-pool --example strategies -- docs/strategies.svg
//! ```
//!
//! The same load every time: arrivals are drawn from a fixed seed.

mod load;
mod plot;
mod simulation;

use ecm_pool::PoolStrategy;
use simulation::{Course, simulate};
use std::io::Write;

const STRATEGIES: [PoolStrategy; 5] = [
    PoolStrategy::Fixed,
    PoolStrategy::Balanced,
    PoolStrategy::Performance,
    PoolStrategy::ResourceConserving,
    PoolStrategy::Adaptive,
];

fn main() -> std::io::Result<()> {
    let courses: Vec<Course> = STRATEGIES.map(|strategy| simulate(strategy, load::SECONDS, load::rate)).into();
    let mut out = std::io::stdout().lock();
    writeln!(out, "strategy               mean connections   opened   mean wait   longest wait")?;
    for course in &courses {
        let name = format!("{:?}", course.strategy);
        let (connections, wait) = (course.mean_connections(), course.mean_wait());
        let Course { opened, longest_wait, .. } = course;
        writeln!(out, "{name:<22} {connections:>16.1} {opened:>8} {wait:>8.2} ms {longest_wait:>11} ms")?;
    }
    match std::env::args().nth(1) {
        Some(path) => std::fs::write(path, plot::draw(&courses)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steady(_second: f64) -> f64 {
        400.0
    }

    #[test]
    fn adaptive_does_not_oscillate_on_a_steady_load() {
        let course = simulate(PoolStrategy::Adaptive, 300, steady);
        let settled: Vec<u32> = course.seconds[60..].iter().map(|second| second.connections).collect();
        let opened: u32 = settled.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).sum();
        let (fewest, most) = (settled.iter().min().unwrap(), settled.iter().max().unwrap());
        // Eight are in use on average; more than 20 at once are rare enough to come and go.
        assert!((14..=24).contains(fewest) && most - fewest <= 5, "{settled:?}");
        assert!(opened <= 12, "one in twenty seconds, of 400 calls in each: {settled:?}");
    }

    #[test]
    fn the_same_seed_tells_the_same_story() {
        let run = || simulate(PoolStrategy::Adaptive, 10, steady).seconds;
        assert_eq!(run(), run());
    }

    #[test]
    fn the_conserving_strategy_holds_fewer_and_lets_callers_wait() {
        let [fixed, conserving] =
            [PoolStrategy::Fixed, PoolStrategy::ResourceConserving].map(|strategy| simulate(strategy, 20, steady));
        assert!(conserving.mean_connections() < fixed.mean_connections());
        assert!(conserving.mean_wait() > fixed.mean_wait());
    }
}
