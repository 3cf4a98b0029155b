use crate::{
    barrier, hints,
    place::Loaned,
    slots::{Figures, Held, Slot, Slots},
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};
use ecm_core::{Order, Time};
use std::{
    panic::Location,
    sync::atomic::{AtomicU64, Ordering::Relaxed, fence},
    time::Duration,
};

/// What a pool lends and takes back without its lock.
///
/// The slots hold the connections; the gate says whether anything else has to be looked at first.
/// A gate that is not open sends everybody to the lock, in both directions:
///
/// *take*: read the gate, then take out of a slot. *Give*: read the gate, put into the slot, read the
/// gate again. *Queue*, under the lock: shut the gate, then look into every slot. Of one who gives and
/// one who queues at least one has to see what the other has done, so that nobody is left waiting
/// beside an idle connection; that takes a full barrier between the write and the read of each. Whoever
/// gives leaves out its own, which would cost it as much as all the rest, as long as nobody queues:
///
/// *give*: put; read `fenced`, and if it is set, a barrier; read the gate. *Queue*: shut; if `fenced` is
/// not set, set it, then [`barrier::everywhere`]; a barrier; look. One who gives and reads `fenced` unset has
/// read it before that barrier, wherever it stands: what it has put is seen. One who reads it set has a
/// barrier of its own, and then both have. What holds for queueing holds for every other reason to
/// shut the gate, and for recalling what is lent.
///
/// `fenced` stays set until many loans went by without it, see [`calms_down`](Self::calms_down), and for
/// ever where there is no such barrier. It is unset under the lock and read so that what is read
/// afterwards is no older: a gate that was shut before it was unset is seen to be shut.
///
/// Overtaking is limited to those who had read the gate before it was shut.
#[repr(align(128))]
pub(crate) struct Front<C> {
    id: u32,
    /// Whether somebody wants to be told of each loan.
    pub(crate) tells: bool,
    gate: AtomicU32,
    /// Whether whoever gives has a barrier of its own.
    fenced: AtomicBool,
    /// Whether connections are lent in even order.
    even: std::sync::atomic::AtomicBool,
    /// Whether a newcomer may be lent what is on its way to somebody who queues.
    robs: std::sync::atomic::AtomicBool,
    /// How many loans were sampled since the gate was shut last.
    calm: std::sync::atomic::AtomicU32,
    /// A moment that has passed, for telling roughly since when something is idle.
    tick: AtomicU64,
    /// After how long without use or check a connection is checked when it is lent, in nanoseconds.
    bypass: AtomicU64,
    /// What was not found to work since this moment is checked when it is lent.
    suspect: AtomicU64,
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
pub(crate) enum Given<'p, C> {
    /// It is idle.
    Idle,
    /// It is idle in this slot, but that or the gate was shut meanwhile: the lock has to be taken.
    Ask(usize),
    /// It has to be given back under the lock.
    Refused(Held<'p, C>),
}

/// So many samples without anybody who queues make a pool calm. One stands for 64 loans, so that the barrier of
/// the next who queues costs less than those that were saved.
const CALM: u32 = if cfg!(shuttle) { 1 } else { 64 };

impl<C> Front<C> {
    pub(crate) fn new(tells: bool) -> Self {
        static NEXT_ID: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);
        let id = NEXT_ID.fetch_add(1, Relaxed);
        Self {
            id,
            tells,
            gate: AtomicU32::new(0),
            fenced: AtomicBool::new(!barrier::is_available()),
            even: false.into(),
            robs: false.into(),
            calm: 0.into(),
            tick: AtomicU64::new(0),
            bypass: AtomicU64::new(u64::MAX),
            suspect: AtomicU64::new(0),
            slots: Slots::new(id),
        }
    }

    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.gate.load(Ordering::SeqCst) == 0
    }

    /// Whether a newcomer would find nothing under the lock either: somebody queues, and is not overtaken.
    pub(crate) fn is_in_vain(&self) -> bool {
        self.gate.load(Ordering::SeqCst) & Shut::Queued as u32 != 0 && !self.robs.load(Relaxed)
    }

    pub(crate) fn rob(&self, robs: bool) {
        self.robs.store(robs, Relaxed);
    }

    /// Shuts the gate for a reason, or takes the reason back. Called under the lock. Whoever has given
    /// something back without having seen that it was shut is seen by whoever looks after this.
    #[inline]
    pub(crate) fn shut(&self, reason: Shut, shut: bool) {
        let gate = self.gate.load(Ordering::SeqCst);
        let bit = reason as u32;
        let next = if shut { gate | bit } else { gate & !bit };
        if next != gate {
            self.gate.store(next, Ordering::SeqCst);
            if shut {
                self.meet();
            }
        }
    }

    /// The barrier between shutting and looking, of both sides if the other has none. Called under the lock.
    fn meet(&self) {
        self.calm.store(0, Relaxed);
        if !self.fenced.load(Ordering::SeqCst) {
            self.fenced.store(true, Ordering::SeqCst);
            barrier::everywhere();
            #[cfg(shuttle)]
            self.drain();
        }
        fence(Ordering::SeqCst);
    }

    /// A loan was sampled; answers whether the barriers of those who give have become too many.
    pub(crate) fn calms_down(&self) -> bool {
        self.fenced.load(Ordering::Relaxed) && self.calm.fetch_add(1, Relaxed) >= CALM && barrier::is_available()
    }

    /// Whoever gives needs no barrier of its own until the gate is shut again. Called under the lock.
    pub(crate) fn calm_down(&self) {
        if barrier::is_available() {
            self.fenced.store(false, Ordering::SeqCst);
        }
    }

    /// Everybody sees what was put into a slot.
    #[cfg(shuttle)]
    pub(crate) fn drain(&self) {
        self.slots.iter().for_each(|(_, slot)| slot.cell.drain());
    }

    /// Takes an idle connection, whatever the gate says: what this thread used last, else the first;
    /// in even order the one after what this thread used last. What is shunned comes last. Under the lock:
    /// what is recalled is left to whoever has given it back.
    pub(crate) fn find(&self) -> Option<Loaned<C>> {
        self.search().map(Loaned::of)
    }

    fn search(&self) -> Option<Held<'_, C>> {
        if self.even.load(Relaxed) {
            return self.scan(hints::recent(self.id).next().map_or(0, |index| index + 1));
        }
        let recent = hints::recent(self.id).filter_map(|index| self.slots.get(index));
        recent.filter(|slot| !slot.is_shunned()).find_map(Self::claim).or_else(|| self.scan(0))
    }

    /// As [`find`](Self::find), for a loan that begins now, without the lock. What was recalled meanwhile has to be
    /// given back under the lock.
    #[inline]
    pub(crate) fn lend(&self, now: Time, from: &'static Location<'static>) -> Option<Held<'_, C>> {
        let warm = if self.even.load(Relaxed) { None } else { hints::newest(self.id) };
        let warm = warm.and_then(|index| self.slots.get(index)).filter(|slot| !slot.is_shunned());
        let held = match warm.and_then(|slot| slot.cell.take()) {
            Some(held) => held,
            None => self.search_on()?,
        };
        held.notes().lent(now, from);
        Some(held)
    }

    #[cold]
    fn search_on(&self) -> Option<Held<'_, C>> {
        self.search()
    }

    pub(crate) fn take_from(&self, index: usize) -> Option<Loaned<C>> {
        self.slots.get(index).and_then(Self::claim).map(Loaned::of)
    }

    fn claim(slot: &Slot<C>) -> Option<Held<'_, C>> {
        if slot.cell.is_recalled() { None } else { slot.cell.take() }
    }

    fn scan(&self, from: usize) -> Option<Held<'_, C>> {
        let slots = self.slots.len();
        let from = from.min(slots);
        let all = || (from..slots).chain(0..from).map(|index| self.slots.at(index));
        let mut shuns = false;
        let liked = all().find_map(|slot| {
            let shunned = slot.is_shunned();
            shuns |= shunned;
            if shunned { None } else { Self::claim(slot) }
        });
        // Also those that were not taken before: whoever finds nothing has looked into every slot.
        liked.or_else(|| if shuns { all().find_map(Self::claim) } else { None })
    }

    /// Whether a connection has to be checked before it is lent.
    #[inline]
    pub(crate) fn is_stale(&self, slot: &Figures, now: Time) -> bool {
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
    #[inline]
    pub(crate) fn stamp(&self, loaned: &Loaned<C>, now: Time, from: &'static Location<'static>) {
        self.slots.at(loaned.slot).lent(now, from);
    }

    #[inline]
    pub(crate) fn give<'p>(&self, held: Held<'p, C>) -> Given<'p, C> {
        if !self.is_open() || held.is_recalled() {
            return Given::Refused(held);
        }
        let notes = held.notes();
        notes.given(self.tick.load(Relaxed));
        hints::remember(notes.hint());
        let cell = held.put();
        barrier::here();
        if self.fenced.load(Ordering::Acquire) {
            fence(Ordering::SeqCst);
            #[cfg(shuttle)]
            cell.drain();
        }
        if self.is_open() && !cell.is_recalled() { Given::Idle } else { Given::Ask(notes.index()) }
    }

    /// Makes a connection idle, under the lock, whatever the gate says and whether or not it was
    /// recalled.
    pub(crate) fn give_anyway(&self, loaned: Loaned<C>) {
        let slot = self.slots.at(loaned.slot);
        hints::remember(slot.hint());
        slot.cell.put_anyway(loaned.key, loaned.connection);
    }

    /// Takes the connection of a slot if it is idle, or has it asked for under the lock when it comes
    /// back. Called under the lock: nothing becomes vacant meanwhile.
    pub(crate) fn recall(&self, index: usize) -> Option<Loaned<C>> {
        let cell = &self.slots.at(index).cell;
        while !self.recall_taken(index) && !cell.is_vacant() {
            if let Some(held) = cell.take() {
                return Some(Loaned::of(held));
            }
        }
        None
    }

    /// Has the connection of a slot asked for under the lock when it comes back, if it is out; answers
    /// whether it is. Called under the lock.
    pub(crate) fn recall_taken(&self, index: usize) -> bool {
        let cell = &self.slots.at(index).cell;
        let was_recalled = cell.is_recalled();
        cell.recall(true);
        self.meet();
        let taken = cell.is_taken();
        cell.recall(taken || was_recalled);
        taken
    }

    /// What was put into a slot of which somebody asks to have it back. Called under the lock.
    pub(crate) fn recalled(&self, index: usize) -> Option<Loaned<C>> {
        let cell = &self.slots.at(index).cell;
        if cell.is_recalled() { cell.take().map(Loaned::of) } else { None }
    }

    /// A connection is no longer lent, though its slot is still taken.
    #[inline]
    pub(crate) fn rests(&self, loaned: &Loaned<C>) {
        let slot = self.slots.at(loaned.slot);
        if slot.cell.is_recalled() {
            slot.cell.recall(false);
        }
        slot.given(self.tick.load(Relaxed));
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
