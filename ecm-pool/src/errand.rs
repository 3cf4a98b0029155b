use crate::sync::{Mutex, lock};
use ecm_core::Failure;

/// A job that owns everything it needs, so that whoever holds the writer can run it.
pub(crate) trait Errand<C>: Send + Sync {
    /// Runs it, and keeps what it answers.
    fn run(&self, connection: &mut C) -> Result<(), Failure>;
}

/// An [`Errand`] together with its last answer.
pub(crate) struct Desk<J, T>(Mutex<Option<(J, Option<T>)>>);

impl<J, T> Desk<J, T> {
    pub(crate) fn new(job: J) -> Self {
        Self(Mutex::new(Some((job, None))))
    }

    /// Ends the job, and answers its last answer.
    pub(crate) fn clear(&self) -> Option<T> {
        let taken = lock(&self.0).take();
        taken.and_then(|(_, answer)| answer)
    }
}

impl<C, J, T> Errand<C> for Desk<J, T>
where
    J: FnMut(&mut C) -> Result<T, Failure> + Send,
    T: Send,
{
    fn run(&self, connection: &mut C) -> Result<(), Failure> {
        let mut desk = lock(&self.0);
        let Some((job, answer)) = &mut *desk else {
            return Err(Failure::msg("whoever sent this job has gone away"));
        };
        *answer = None;
        *answer = Some(job(connection)?);
        Ok(())
    }
}
