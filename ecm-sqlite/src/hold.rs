use crate::wal_index::{Header, Look};
use ecm_core::Time;
use std::time::Duration;

/// How many loans in a row must find that nothing was committed before a snapshot is held: under a
/// steady writer holding costs more than it saves.
const PROOF: u32 = 4;

/// How long a snapshot is held at most, whatever the traffic. It bounds how long somebody waits who
/// waits for readers, where nothing else tells that he does.
const LONGEST: Duration = Duration::from_millis(50);

/// After how many loans of one snapshot the clock is read, to know how long it has been held.
const LOANS_PER_CLOCK: u32 = 64;

/// How long a snapshot that nobody asks for is held.
const IDLE: Duration = Duration::from_millis(5);

/// Whether the snapshot of a connection is kept from one loan to the next, and for how long.
///
/// Plain data: what it is told comes from looks at the wal-index, and what it answers is carried out
/// by the connection.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    /// What the last loan found.
    last: Option<Header>,
    /// How many loans in a row found the same.
    quiet: u32,
    pin: Option<Pin>,
}

/// A snapshot that may be held: that of the running loan, or of those before.
#[derive(Clone, Copy, Debug)]
struct Pin {
    /// The header from before the snapshot was taken, so that the snapshot is not older.
    header: Header,
    /// Whether it lies in the log, whose beginning nobody can write anew before it is gone.
    in_log: bool,
    /// The number of the last request to let go that was known.
    request: u64,
    since: Time,
    loans: u32,
    /// What the housekeeper saw last: how many loans there had been, and when.
    seen: Option<(u32, Time)>,
}

impl Hold {
    /// Whether there is a snapshot that is held, or that will be at the end of the loan.
    pub(crate) fn is_pinned(&self) -> bool {
        self.pin.is_some()
    }

    /// Whether the held snapshot is the present state of the database, and may go on being held.
    pub(crate) fn serves(&mut self, look: &Look, request: u64, now: impl FnOnce() -> Time) -> bool {
        let Some(pin) = &mut self.pin else { return false };
        if look.header != pin.header || request != pin.request {
            self.last = Some(look.header);
            self.quiet = 0;
            return false;
        }
        // Taken anew it no longer lies in the log, so that it stands in nobody's way.
        if pin.in_log && look.is_all_backfilled() {
            return false;
        }
        pin.loans = pin.loans.wrapping_add(1);
        !pin.loans.is_multiple_of(LOANS_PER_CLOCK) || now().since(pin.since) < LONGEST
    }

    /// Whether somebody has asked to let go since the snapshot was taken; `request` is the number of the last request.
    pub(crate) fn is_asked_for(&self, request: u64) -> bool {
        self.pin.as_ref().is_some_and(|pin| pin.request != request)
    }

    /// Whether nothing but its age has ended the held snapshot, while it stands in the way of moving the log.
    pub(crate) fn has_aged(&self, look: &Look, request: u64) -> bool {
        let same = |pin: &Pin| pin.header == look.header && pin.request == request;
        self.pin.as_ref().is_some_and(same) && !look.is_all_backfilled()
    }

    /// Takes note of what a loan found that is not served from a held snapshot.
    pub(crate) fn note(&mut self, look: &Look) {
        let same = self.last == Some(look.header);
        self.quiet = if same { self.quiet.saturating_add(1) } else { 0 };
        self.last = Some(look.header);
    }

    /// Whether so little is committed that holding pays.
    pub(crate) fn pays(&self) -> bool {
        self.quiet >= PROOF
    }

    /// The loan takes a snapshot now, after this look, and it may be held.
    pub(crate) fn pin(&mut self, look: &Look, request: u64, now: Time) {
        let in_log = !look.is_all_backfilled();
        self.pin = Some(Pin { header: look.header, in_log, request, since: now, loans: 0, seen: None });
    }

    /// The snapshot is gone.
    pub(crate) fn unpin(&mut self) {
        self.pin = None;
    }

    /// When to look again at a held snapshot that is not lent; `None` if it must be let go of now.
    pub(crate) fn rests_until(&mut self, now: Time) -> Option<Time> {
        let pin = self.pin.as_mut()?;
        if now.since(pin.since) >= LONGEST {
            return None;
        }
        match pin.seen {
            Some((loans, at)) if loans == pin.loans => (now.since(at) < IDLE).then_some(at + IDLE),
            _ => {
                pin.seen = Some((pin.loans, now));
                Some(now + IDLE)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::from_nanos(1_000_000);

    fn look(commits: u32, last_frame: u32, backfilled: u32) -> Look {
        Look { header: Header::made_up(commits, last_frame), backfilled }
    }

    fn at(millis: u64) -> Time {
        NOW + Duration::from_millis(millis)
    }

    fn held(look: &Look) -> Hold {
        let mut hold = Hold::default();
        hold.pin(look, 0, NOW);
        hold
    }

    #[test]
    fn holding_pays_after_four_loans_that_found_nothing_changed() {
        let mut hold = Hold::default();
        for _ in 0..4 {
            hold.note(&look(1, 10, 0));
            assert!(!hold.pays());
        }
        hold.note(&look(1, 10, 0));
        assert!(hold.pays());
        hold.note(&look(2, 11, 0));
        assert!(!hold.pays(), "the first change ends it");
    }

    #[test]
    fn a_snapshot_serves_while_the_header_is_the_same_and_holding_pays_no_more_after_a_change() {
        let mut hold = held(&look(1, 10, 0));
        for _ in 0..1_000 {
            assert!(hold.serves(&look(1, 10, 3), 0, || NOW));
        }
        assert!(!hold.serves(&look(2, 10, 3), 0, || NOW));
        assert!(!hold.pays());
    }

    #[test]
    fn a_request_to_let_go_is_obeyed_by_the_next_loan() {
        let mut hold = held(&look(1, 10, 0));
        assert!(!hold.serves(&look(1, 10, 0), 1, || NOW));
        hold.note(&look(1, 10, 0));
        assert!(!hold.pays(), "and it is not taken again at once");
    }

    #[test]
    fn a_snapshot_in_the_log_is_taken_anew_once_the_whole_log_is_in_the_file_and_only_then() {
        let mut hold = held(&look(1, 10, 4));
        assert!(hold.serves(&look(1, 10, 9), 0, || NOW));
        assert!(!hold.serves(&look(1, 10, 10), 0, || NOW));
        hold.pin(&look(1, 10, 10), 0, NOW);
        assert!(hold.serves(&look(1, 10, 10), 0, || NOW), "it does not lie in the log any more");
    }

    #[test]
    fn a_snapshot_grows_no_older_than_the_longest_time_however_often_it_is_lent() {
        let mut hold = held(&look(1, 10, 10));
        let served = (0..1_000_u64).take_while(|&loan| hold.serves(&look(1, 10, 10), 0, || at(loan))).count();
        assert_eq!(served, 63, "the clock is read at the 64th loan, when 63 ms have passed");
    }

    #[test]
    fn one_that_ends_by_its_age_alone_is_told_while_the_log_is_not_in_the_file() {
        let hold = held(&look(1, 10, 0));
        assert!(hold.has_aged(&look(1, 10, 9), 0));
        assert!(!hold.has_aged(&look(1, 10, 10), 0), "it is in nobody's way");
        assert!(!hold.has_aged(&look(2, 11, 9), 0) && !hold.has_aged(&look(1, 10, 9), 1));
        assert!(!Hold::default().has_aged(&look(1, 10, 9), 0));
    }

    #[test]
    fn a_snapshot_that_nobody_asks_for_is_let_go_of_and_one_that_is_lent_in_between_is_not() {
        let mut hold = held(&look(1, 10, 10));
        assert_eq!(hold.rests_until(at(0)), Some(at(5)));
        assert_eq!(hold.rests_until(at(4)), Some(at(5)));
        assert!(hold.serves(&look(1, 10, 10), 0, || NOW));
        assert_eq!(hold.rests_until(at(5)), Some(at(10)));
        assert_eq!(hold.rests_until(at(10)), None);
    }

    #[test]
    fn a_snapshot_that_is_lent_all_the_time_is_let_go_of_by_the_housekeeper_too() {
        let mut hold = held(&look(1, 10, 10));
        for millis in 0..50 {
            assert!(hold.serves(&look(1, 10, 10), 0, || NOW));
            assert!(hold.rests_until(at(millis)).is_some());
        }
        assert_eq!(hold.rests_until(at(50)), None);
    }

    #[test]
    fn without_a_snapshot_nothing_serves() {
        let mut hold = Hold::default();
        assert!(!hold.serves(&look(1, 10, 10), 0, || NOW));
        assert_eq!(hold.rests_until(NOW), None);
    }
}
