//! The frame of the tests that kill finds a store out that loses what it acknowledged, or keeps half of it.

use ecm_core::testing::{
    Random,
    killing::{self, Kills, Last, last_of_each},
    seed,
};
use std::{
    env,
    fs::{self, File, OpenOptions},
    io::Write,
    panic::{self, AssertUnwindSafe},
    path::Path,
    thread,
};

const CALLERS: i64 = 4;

/// Which store the victim is.
const STORE: &str = "ECM_VICTIM_STORE";

const PLACES: [&str; 2] = ["one", "other"];

/// A process that is killed leaves whatever it has given to the system.
fn stored(file: &Path) -> Last {
    let [one, other] = PLACES.map(|place| {
        let text = fs::read_to_string(file.with_extension(place)).unwrap_or_default();
        let numbers = text.lines().map(|line| line.split_once(' ').unwrap());
        numbers.map(|(caller, number)| (caller.parse().unwrap(), number.parse().unwrap())).collect()
    });
    last_of_each(one, other)
}

/// As [`stored`], of the store that has one place: it is both.
fn stored_at_once(file: &Path) -> Last {
    let [one, other] = PLACES.map(|place| file.with_extension(place));
    fs::copy(one, other).unwrap();
    stored(file)
}

fn write(places: &mut [File], caller: i64, number: i64) {
    for place in places {
        place.write_all(format!("{caller} {number}\n").as_bytes()).unwrap();
    }
}

#[test]
fn the_victim() {
    let Some(file) = killing::file() else { return };
    let store = env::var(STORE).unwrap();
    let before = stored(&file);
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (file, store, before) = (&file, &*store, before.get(&caller).copied().unwrap_or(0));
            scope.spawn(move || {
                let open = |place| OpenOptions::new().append(true).create(true).open(file.with_extension(place));
                let mut places = PLACES.map(|place| open(place).unwrap());
                for number in before + 1.. {
                    match store {
                        "sound" => write(&mut places[..1], caller, number),
                        "forgetful" if number > 5 => {}
                        "halving" if number > 5 => write(&mut places[..1], caller, number),
                        _ => write(&mut places, caller, number),
                    }
                    killing::acknowledged(caller, number);
                }
            });
        }
    });
}

/// Kills the victim that is such a store, and answers what was acknowledged, or what the frame complains about.
fn killed(store: &str, times: u64, stored: impl FnMut(&Path) -> Last) -> Result<Last, String> {
    let folder = tempfile::tempdir().unwrap();
    let kills = Kills::of("the_victim").variable(STORE, store).times(times);
    let file = folder.path().join("store");
    complaint(|| kills.run(&file, &mut Random::new(seed()), stored))
}

fn complaint<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let worked = panic::catch_unwind(AssertUnwindSafe(work));
    worked.map_err(|said| said.downcast::<String>().map_or_else(|_| "no words".into(), |words| *words))
}

#[test]
fn a_store_that_keeps_what_it_acknowledges_stands_every_kill() {
    let acknowledged = killed("sound", 5, stored_at_once).unwrap();
    assert!(acknowledged.values().sum::<i64>() >= 5, "{acknowledged:?}");
}

#[test]
fn a_store_that_forgets_what_it_acknowledged_is_found_out() {
    // Half of a write may be there at the moment of a kill, which is not what is looked for.
    let said = killed("forgetful", 30, |file| complaint(|| stored(file)).unwrap_or_default()).unwrap_err();
    assert!(said.contains("was told of"), "{said}");
}

#[test]
fn a_store_that_keeps_half_of_a_write_is_found_out() {
    let said = killed("halving", 30, stored).unwrap_err();
    assert!(said.contains("half of a transaction"), "{said}");
}

#[test]
fn what_was_undone_and_is_there_or_was_left_out_is_found_out() {
    for numbers in [vec![(1, 1), (1, -2), (1, 3)], vec![(1, 1), (1, 3)], vec![(1, 1), (1, 1)]] {
        let said = complaint(|| last_of_each(numbers.clone(), numbers.clone())).unwrap_err();
        assert!(said.contains("caller 1 has a gap"), "{said}");
    }
    let whole = vec![(2, 1), (1, 2), (1, 1)];
    assert_eq!(last_of_each(whole.clone(), whole), Last::from([(1, 2), (2, 1)]));
}

#[test]
fn a_victim_that_ends_by_itself_is_no_victim() {
    let folder = tempfile::tempdir().unwrap();
    let kills = Kills::of("there_is_no_such_test");
    let said = complaint(|| kills.run(folder.path(), &mut Random::new(1), stored)).unwrap_err();
    assert!(said.contains("ended by itself"), "{said}");
}
