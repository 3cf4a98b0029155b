use crate::{CacheMode, known_statement::KnownStatement};
use ecm_core::{Analysis, Error, Kind, Prepared};
use std::{
    cell::Cell,
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

/// The statements of a group that have been analysed, by their text.
///
/// Bounded: a program that writes values into its SQL instead of binding them would fill the memory
/// otherwise. When it is full everything is forgotten, which costs one analysis per text; numbers
/// are never given twice.
///
/// # Concurrency
/// Behind one lock, in front of which each thread remembers what it has asked for last: copies of its own, so
/// that threads do not even count references to the same thing.
#[derive(Debug)]
pub(crate) struct Registry {
    /// Tells registries apart in what threads remember.
    number: u64,
    known: RwLock<Known>,
    /// How often everything was forgotten: an analysis from before says nothing of what is now. Moved under the
    /// lock.
    clears: AtomicU64,
}

#[derive(Debug, Default)]
struct Known {
    by_text: HashMap<Arc<str>, Arc<KnownStatement>>,
    /// What was decided about texts. Outlives what is known of them.
    modes: HashMap<Arc<str>, CacheMode>,
    next_id: u32,
}

impl Known {
    /// A statement with the next number.
    fn number(&mut self, sql: Arc<str>, analysis: Analysis) -> Arc<KnownStatement> {
        let mode = self.modes.get(&sql).copied().unwrap_or_default();
        let prepared = Prepared { id: self.next_id, sql, analysis };
        self.next_id = self.next_id.wrapping_add(1);
        Arc::new(KnownStatement { prepared, mode })
    }
}

const CAPACITY: usize = 4_096;

/// How many statements a thread remembers, of all registries.
const REMEMBERED: usize = 32;

/// One place of what a thread remembers.
struct Recent {
    known: Cell<Option<Own>>,
    /// What was looked up here last: which registry, and the number of the statement. A copy is made when it is
    /// looked up again, so that texts that come once do not cost one each.
    asked: Cell<(u64, u32)>,
}

/// A copy of a thread's own: of which registry, after how many clears of it.
struct Own {
    registry: u64,
    clears: u64,
    prepared: Arc<KnownStatement>,
}

impl Recent {
    const fn nothing() -> Self {
        Self { known: Cell::new(None), asked: Cell::new((0, 0)) }
    }
}

thread_local! {
    static RECENT: [Recent; REMEMBERED] = const { [const { Recent::nothing() }; REMEMBERED] };
}

/// Where a thread remembers a text: by where it lies, since most texts are constants. The text itself decides.
#[inline]
fn place(sql: &str) -> usize {
    let address = sql.as_ptr() as usize;
    (address ^ (address >> 5) ^ sql.len()) % REMEMBERED
}

impl Default for Registry {
    fn default() -> Self {
        static REGISTRIES: AtomicU64 = AtomicU64::new(1);
        let number = REGISTRIES.fetch_add(1, Ordering::Relaxed);
        Self { number, known: RwLock::default(), clears: AtomicU64::new(0) }
    }
}

impl Registry {
    #[inline]
    pub(crate) fn get(&self, sql: &str) -> Option<Arc<KnownStatement>> {
        let place = place(sql);
        // A thread that ends has no memory any more.
        let remembered = RECENT.try_with(|recent| {
            let found = recent[place].known.take()?;
            let is_right =
                found.registry == self.number && found.clears == self.clears() && *found.prepared.sql == *sql;
            let prepared = is_right.then(|| Arc::clone(&found.prepared));
            recent[place].known.set(Some(found));
            prepared
        });
        remembered.ok().flatten().or_else(|| self.look_up(sql, place))
    }

    #[cold]
    fn look_up(&self, sql: &str, place: usize) -> Option<Arc<KnownStatement>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let found = Arc::clone(known.by_text.get(sql)?);
        // Under the lock, so that it is the number of clears that `found` has outlived.
        let clears = self.clears();
        drop(known);
        let copied = RECENT.try_with(|recent| {
            let asked = (self.number, found.id);
            if recent[place].asked.replace(asked) != asked {
                return None;
            }
            let prepared = Arc::new(KnownStatement::clone(&found));
            let own = Own { registry: self.number, clears, prepared: Arc::clone(&prepared) };
            recent[place].known.set(Some(own));
            Some(prepared)
        });
        Some(copied.ok().flatten().unwrap_or(found))
    }

    /// To be asked before an analysis begins.
    #[inline]
    pub(crate) fn clears(&self) -> u64 {
        self.clears.load(Ordering::Acquire)
    }

    /// Keeps an analysis, unless everything was forgotten since it began; if another thread was faster,
    /// that one's is answered.
    pub(crate) fn add(&self, sql: &str, analysis: Analysis, clears: u64) -> Arc<KnownStatement> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(prepared) = known.by_text.get(sql) {
            return Arc::clone(prepared);
        }
        if known.by_text.len() >= CAPACITY {
            known.by_text.clear();
        }
        let sql: Arc<str> = sql.into();
        let prepared = known.number(Arc::clone(&sql), analysis);
        if self.clears() == clears {
            known.by_text.insert(sql, Arc::clone(&prepared));
        }
        prepared
    }

    /// A statement with an analysis that is not kept, since it tells nothing of later calls.
    pub(crate) fn once(&self, sql: &str, analysis: Analysis) -> Arc<KnownStatement> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.number(sql.into(), analysis)
    }

    /// Has nothing kept of a statement any more, until everything is forgotten: what was kept of it was not what the
    /// database answers. It gets another number, so that nothing of it is found. Answers whether that is new.
    pub(crate) fn quarantine(&self, statement: &Prepared) -> bool {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.by_text.get(&*statement.sql).is_some_and(|known| known.id != statement.id) {
            return false;
        }
        let uncacheable =
            Some("an answer that was kept was not what the database answered: see the events of the cache".into());
        let analysis = Analysis { cacheable: false, uncacheable, ..statement.analysis.clone() };
        let prepared = known.number(Arc::clone(&statement.sql), analysis);
        known.by_text.insert(Arc::clone(&statement.sql), prepared);
        // What threads remember of it is over; that of other statements they look up again.
        self.clears.fetch_add(1, Ordering::Release);
        true
    }

    /// Decides what a statement of this text accepts from the cache where a call does not say.
    ///
    /// # Errors
    /// [`Kind::Invalid`]: that was decided about as many texts as there is room for.
    pub(crate) fn set_mode(&self, sql: &str, mode: CacheMode) -> Result<(), Error> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if mode == CacheMode::default() {
            known.modes.remove(sql);
        } else {
            if known.modes.len() >= CAPACITY && !known.modes.contains_key(sql) {
                let message =
                    format_args!("a cache mode was set for {CAPACITY} texts already: bind values as parameters");
                return Err(Error::new(Kind::Invalid, message).with_sql(sql));
            }
            known.modes.insert(sql.into(), mode);
        }
        if let Some(statement) = known.by_text.get_mut(sql) {
            *statement = Arc::new(KnownStatement { prepared: statement.prepared.clone(), mode });
        }
        // What threads remember of it is over.
        self.clears.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Forgets everything, except what was decided: the schema may have changed.
    pub(crate) fn clear(&self) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.by_text.clear();
        self.clears.fetch_add(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_keeps_its_number_and_no_number_is_given_twice() {
        let registry = Registry::default();
        let first = registry.add("select 1", Analysis::default(), registry.clears());
        assert_eq!(registry.add("select 1", Analysis::default(), registry.clears()).id, first.id);
        registry.clear();
        assert!(registry.get("select 1").is_none());
        assert_ne!(registry.add("select 1", Analysis::default(), registry.clears()).id, first.id);
    }

    #[test]
    fn an_analysis_that_a_change_has_overtaken_is_used_once_and_not_kept() {
        let registry = Registry::default();
        let before = registry.clears();
        registry.clear();
        let used = registry.add("select 1", Analysis::default(), before);
        assert!(registry.get("select 1").is_none());
        assert_ne!(registry.add("select 1", Analysis::default(), registry.clears()).id, used.id);
    }

    #[test]
    fn a_statement_in_quarantine_is_another_one_and_keeps_nothing_until_everything_is_forgotten() {
        let registry = Registry::default();
        let analysis = || Analysis { cacheable: true, ..Analysis::default() };
        let [wrong, other] = ["select 1", "select 2"].map(|sql| registry.add(sql, analysis(), registry.clears()));
        assert!((0..3).all(|_| registry.get("select 1").is_some_and(|known| known.analysis.cacheable)));
        assert!(registry.quarantine(&wrong));
        let known = registry.get("select 1").unwrap();
        assert!(!known.analysis.cacheable && known.analysis.uncacheable.is_some() && known.id != wrong.id);
        assert_eq!(registry.get("select 2").as_deref(), Some(&*other));
        assert!(!registry.quarantine(&wrong), "only what is kept of it now can be wrong");
        assert_eq!(registry.add("select 1", analysis(), registry.clears()).id, known.id);
        registry.clear();
        assert!(registry.add("select 1", analysis(), registry.clears()).analysis.cacheable);
    }

    #[test]
    fn what_was_decided_about_a_text_acts_at_once_and_outlives_what_is_known_of_it() {
        let registry = Registry::default();
        let id = registry.add("select 1", Analysis::default(), registry.clears()).id;
        let mode = || registry.get("select 1").unwrap().mode;
        assert!((0..3).all(|_| mode() == CacheMode::Current));
        registry.set_mode("select 1", CacheMode::Bypass).unwrap();
        assert!((0..3).all(|_| mode() == CacheMode::Bypass));
        assert_eq!(registry.get("select 1").unwrap().id, id, "what is kept of it is found still");
        registry.clear();
        assert_eq!(registry.add("select 1", Analysis::default(), registry.clears()).mode, CacheMode::Bypass);
        registry.set_mode("select 1", CacheMode::Current).unwrap();
        assert_eq!(mode(), CacheMode::Current);
        assert!((0..CAPACITY).all(|number| registry.set_mode(&number.to_string(), CacheMode::Bypass).is_ok()));
        let error = registry.set_mode("select 1", CacheMode::Bypass).unwrap_err();
        assert!(error.kind() == Kind::Invalid && error.to_string().contains("4096 texts"), "{error}");
        registry.set_mode("0", CacheMode::Refresh).unwrap();
        registry.set_mode("0", CacheMode::Current).unwrap();
        registry.set_mode("select 1", CacheMode::Bypass).unwrap();
    }

    #[test]
    fn texts_without_end_do_not_fill_the_memory() {
        let registry = Registry::default();
        for number in 0..3 * CAPACITY {
            registry.add(&format!("select {number}"), Analysis::default(), registry.clears());
        }
        assert!(registry.known.read().unwrap().by_text.len() <= CAPACITY);
    }

    #[test]
    fn what_a_thread_remembers_is_of_this_registry_and_of_this_text_alone() {
        let (registry, other) = (Registry::default(), Registry::default());
        let mut text = String::from("select 1");
        let first = registry.add(&text, Analysis::default(), 0);
        for _ in 0..2 {
            assert_eq!(registry.get(&text).as_deref(), Some(&*first));
            assert!(other.get(&text).is_none());
        }
        // Another text in the same memory.
        text.replace_range(.., "select 2");
        assert!(registry.get(&text).is_none());
        text.replace_range(.., "select 1");
        assert_eq!(registry.get(&text).as_deref(), Some(&*first));
        let second = other.add(&text, Analysis { read_only: true, ..Analysis::default() }, 0);
        assert_eq!((other.get(&text).as_deref(), registry.get(&text).as_deref()), (Some(&*second), Some(&*first)));
    }

    #[test]
    fn what_another_thread_has_cleared_is_remembered_by_none() {
        let registry = Registry::default();
        registry.add("select 1", Analysis::default(), 0);
        assert!((0..2).all(|_| registry.get("select 1").is_some()));
        std::thread::scope(|scope| scope.spawn(|| registry.clear()).join().unwrap());
        assert!(registry.get("select 1").is_none());
    }

    #[test]
    fn threads_have_copies_of_their_own_of_what_they_remember() {
        let registry = Registry::default();
        let kept = registry.add("select 1", Analysis::default(), 0);
        let again = || {
            assert!(Arc::ptr_eq(&registry.get("select 1").unwrap(), &kept), "none is made of what comes once");
            registry.get("select 1").unwrap()
        };
        let mine = again();
        let theirs = std::thread::scope(|scope| scope.spawn(again).join().unwrap());
        assert!(!Arc::ptr_eq(&mine, &theirs) && !Arc::ptr_eq(&mine, &kept));
        assert!(Arc::ptr_eq(&mine, &registry.get("select 1").unwrap()));
        assert_eq!((&mine, &theirs), (&kept, &kept));
    }
}
