use super::{
    Unit as UnitRun, UnitOfWork,
    hooks::{Ended, Hooks},
    under_way::{Place, UnderWay},
};
use crate::{
    Call,
    job::{AT_HOME, RAN_ALREADY, Way, Work},
    travel::Travel,
};
use ecm_core::{Backend, CallKind, Connection, Durability, Error, Failure, Transact};
use std::{any::Any, cell::RefCell, marker::PhantomData};

/// A unit of work: the job of [`unit_of_work`](crate::ConnectionManager::unit_of_work).
#[derive(Debug)]
pub struct Unit<F, T, B: Backend> {
    /// `None` while it is on another thread.
    closure: Option<F>,
    course: Course<B>,
    output: PhantomData<fn() -> T>,
}

/// A unit of work that runs once: the job of
/// [`unit_of_work_once`](crate::ConnectionManager::unit_of_work_once).
#[derive(Debug)]
pub struct UnitOnce<F, T, B: Backend> {
    closure: Option<F>,
    course: Course<B>,
    output: PhantomData<fn() -> T>,
}

/// How a unit has come along, from one run to the next.
#[derive(Debug)]
struct Course<B: Backend> {
    durability: Durability,
    place: Option<Place>,
    /// Those of the last run.
    hooks: RefCell<Hooks<B>>,
    /// Whether the closure, or what runs before the commit, is under way or has panicked.
    runs: bool,
}

impl<F, T, B: Backend> Unit<F, T, B> {
    pub(crate) fn new(closure: F) -> Self {
        Self { closure: Some(closure), course: Course::new(), output: PhantomData }
    }
}

impl<F, T, B: Backend> UnitOnce<F, T, B> {
    pub(crate) fn new(closure: F) -> Self {
        Self { closure: Some(closure), course: Course::new(), output: PhantomData }
    }
}

impl<B: Backend> Course<B> {
    fn new() -> Self {
        Self { durability: Durability::Configured, place: None, hooks: RefCell::default(), runs: false }
    }

    /// Goes on elsewhere.
    fn leave(&mut self) -> Self {
        let mut stays = Self::new();
        stays.durability = self.durability;
        std::mem::replace(self, stays)
    }

    fn run<T>(
        &mut self,
        connection: &mut B::Connection,
        closure: impl FnOnce(UnitOfWork<'_, B>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let _under_way = self.place.clone().map(UnderWay::at);
        drop(self.hooks.take());
        self.runs = true;
        let ran = UnitRun::new(connection.tx(), &self.hooks).run(closure);
        self.runs = false;
        ran
    }

    fn ended(&self, ended: Ended) -> Option<Box<dyn Any + Send>> {
        self.hooks.take().run_after(ended)
    }
}

impl<B: Backend> Drop for Course<B> {
    /// After a panic of the closure, when the transaction has been rolled back: it belongs to what
    /// unwinds first.
    fn drop(&mut self) {
        if self.runs {
            // One panic is under way already.
            drop(self.ended(Ended::RolledBack));
        }
    }
}

impl<B, T, F> Work<B> for Unit<F, T, B>
where
    B: Backend<Connection: Transact>,
    F: FnMut(UnitOfWork<'_, B>) -> Result<T, Failure>,
{
    type Output = T;

    fn kind(&self) -> CallKind {
        CallKind::UnitOfWork
    }

    fn way(&self) -> Way {
        Way::Write(self.course.durability)
    }

    fn repeats(&self) -> bool {
        true
    }

    fn goes_to(&mut self, place: impl FnOnce() -> Place) {
        self.course.place = Some(place());
    }

    fn run(&mut self, connection: &mut B::Connection) -> Result<T, Failure> {
        self.course.run(connection, self.closure.as_mut().expect(AT_HOME))
    }

    fn ended(&mut self, ended: Ended) -> Option<Box<dyn Any + Send>> {
        self.course.ended(ended)
    }
}

impl<B, T, F> Work<B> for UnitOnce<F, T, B>
where
    B: Backend<Connection: Transact>,
    F: FnOnce(UnitOfWork<'_, B>) -> Result<T, Failure>,
{
    type Output = T;

    fn kind(&self) -> CallKind {
        CallKind::UnitOfWork
    }

    fn way(&self) -> Way {
        Way::Write(self.course.durability)
    }

    fn repeats(&self) -> bool {
        false
    }

    fn goes_to(&mut self, place: impl FnOnce() -> Place) {
        self.course.place = Some(place());
    }

    fn run(&mut self, connection: &mut B::Connection) -> Result<T, Failure> {
        self.course.run(connection, self.closure.take().expect(RAN_ALREADY))
    }

    fn ended(&mut self, ended: Ended) -> Option<Box<dyn Any + Send>> {
        self.course.ended(ended)
    }
}

impl<B, T, F> Travel<B> for Unit<F, T, B>
where
    B: Backend<Connection: Transact>,
    T: Send + 'static,
    F: FnMut(UnitOfWork<'_, B>) -> Result<T, Failure> + Send + 'static,
{
    type Parcel = Self;
    type Brought = T;

    fn pack(&mut self) -> Result<Self, Error> {
        Ok(Self { closure: self.closure.take(), course: self.course.leave(), output: PhantomData })
    }

    fn run_away(unit: &mut Self, connection: &mut B::Connection) -> Result<T, Failure> {
        Work::<B>::run(unit, connection)
    }

    /// As the trait says: its hooks run where its closure does.
    fn ended_away(unit: &mut Self, ended: Ended) -> Option<Box<dyn Any + Send>> {
        Work::<B>::ended(unit, ended)
    }

    fn unpack(&mut self, unit: Self) {
        *self = unit;
    }

    fn bring(&mut self, brought: T) -> Result<T, Failure> {
        Ok(brought)
    }
}

impl<B, T, F> Travel<B> for UnitOnce<F, T, B>
where
    B: Backend<Connection: Transact>,
    T: Send + 'static,
    F: FnOnce(UnitOfWork<'_, B>) -> Result<T, Failure> + Send + 'static,
{
    type Parcel = Self;
    type Brought = T;

    fn pack(&mut self) -> Result<Self, Error> {
        Ok(Self { closure: self.closure.take(), course: self.course.leave(), output: PhantomData })
    }

    fn run_away(unit: &mut Self, connection: &mut B::Connection) -> Result<T, Failure> {
        Work::<B>::run(unit, connection)
    }

    /// As the trait says: its hooks run where its closure does.
    fn ended_away(unit: &mut Self, ended: Ended) -> Option<Box<dyn Any + Send>> {
        Work::<B>::ended(unit, ended)
    }

    fn unpack(&mut self, unit: Self) {
        *self = unit;
    }

    fn bring(&mut self, brought: T) -> Result<T, Failure> {
        Ok(brought)
    }
}

impl<B: Backend<Connection: Transact>, F, T> Call<'_, B, Unit<F, T, B>> {
    /// On the disk before this returns, whatever `synchronous` is configured.
    pub fn synced(mut self) -> Self {
        self.job.course.durability = Durability::Synced;
        self
    }
}

impl<B: Backend<Connection: Transact>, F, T> Call<'_, B, UnitOnce<F, T, B>> {
    /// On the disk before this returns, whatever `synchronous` is configured.
    pub fn synced(mut self) -> Self {
        self.job.course.durability = Durability::Synced;
        self
    }
}
