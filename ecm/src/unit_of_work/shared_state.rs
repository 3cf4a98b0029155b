use std::{any::Any, cell::OnceCell};

/// Values by their types, which stay where they are once they are made: a list that only grows.
#[derive(Debug, Default)]
pub(super) struct SharedState(OnceCell<Box<Link>>);

#[derive(Debug)]
struct Link {
    value: Box<dyn Any>,
    next: SharedState,
}

impl SharedState {
    /// The value of this type, made if there is none. Costs a step for each type that came before it.
    pub(super) fn get<T: Default + 'static>(&self) -> &T {
        let mut place = self;
        loop {
            let link = place.0.get_or_init(|| Box::new(Link { value: Box::new(T::default()), next: Self::default() }));
            match link.value.downcast_ref() {
                Some(value) => return value,
                None => place = &link.next,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn each_type_has_one_value() {
        let state = SharedState::default();
        state.get::<Cell<u8>>().set(1);
        state.get::<Cell<u16>>().set(2);
        let (first, second) = (state.get::<Cell<u8>>(), state.get::<Cell<u16>>());
        assert_eq!((first.get(), second.get(), state.get::<Cell<u32>>().get()), (1, 2, 0));
    }
}
