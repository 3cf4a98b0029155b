use crate::{
    hints,
    place::Loaned,
    slots::{Slot, Slots},
    sync::atomic::{AtomicU32, Ordering},
};
use ecm_core::{Order, Time};
use std::{
    panic::Location,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// What a pool lends and takes back without its lock.
///
/// The slots hold the connections; the gate says whether anything else has to be looked at first.
/// A gate that is not open sends everybody to the lock, in both directions:
///
/// *take*: read the gate, then take out of a slot. *Give*: read the gate, put into the slot, read the
/// gate again. *Queue*, under the lock: shut the gate, then look into every slot. All of these are
/// `SeqCst`, so of one who gives and one who queues at least one sees what the other has done, and
/// nobody is left waiting beside an idle connection. Overtaking is limited to those who had read
/// the gate before it was shut.
pub(crate) struct Front<C> {
    id: u32,
    gate: AtomicU32,
    /// A moment that has passed, for telling roughly since when something is idle.
    tick: AtomicU64,
    /// After how long without use or check a connection is checked when it is lent, in nanoseconds.
    bypass: AtomicU64,
    /// What was not found to work since this moment is checked when it is lent.
    suspect: AtomicU64,
    /// Whether connections are lent in even order.
    even: AtomicBool,
    pub(crate) slots: Slots<C>,
}

/// Why the gate is not open.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Shut {
    /// Somebody queues.
    Queued = 1,
    /// The pool is closed.
    Closed = 2,
    /// Somebody wants to know when nothing is lent.
    Drained = 4,
    /// Nothing is to be lent for now.
    Suspended = 8,
    /// Nothing was lent for a while, and the next loan is to be noticed.
    Asleep = 16,
}

/// What became of a connection that was given back.
pub(crate) enum Given<C> {
    /// It is idle.
    Idle,
    /// It is idle, but the gate was shut meanwhile: the lock has to be taken.
    Ask,
    /// It has to be given back under the lock.
    Refused(Loaned<C>),
}

impl<C> Front<C> {
    pub(crate) fn new() -> Self {
        static NEXT_ID: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);
        Self {
            id: NEXT_ID.fetch_add(1, Relaxed),
            gate: AtomicU32::new(0),
            tick: AtomicU64::new(0),
            bypass: AtomicU64::new(u64::MAX),
            suspect: AtomicU64::new(0),
            even: AtomicBool::new(false),
            slots: Slots::new(),
        }
    }

    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.gate.load(Ordering::SeqCst) == 0
    }

    /// Shuts the gate for a reason, or takes the reason back. Called under the lock.
    pub(crate) fn shut(&self, reason: Shut, shut: bool) {
        let gate = self.gate.load(Ordering::SeqCst);
        let bit = reason as u32;
        let next = if shut { gate | bit } else { gate & !bit };
        if next != gate {
            self.gate.store(next, Ordering::SeqCst);
        }
    }

    /// Takes an idle connection, whatever the gate says: what this thread used last, else the first;
    /// in even order the one after what this thread used last. What is shunned comes last.
    pub(crate) fn find(&self) -> Option<Loaned<C>> {
        if self.even.load(Relaxed) {
            return self.scan(hints::recent(self.id).next().map_or(0, |index| index + 1));
        }
        let liked = |index: &usize| self.slots.get(*index).is_some_and(|slot| !slot.is_shunned());
        let mut recent = hints::recent(self.id).filter(liked);
        recent.find_map(|index| self.take_from(index)).or_else(|| self.scan(0))
    }

    /// As [`find`](Self::find), for a loan that begins now; with the slot.
    #[inline]
    pub(crate) fn lend(&self, now: Time, from: &'static Location<'static>) -> Option<(&Slot<C>, Loaned<C>)> {
        let warm = if self.even.load(Relaxed) { None } else { hints::newest(self.id) };
        let (slot, loaned) = warm.and_then(|index| self.claim(index, true)).or_else(|| self.find_another())?;
        slot.lent(now, from);
        Some((slot, loaned))
    }

    fn find_another(&self) -> Option<(&Slot<C>, Loaned<C>)> {
        let loaned = self.find()?;
        Some((self.slots.at(loaned.slot), loaned))
    }

    pub(crate) fn take_from(&self, index: usize) -> Option<Loaned<C>> {
        self.claim(index, false).map(|(_, loaned)| loaned)
    }

    #[inline]
    fn claim(&self, index: usize, choosy: bool) -> Option<(&Slot<C>, Loaned<C>)> {
        let slot = self.slots.get(index)?;
        if choosy && slot.is_shunned() {
            return None;
        }
        let (key, connection) = slot.cell.take()?;
        Some((slot, Loaned { slot: index, key, connection }))
    }

    fn scan(&self, from: usize) -> Option<Loaned<C>> {
        let slots = self.slots.len();
        let from = from.min(slots);
        let all = || (from..slots).chain(0..from);
        let mut shuns = false;
        let liked = all().find_map(|index| {
            let shunned = self.slots.at(index).is_shunned();
            shuns |= shunned;
            if shunned { None } else { self.take_from(index) }
        });
        // Also those that were not taken before: whoever finds nothing has looked into every slot.
        liked.or_else(|| if shuns { all().find_map(|index| self.take_from(index)) } else { None })
    }

    /// Whether a connection has to be checked before it is lent.
    #[inline]
    pub(crate) fn is_stale(&self, slot: &Slot<C>, now: Time) -> bool {
        let known_good = slot.known_good_at().as_nanos();
        now.as_nanos().saturating_sub(known_good) > self.bypass.load(Relaxed) || known_good < self.suspect.load(Relaxed)
    }

    pub(crate) fn is_suspect(&self, slot: &Slot<C>) -> bool {
        slot.known_good_at().as_nanos() < self.suspect.load(Relaxed)
    }

    /// A check has failed: whatever was not found to work since is to be checked.
    pub(crate) fn suspect(&self, now: Time) {
        self.suspect.fetch_max(now.as_nanos(), Relaxed);
    }

    /// After how long a connection is checked when it is lent; `None` for never.
    pub(crate) fn bypass(&self, span: Option<Duration>) {
        let nanos = span.map_or(u64::MAX, |span| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX));
        self.bypass.store(nanos, Relaxed);
    }

    pub(crate) fn lend_in(&self, order: Order) {
        self.even.store(order == Order::Even, Relaxed);
    }

    /// This moment has come.
    pub(crate) fn tick(&self, now: Time) {
        self.tick.store(now.as_nanos(), Relaxed);
    }

    /// A loan begins.
    pub(crate) fn stamp(&self, loaned: &Loaned<C>, now: Time, from: &'static Location<'static>) {
        self.slots.at(loaned.slot).lent(now, from);
    }

    /// Gives back into `slot`, which is the one that it is from.
    #[inline]
    pub(crate) fn give(&self, slot: &Slot<C>, loaned: Loaned<C>) -> Given<C> {
        if !self.is_open() {
            return Given::Refused(loaned);
        }
        let Loaned { slot: index, key, connection } = loaned;
        slot.given(self.tick.load(Relaxed));
        hints::remember(self.id, index);
        match slot.cell.put(key, connection) {
            Ok(()) if self.is_open() => Given::Idle,
            Ok(()) => Given::Ask,
            Err((key, connection)) => Given::Refused(Loaned { slot: index, key, connection }),
        }
    }

    /// Makes a connection idle, under the lock, whatever the gate says and whether or not it was
    /// recalled.
    pub(crate) fn give_anyway(&self, loaned: Loaned<C>) {
        hints::remember(self.id, loaned.slot);
        self.slots.at(loaned.slot).cell.put_anyway(loaned.key, loaned.connection);
    }

    /// Takes the connection of a slot if it is idle, or has it asked for under the lock when it comes
    /// back. Called under the lock: nothing becomes vacant meanwhile.
    pub(crate) fn recall(&self, index: usize) -> Option<Loaned<C>> {
        let cell = &self.slots.at(index).cell;
        while !cell.recall() && !cell.is_vacant() {
            if let Some(loaned) = self.take_from(index) {
                return Some(loaned);
            }
        }
        None
    }

    /// A connection is no longer lent, though its slot is still taken.
    pub(crate) fn rests(&self, loaned: &Loaned<C>) {
        self.slots.at(loaned.slot).given(self.tick.load(Relaxed));
    }

    pub(crate) fn idle(&self) -> usize {
        self.slots.iter().filter(|(_, slot)| slot.cell.is_full()).count()
    }

    /// The idle connection that has not been used for longest.
    pub(crate) fn coldest(&self) -> Option<usize> {
        let idle = self.slots.iter().filter(|(_, slot)| slot.cell.is_full());
        idle.min_by_key(|(index, slot)| (slot.used_at(), *index)).map(|(index, _)| index)
    }
}
