//! What several clients of one manager share, and who reads all that they write.

use crate::{
    client::{Question, same},
    plain,
};
use ecm::ConnectionManager;
use ecm_core::testing::Random;
use std::{
    error::Error,
    path::Path,
    sync::{
        Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

/// How many questions a reader asks beside the writers before it judges.
const BESIDE: u64 = 64;

/// How many it judges while nobody writes.
const JUDGED: u64 = 16;

#[derive(Debug, Default)]
pub(crate) struct Together {
    /// Held by whoever reads or writes something on both; alone by whoever compares both.
    quiet: RwLock<()>,
    /// Held by the one who writes plain SQLite.
    writing: Mutex<()>,
    questions: Mutex<Vec<Question>>,
    over: AtomicBool,
    asked: AtomicU64,
}

impl Together {
    pub(crate) fn busy(&self) -> RwLockReadGuard<'_, ()> {
        self.quiet.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn alone(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tell(&self, question: Question) {
        self.questions().push(question);
    }

    /// Ends the work of all.
    pub(crate) fn end(&self) {
        self.over.store(true, Relaxed);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }

    /// How often the readers have asked, judging or not.
    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Relaxed)
    }

    /// Asks beside those who write, so that the cache is filled while they commit, and judges while they do not.
    pub(crate) fn read(
        &self,
        manager: &ConnectionManager,
        twin: &Path,
        seed: u64,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let (twin, mut random) = (plain::connect(twin)?, Random::new(seed));
        loop {
            let last = self.is_over();
            for _ in 0..BESIDE {
                if let Some(question) = self.any(&mut random) {
                    let _whatever_it_is_now = question.answer(manager);
                    self.asked.fetch_add(1, Relaxed);
                }
            }
            let _quiet = self.quiet.write().unwrap_or_else(PoisonError::into_inner);
            for _ in 0..JUDGED {
                let Some(question) = self.any(&mut random) else { break };
                let (answer, truth) = (question.answer(manager), question.truth(&twin));
                self.asked.fetch_add(1, Relaxed);
                if !same(&answer, &truth) {
                    let place = "a moment at which nobody wrote".into();
                    return Err(question
                        .mismatch(place, "the work of all clients".into(), false, answer, truth)
                        .into());
                }
            }
            if last {
                return Ok(());
            }
        }
    }

    /// One of the last questions of all.
    fn any(&self, random: &mut Random) -> Option<Question> {
        let questions = self.questions();
        let last = questions.len().min(500) as u64;
        let back = random.below(last.max(1)) as usize;
        questions.len().checked_sub(1 + back).map(|number| questions[number].clone())
    }

    fn questions(&self) -> MutexGuard<'_, Vec<Question>> {
        self.questions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
