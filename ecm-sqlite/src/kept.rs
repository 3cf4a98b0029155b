#![expect(
    unsafe_code,
    reason = "statements are kept beside the connection that they borrow, which no lifetime can say"
)]

use rusqlite::{CachedStatement, Connection, Result, Statement};
use std::{
    cell::{Cell, UnsafeCell},
    mem, ops,
    ptr::NonNull,
};

/// How many statements are kept in front of the driver's cache.
const SLOTS: usize = 32;

/// How often another text must ask for a slot, without a use of the one that has it in between, to get it.
const PATIENCE: u8 = 2;

/// A connection, with the statements that were used last taken out of the driver's cache.
///
/// The driver's cache hashes the text, allocates its key and moves the statement, each time one is taken
/// and given back. Here a text has one slot, by its length and some of its bytes, and is compared as a
/// whole; the statement is used where it stands. Two texts that share a slot do not drive each other out:
/// the other one is served from the driver's cache until the first is not used any more.
pub(crate) struct Kept {
    /// None on a connection that is to go by the driver's cache alone, and once it was exposed.
    slots: Box<[Slot]>,
    /// Made from a box, and given back to one when this is dropped. Shared references to it lie in the
    /// slots; an exclusive one is made only while they are empty.
    connection: NonNull<Connection>,
}

// SAFETY: the connection is `Send`, and whatever lies in a slot borrows it and nothing else: all of it goes to
// the other thread together. Guards borrow this, so that none stays behind.
unsafe impl Send for Kept {}

/// The place of one statement.
#[derive(Default)]
struct Slot {
    /// Whether the statement is lent. For ever, if its guard was forgotten.
    lent: Cell<bool>,
    /// How often another text has asked since this one was used.
    asked: Cell<u8>,
    /// Changed and handed out only by whoever has found `lent` to be false, and has set it.
    held: UnsafeCell<Option<Held>>,
}

struct Held {
    text: Box<str>,
    /// Borrows the connection beside the slots: it is dropped before that is.
    statement: CachedStatement<'static>,
}

/// A statement from a cache, to which it returns, without parameters, when this is dropped.
pub(crate) struct Cached<'c>(Home<'c>);

enum Home<'c> {
    Slot(&'c Slot),
    Driver(CachedStatement<'c>),
}

impl Kept {
    /// With as many slots as make sense where the driver's cache keeps `capacity` statements.
    pub(crate) fn new(connection: Connection, capacity: usize) -> Self {
        let slots = if capacity == 0 { 0 } else { SLOTS };
        let connection = NonNull::from(Box::leak(Box::new(connection)));
        Self { slots: (0..slots).map(|_| Slot::default()).collect(), connection }
    }

    pub(crate) fn connection(&self) -> &Connection {
        // SAFETY: it lives as long as this, and an exclusive reference is only made from an exclusive one to this.
        unsafe { self.connection.as_ref() }
    }

    /// The connection, to do anything with. From now on the driver's cache alone is used.
    pub(crate) fn expose(&mut self) -> &mut Connection {
        self.give_back();
        self.slots = Box::default();
        // SAFETY: it lives as long as this. The slots were the only holders of references to it besides those who
        // borrow this, of whom there is none, since this is borrowed exclusively.
        unsafe { self.connection.as_mut() }
    }

    /// Runs something with the connection for which nobody else may hold a reference to it.
    pub(crate) fn alone<T>(&mut self, run: impl FnOnce(&mut Connection) -> T) -> T {
        self.give_back();
        // SAFETY: as in `expose`; the slots are empty, and are filled only by whoever borrows this.
        run(unsafe { self.connection.as_mut() })
    }

    /// Finalises every statement in either cache.
    pub(crate) fn flush(&mut self) {
        self.give_back();
        self.connection().flush_prepared_statement_cache();
    }

    /// Gives all statements back to the driver's cache, also those whose guards were forgotten.
    fn give_back(&mut self) {
        for slot in &mut self.slots {
            *slot.lent.get_mut() = false;
            if let Some(mut held) = slot.held.get_mut().take() {
                // One that was forgotten may be running: it would run on in the cache.
                drop(held.statement.raw_query());
            }
        }
    }

    /// Takes a statement of this text from a cache, or prepares it.
    pub(crate) fn take(&self, text: &str) -> Result<Cached<'_>> {
        let Some(slot) = self.slots.get(place(text)) else { return self.take_past_slots(text) };
        if slot.lent.get() {
            return self.take_past_slots(text);
        }
        // SAFETY: nobody else has it, since it is not lent; it is looked at by this thread alone, since `Cell` makes
        // this not `Sync`; and the reference ends before anything else is done with the slot.
        let found = unsafe { &*slot.held.get() }.as_ref().map(|held| *held.text == *text);
        match found {
            Some(true) => slot.asked.set(0),
            Some(false) if slot.asked.get() < PATIENCE => {
                slot.asked.set(slot.asked.get() + 1);
                return self.take_past_slots(text);
            }
            Some(false) | None => self.fill(slot, text)?,
        }
        slot.lent.set(true);
        Ok(Cached(Home::Slot(slot)))
    }

    #[cold]
    fn fill(&self, slot: &Slot, text: &str) -> Result<()> {
        // Preparing asks the authorizer, which knows nothing of slots.
        let statement = self.connection().prepare_cached(text)?;
        // SAFETY: only the lifetime changes. The statement borrows the connection, which outlives it: `Drop` empties
        // the slots first, and so does whatever makes an exclusive reference.
        let statement = unsafe { mem::transmute::<CachedStatement<'_>, CachedStatement<'static>>(statement) };
        let held = Held { text: text.into(), statement };
        // SAFETY: as in `take`: it is not lent. The one before is dropped only after the reference has ended.
        let before = unsafe { (*slot.held.get()).replace(held) };
        drop(before);
        slot.asked.set(0);
        Ok(())
    }

    fn take_past_slots(&self, text: &str) -> Result<Cached<'_>> {
        self.connection().prepare_cached(text).map(|statement| Cached(Home::Driver(statement)))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.give_back();
        // SAFETY: it was made from a box by `new`, and nothing uses it after this.
        drop(unsafe { Box::from_raw(self.connection.as_ptr()) });
    }
}

/// The slot of a text. Most texts begin alike, so that the end and the middle tell more.
fn place(text: &str) -> usize {
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
    let word = |at: usize| {
        let bytes = text.as_bytes().get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u64::from_le_bytes)
    };
    let length = text.len();
    let mixed = word(length.saturating_sub(8)).wrapping_mul(MULTIPLIER) ^ word(length / 2) ^ length as u64;
    // The upper bits are the better ones.
    (mixed.wrapping_mul(MULTIPLIER) >> 59) as usize
}

const _: () = assert!(SLOTS == 1 << (64 - 59));

impl<'c> ops::Deref for Cached<'c> {
    type Target = Statement<'c>;

    #[inline]
    fn deref(&self) -> &Statement<'c> {
        match &self.0 {
            // SAFETY: this guard has the slot, since it has set `lent`; it hands the statement out exclusively only
            // where it is borrowed exclusively itself.
            Home::Slot(slot) => match unsafe { &*slot.held.get() } {
                Some(held) => &held.statement,
                None => unreachable!("{FULL}"),
            },
            Home::Driver(statement) => statement,
        }
    }
}

impl<'c> ops::DerefMut for Cached<'c> {
    /// Only for calling the statement: it must not be exchanged for another one.
    #[inline]
    fn deref_mut(&mut self) -> &mut Statement<'c> {
        match &mut self.0 {
            Home::Slot(slot) => {
                // SAFETY: as in `deref`.
                let Some(held) = (unsafe { &mut *slot.held.get() }) else { unreachable!("{FULL}") };
                // SAFETY: only the lifetime changes. It becomes shorter, which would allow to put a statement there
                // that lives shorter: nobody in this crate, which alone sees this type, exchanges one.
                unsafe { mem::transmute::<&mut Statement<'static>, &mut Statement<'c>>(&mut held.statement) }
            }
            Home::Driver(statement) => statement,
        }
    }
}

const FULL: &str = "a slot that is lent holds a statement";

impl Drop for Cached<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Home::Slot(slot) = &self.0 {
            // As the driver does: a value must not reach the next user of the text, nor stay in memory.
            // SAFETY: as in `deref`.
            if let Some(held) = unsafe { &mut *slot.held.get() } {
                held.statement.clear_bindings();
            }
            slot.lent.set(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
    use std::{
        sync::{
            Arc,
            atomic::{AtomicU32, Ordering},
        },
        thread,
    };

    const SQL: &str = "select a from t where a > ?1";

    fn open() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("create table t(a); insert into t values (1), (2), (3)").unwrap();
        connection
    }

    /// With a count of how often a `SELECT` was prepared.
    fn counted() -> (Kept, Arc<AtomicU32>) {
        let prepared = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&prepared);
        let mut connection = open();
        let authorizer = move |context: AuthContext<'_>| {
            seen.fetch_add(u32::from(context.action == AuthAction::Select), Ordering::Relaxed);
            Authorization::Allow
        };
        connection.authorizer(Some(authorizer)).unwrap();
        (Kept::new(connection, 16), prepared)
    }

    fn first(kept: &Kept, text: &str, above: i64) -> i64 {
        kept.take(text).unwrap().query_row([above], |row| row.get(0)).unwrap()
    }

    /// Two texts that share a slot.
    fn neighbours() -> (String, String) {
        let text = |number: u32| format!("select a + {number} - {number} from t where a > ?1");
        let other = (1..).map(text).find(|other| place(other) == place(&text(0))).unwrap();
        (text(0), other)
    }

    #[test]
    fn a_text_is_prepared_once_whoever_owns_its_bytes() {
        let ((kept, prepared), copy) = (counted(), SQL.to_owned());
        for above in [0, 1, 2].repeat(20) {
            assert_eq!(first(&kept, SQL, above), above + 1);
            assert_eq!(first(&kept, &copy, above), above + 1);
        }
        assert_eq!(prepared.load(Ordering::Relaxed), 1);
        assert!(kept.take("select b from t").is_err());
    }

    #[test]
    fn texts_that_share_a_slot_are_not_mistaken_and_do_not_drive_each_other_out() {
        let (one, other) = neighbours();
        let (kept, prepared) = counted();
        for _ in 0..20 {
            assert_eq!(kept.take(&one).unwrap().expanded_sql().unwrap(), one.replace("?1", "NULL"));
            assert_eq!(kept.take(&other).unwrap().expanded_sql().unwrap(), other.replace("?1", "NULL"));
        }
        assert_eq!(prepared.load(Ordering::Relaxed), 2);
        // It gets the slot once the first is not used any more, which is in the driver's cache then.
        for _ in 0..4 {
            drop(kept.take(&other).unwrap());
        }
        assert!(matches!(kept.take(&other).unwrap().0, Home::Slot(_)));
        assert_eq!((first(&kept, &one, 0), first(&kept, &other, 0)), (1, 1));
        assert_eq!(prepared.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_text_may_be_taken_again_while_its_statement_is_lent() {
        let (kept, prepared) = counted();
        for _ in 0..5 {
            let mut outer = kept.take(SQL).unwrap();
            let mut rows = outer.query([1]).unwrap();
            assert_eq!(rows.next().unwrap().unwrap().get::<_, i64>(0).unwrap(), 2);
            assert_eq!(first(&kept, SQL, 0), 1);
            assert_eq!(rows.next().unwrap().unwrap().get::<_, i64>(0).unwrap(), 3);
        }
        assert_eq!(prepared.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn no_parameter_reaches_the_next_user_of_the_text() {
        let (kept, _) = counted();
        kept.take(SQL).unwrap().raw_bind_parameter(1, 0).unwrap();
        assert!(kept.take(SQL).unwrap().raw_query().next().unwrap().is_none(), "nothing is greater than NULL");
    }

    #[test]
    fn a_guard_that_was_forgotten_in_the_middle_of_its_rows_keeps_nothing_open_for_ever() {
        let (mut kept, prepared) = counted();
        let mut forgotten = kept.take(SQL).unwrap();
        let mut rows = forgotten.query([0]).unwrap();
        assert!(rows.next().unwrap().is_some());
        mem::forget(rows);
        mem::forget(forgotten);
        assert!(kept.connection().is_busy());
        assert_eq!(first(&kept, SQL, 1), 2, "the driver has another one");
        kept.alone(|connection| assert!(!connection.is_busy()));
        assert_eq!(first(&kept, SQL, 2), 3);
        assert_eq!(prepared.load(Ordering::Relaxed), 2);
        kept.flush();
        assert_eq!(first(&kept, SQL, 2), 3);
        assert_eq!(prepared.load(Ordering::Relaxed), 3, "in no cache");
    }

    #[test]
    fn an_exposed_connection_may_be_exchanged_and_closed_and_its_statements_go_with_it() {
        let (mut kept, _) = counted();
        assert_eq!(first(&kept, SQL, 0), 1);
        let other = open();
        other.execute_batch("delete from t; insert into t values (7)").unwrap();
        mem::replace(kept.expose(), other).close().unwrap();
        assert_eq!(first(&kept, SQL, 0), 7);
        assert!(matches!(kept.take(SQL).unwrap().0, Home::Driver(_)));
    }

    #[test]
    fn without_room_for_statements_none_is_kept() {
        let kept = Kept::new(open(), 0);
        assert_eq!(first(&kept, SQL, 0), 1);
        assert!(matches!(kept.take(SQL).unwrap().0, Home::Driver(_)));
    }

    #[test]
    fn it_goes_from_thread_to_thread_and_ends_on_any() {
        let (kept, prepared) = counted();
        assert_eq!(first(&kept, SQL, 0), 1);
        let kept = thread::spawn(move || {
            assert_eq!(first(&kept, SQL, 1), 2);
            kept
        });
        let kept = kept.join().unwrap();
        assert_eq!(first(&kept, SQL, 2), 3);
        thread::spawn(move || drop(kept)).join().unwrap();
        assert_eq!(prepared.load(Ordering::Relaxed), 1);
    }
}
