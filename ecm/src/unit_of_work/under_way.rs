use crate::{manager::Shared, topology::GroupShared};
use ecm_core::{Backend, CallKind, Error, Kind, Transact};
use std::{cell::RefCell, sync::Arc};

/// Where a transaction works.
#[derive(Clone, Debug)]
#[expect(unnameable_types, reason = "sealed: only jobs of this crate are told")]
pub struct Place {
    /// Where the manager is in memory: which one it is, for as long as the call borrows it.
    manager: usize,
    group: Arc<GroupShared>,
    kind: CallKind,
}

/// A transaction that is under way on this thread until this is dropped.
#[derive(Debug)]
pub(crate) struct UnderWay(());

thread_local! {
    /// The outermost first.
    static UNDER_WAY: RefCell<Vec<Place>> = const { RefCell::new(Vec::new()) };
}

impl Place {
    pub(crate) fn new<B: Backend<Connection: Transact>>(
        manager: &Shared<B>,
        group: &Arc<GroupShared>,
        kind: CallKind,
    ) -> Self {
        Self { manager: address(manager), group: Arc::clone(group), kind }
    }
}

impl UnderWay {
    pub(crate) fn at(place: Place) -> Self {
        UNDER_WAY.with_borrow_mut(|places| places.push(place));
        Self(())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let place = UNDER_WAY.with_borrow_mut(Vec::pop);
        // After the borrow: it may be the last that keeps its group.
        drop(place);
    }
}

fn address<B: Backend<Connection: Transact>>(manager: &Shared<B>) -> usize {
    std::ptr::from_ref(manager).addr()
}

/// Whether a write of this kind may go to this group, from inside what is under way on the
/// thread. Takes some nanoseconds where there is none.
pub(crate) fn check<B: Backend<Connection: Transact>>(
    manager: &Shared<B>,
    group: &Arc<GroupShared>,
    kind: CallKind,
) -> Result<(), Error> {
    let refusal = |places: &RefCell<Vec<Place>>| {
        let places = places.borrow();
        let mut of_manager = places.iter().filter(|place| place.manager == address(manager));
        if let Some(place) = of_manager.clone().find(|place| Arc::ptr_eq(&place.group, group)) {
            let (what, part) = match place.kind {
                CallKind::UnitOfWork => ("unit of work", ", for a part that is undone alone by `uow.nested(..)`"),
                _ => ("write", ""),
            };
            return Some(Error::new(
                Kind::Misuse,
                format_args!(
                    "a {what} of group {:?} is under way on this thread, and this call would wait for it to end: write \
                     with what its closure was given{part}",
                    group.name
                ),
            ));
        }
        let other =
            of_manager.find(|place| place.kind == CallKind::UnitOfWork).filter(|_| kind == CallKind::UnitOfWork)?;
        Some(Error::new(
            Kind::Misuse,
            format_args!(
                "a unit of work cannot span two databases: one is under way in group {:?}, and group {:?} would take \
                 another transaction, that can be committed where the first is not; let the first end before the second \
                 begins",
                other.group.name, group.name
            ),
        ))
    };
    // While the thread ends nothing is under way.
    UNDER_WAY.try_with(refusal).ok().flatten().map_or(Ok(()), Err)
}
