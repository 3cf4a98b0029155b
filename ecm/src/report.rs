use ecm_core::{Event, Interest, Observer};
use std::sync::Arc;

/// All observers of a manager as one: each is told what it wants, nobody is asked twice.
#[derive(Debug, Default)]
pub(crate) struct Observers {
    each: Vec<(Interest, Arc<dyn Observer>)>,
    any: Interest,
}

impl Observers {
    pub(crate) fn new(observers: Vec<Arc<dyn Observer>>) -> Self {
        let each: Vec<_> = observers.into_iter().map(|observer| (observer.interest(), observer)).collect();
        let any = each.iter().fold(Interest::NONE, |any, (interest, _)| any | *interest);
        Self { each, any }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.each.is_empty()
    }

    #[inline]
    pub(crate) fn wants(&self, interest: Interest) -> bool {
        self.any.wants(interest)
    }
}

impl Observer for Observers {
    fn interest(&self) -> Interest {
        self.any
    }

    fn event(&self, event: &Event<'_>) {
        for (interest, observer) in &self.each {
            if interest.wants(event.kind()) {
                observer.event(event);
            }
        }
    }
}
