//! Where the job of a call runs.

use crate::{job::Work, route::Route, topology::Member};
use ecm_core::{Backend, Durability, Error, Loan, Time, Transact};
use ecm_pool::Lane;
use std::{future::Future, pin::Pin, sync::Arc};

/// Where a [`Route`] has its job run: what is the same wherever that is, the route decides itself.
pub(crate) trait Place<'m, B: Backend<Connection: Transact>, J: Work<B>> {
    /// Reads if that can be done at once; otherwise nothing has happened.
    fn read_now(
        &self,
        route: &mut Route<'m, B>,
        member: &'m Arc<Member<B>>,
        loan: Loan,
        job: &mut J,
        now: Time,
    ) -> Option<Result<J::Output, Error>>;

    /// Writes if that can be done at once; otherwise nothing has happened.
    fn write_now(
        &self,
        route: &mut Route<'m, B>,
        to: Writer<'m, B>,
        durability: Durability,
        job: &mut J,
        now: Time,
    ) -> Option<Result<J::Output, Error>>;

    /// Reads somewhere else, unless that is up to the route, on this thread.
    fn read_away<'s>(
        &'s self,
        route: &'s mut Route<'m, B>,
        member: &'m Arc<Member<B>>,
        loan: Loan,
        job: &'s mut J,
        now: Time,
    ) -> Result<Going<'s, J::Output>, Stays<'s, 'm, B, J>>;

    /// Writes somewhere else, unless that is up to the route, on this thread.
    fn write_away<'s>(
        &'s self,
        route: &'s mut Route<'m, B>,
        to: Writer<'m, B>,
        durability: Durability,
        job: &'s mut J,
        now: Time,
    ) -> Result<Going<'s, J::Output>, Stays<'s, 'm, B, J>>;
}

/// A job that runs somewhere else. Boxed, since what a trait answers without a name cannot be told to be `Send` here.
pub(crate) type Going<'s, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 's>>;

/// What a job needs that does not go anywhere else.
pub(crate) type Stays<'s, 'm, B, J> = (&'s mut Route<'m, B>, &'s mut J);

/// A database that can be written, with its lane.
pub(crate) type Writer<'m, B> = (&'m Arc<Member<B>>, &'m Arc<Lane<B>>);

/// On the thread of the caller, who blocks.
pub(crate) struct Here;

impl<'m, B: Backend<Connection: Transact>, J: Work<B>> Place<'m, B, J> for Here {
    #[inline]
    fn read_now(
        &self,
        route: &mut Route<'m, B>,
        member: &'m Arc<Member<B>>,
        loan: Loan,
        job: &mut J,
        now: Time,
    ) -> Option<Result<J::Output, Error>> {
        let lent = member.readers.lend_now_from(loan, now, route.location)?;
        Some(route.read(member, lent, job))
    }

    #[inline]
    fn write_now(
        &self,
        route: &mut Route<'m, B>,
        (member, lane): Writer<'m, B>,
        durability: Durability,
        job: &mut J,
        now: Time,
    ) -> Option<Result<J::Output, Error>> {
        route.write_now(member, lane, durability, job, now)
    }

    #[inline]
    fn read_away<'s>(
        &'s self,
        route: &'s mut Route<'m, B>,
        _: &'m Arc<Member<B>>,
        _: Loan,
        job: &'s mut J,
        _: Time,
    ) -> Result<Going<'s, J::Output>, Stays<'s, 'm, B, J>> {
        Err((route, job))
    }

    #[inline]
    fn write_away<'s>(
        &'s self,
        route: &'s mut Route<'m, B>,
        _: Writer<'m, B>,
        _: Durability,
        job: &'s mut J,
        _: Time,
    ) -> Result<Going<'s, J::Output>, Stays<'s, 'm, B, J>> {
        Err((route, job))
    }
}
