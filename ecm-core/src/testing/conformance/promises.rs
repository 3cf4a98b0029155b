/// The promises of a suite: a constant each, whose text begins the panic of whoever breaks it, and all
/// of them as `PROMISES`, so that none can do without an implementation that breaks it.
macro_rules! promises {
    ($($name:ident = $words:literal;)+) => {
        $(const $name: &str = $words;)+
        #[cfg(test)]
        const PROMISES: &[&str] = &[$($name),+];
    };
}

pub(super) use promises;
