use ecm_core::{Rows, Value, ValueRef};
use std::cmp::Ordering;

/// Whether two results are the same answer to a question: the same rows, as often, in any order, since only those that
/// the question names are ordered, and another connection may have another plan.
pub(super) fn same_answer(one: &Rows, other: &Rows) -> bool {
    if one.columns() != other.columns() || one.len() != other.len() {
        return false;
    }
    let in_order = (0..one.len()).all(|row| compare(one.get(row), other.get(row)) == Ordering::Equal);
    in_order || sorted(one).into_iter().zip(sorted(other)).all(|(one, other)| compare(one, other) == Ordering::Equal)
}

fn sorted(rows: &Rows) -> Vec<Option<&[Value]>> {
    let mut rows: Vec<_> = (0..rows.len()).map(|row| rows.get(row)).collect();
    rows.sort_by(|one, other| compare(*one, *other));
    rows
}

fn compare(one: Option<&[Value]>, other: Option<&[Value]>) -> Ordering {
    let pairs = one.unwrap_or_default().iter().zip(other.unwrap_or_default());
    pairs
        .map(|(one, other)| by_type_and_bits(one.borrow(), other.borrow()))
        .find(|by| by.is_ne())
        .unwrap_or(Ordering::Equal)
}

fn by_type_and_bits(one: ValueRef<'_>, other: ValueRef<'_>) -> Ordering {
    match (one, other) {
        (ValueRef::Integer(one), ValueRef::Integer(other)) => one.cmp(&other),
        (ValueRef::Real(one), ValueRef::Real(other)) => one.to_bits().cmp(&other.to_bits()),
        (ValueRef::Text(one), ValueRef::Text(other)) => one.cmp(other),
        (ValueRef::Blob(one), ValueRef::Blob(other)) => one.cmp(other),
        (one, other) => type_number(one).cmp(&type_number(other)),
    }
}

fn type_number(value: ValueRef<'_>) -> u8 {
    match value {
        ValueRef::Null => 0,
        ValueRef::Integer(_) => 1,
        ValueRef::Real(_) => 2,
        ValueRef::Text(_) => 3,
        ValueRef::Blob(_) => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ecm_core::{Columns, Failure, Row};
    use proptest::prelude::*;
    use std::sync::Arc;

    struct Pair(Arc<Columns>, [Value; 2]);

    impl Row for Pair {
        fn columns(&self) -> &Arc<Columns> {
            &self.0
        }

        fn value(&self, column: usize) -> Result<ValueRef<'_>, Failure> {
            Ok(self.1[column].borrow())
        }
    }

    fn rows(pairs: &[[Value; 2]]) -> Rows {
        let columns = Arc::new(Columns::new(["a", "b"]));
        let mut rows = Rows::new(Arc::clone(&columns));
        pairs.iter().for_each(|pair| rows.push(&Pair(Arc::clone(&columns), pair.clone())).unwrap());
        rows
    }

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            (0_i64..2).prop_map(Value::Integer),
            (0_i32..2).prop_map(|number| Value::Real(number.into())),
            "[01]?".prop_map(|text| Value::Text(text.into())),
            "[01]?".prop_map(|text| Value::Blob(text.into_bytes().into())),
        ]
    }

    fn pairs() -> impl Strategy<Value = Vec<[Value; 2]>> {
        proptest::collection::vec([value(), value()], 0..5)
    }

    proptest! {
        #[test]
        fn the_order_of_rows_does_not_count_and_everything_else_does(
            (one, shuffled) in pairs().prop_flat_map(|one| (Just(one.clone()), Just(one).prop_shuffle())), other in pairs(),
        ) {
            prop_assert!(same_answer(&rows(&one), &rows(&shuffled)));
            // Every row of the one has a partner of its own in the other.
            let mut left = other.clone();
            let same = |a: &[Value; 2], b: &[Value; 2]| a.iter().zip(b).all(|(a, b)| a.borrow().same(b.borrow()));
            let paired = one.iter().all(|row| {
                left.iter().position(|other| same(row, other)).map(|found| left.swap_remove(found)).is_some()
            });
            prop_assert_eq!(same_answer(&rows(&one), &rows(&other)), paired && left.is_empty());
        }
    }

    #[test]
    fn no_rows_of_other_columns_are_another_answer() {
        let none = |name: &str| Rows::new(Arc::new(Columns::new([name])));
        assert!(same_answer(&none("a"), &none("a")) && !same_answer(&none("a"), &none("b")));
    }
}
