use crate::{Failure, Value, ValueRef};
use std::{ops, sync::Arc};

/// The row under a running statement, as a backend shows it to a sink.
///
/// Columns count from 0. A row is valid only during the call that shows it.
pub trait Row {
    /// The names of the columns, in order; the same for every row of a statement.
    fn columns(&self) -> &Arc<Columns>;

    /// The value of a column.
    ///
    /// # Errors
    /// A column that there is not, or text that is not UTF-8.
    fn value(&self, column: usize) -> Result<ValueRef<'_>, Failure>;
}

/// Whether a sink wants more rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Show the next one.
    Continue,
    /// Enough: the statement may end here.
    Stop,
}

/// What a writing statement changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Changes {
    /// Rows inserted, updated or deleted by the statement itself: not by its triggers.
    pub rows: u64,
    /// The rowid of the last row inserted by this statement; `None` if it inserted none.
    pub last_insert_rowid: Option<i64>,
}

/// The names of the columns of a result, in order.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Columns(Box<[Box<str>]>);

impl Columns {
    /// These names.
    pub fn new<N: Into<Box<str>>>(names: impl IntoIterator<Item = N>) -> Self {
        Self(names.into_iter().map(Into::into).collect())
    }

    /// The position of a name, exactly as the statement spells it; the first one where it occurs
    /// more than once.
    #[must_use]
    pub fn position(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|column| **column == *name)
    }
}

impl ops::Deref for Columns {
    type Target = [Box<str>];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// A whole result, owned: the sink that keeps every row.
///
/// One allocation for the values of all rows, one each for texts and blobs.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Rows {
    columns: Arc<Columns>,
    values: Vec<Value>,
    len: usize,
}

impl Rows {
    /// No rows of these columns.
    #[must_use]
    pub fn new(columns: Arc<Columns>) -> Self {
        Self { columns, values: Vec::new(), len: 0 }
    }

    /// Copies a row to the end. The columns are those of the first row.
    ///
    /// # Errors
    /// A value that cannot be read; the rows before it stay.
    pub fn push(&mut self, row: &dyn Row) -> Result<(), Failure> {
        if self.len == 0 {
            self.columns = Arc::clone(row.columns());
        }
        let complete = self.values.len();
        for column in 0..self.columns.len() {
            match row.value(column) {
                Ok(value) => self.values.push(value.to_value()),
                Err(failure) => {
                    self.values.truncate(complete);
                    return Err(failure);
                }
            }
        }
        self.len += 1;
        Ok(())
    }

    /// The names of the columns.
    #[must_use]
    pub fn columns(&self) -> &Arc<Columns> {
        &self.columns
    }

    /// The number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The values of a row, counted from 0; `None` beyond the last one.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<&[Value]> {
        (row < self.len).then(|| &self.values[row * self.columns.len()..(row + 1) * self.columns.len()])
    }

    /// Every row in order, each as a [`Row`].
    pub fn iter(&self) -> impl ExactSizeIterator<Item = impl Row + '_> + '_ {
        (0..self.len).map(|row| StoredRow { columns: &self.columns, values: self.get(row).unwrap_or_default() })
    }

    /// About how many bytes of memory this takes, for a cache that is bounded by bytes. Never 0.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let content = |value: &Value| match value {
            Value::Text(text) => text.len(),
            Value::Blob(bytes) => bytes.len(),
            _ => 0,
        };
        size_of::<Self>() + self.values.capacity() * size_of::<Value>() + self.values.iter().map(content).sum::<usize>()
    }
}

struct StoredRow<'a> {
    columns: &'a Arc<Columns>,
    values: &'a [Value],
}

impl Row for StoredRow<'_> {
    fn columns(&self) -> &Arc<Columns> {
        self.columns
    }

    fn value(&self, column: usize) -> Result<ValueRef<'_>, Failure> {
        match self.values.get(column) {
            Some(value) => Ok(value.borrow()),
            None => Err(Failure::msg(format_args!("there is no column {column}: the row has {}", self.values.len()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(Arc<Columns>, Vec<Value>);

    impl Row for Fixed {
        fn columns(&self) -> &Arc<Columns> {
            &self.0
        }

        fn value(&self, column: usize) -> Result<ValueRef<'_>, Failure> {
            self.1.get(column).map(Value::borrow).ok_or_else(|| Failure::msg("unreadable"))
        }
    }

    #[test]
    fn keeps_what_the_sink_was_shown() {
        let columns = Arc::new(Columns::new(["id", "name"]));
        let mut rows = Rows::default();
        for id in 0..3 {
            rows.push(&Fixed(columns.clone(), vec![Value::Integer(id), Value::Text("n".into())])).unwrap();
        }
        assert_eq!(rows.len(), 3);
        assert_eq!(rows.columns().position("name"), Some(1));
        let ids: Vec<_> = rows.iter().map(|row| row.value(0).unwrap().to_value()).collect();
        assert_eq!(ids, [Value::Integer(0), Value::Integer(1), Value::Integer(2)]);
        assert!(rows.get(3).is_none());
        assert!(rows.iter().next().unwrap().value(2).is_err());
    }

    #[test]
    fn a_row_that_cannot_be_read_leaves_no_half_row() {
        let columns = Arc::new(Columns::new(["id", "name"]));
        let mut rows = Rows::default();
        rows.push(&Fixed(columns.clone(), vec![Value::Integer(1), Value::Null])).unwrap();
        assert!(rows.push(&Fixed(columns, vec![Value::Integer(2)])).is_err());
        assert_eq!((rows.len(), rows.get(0).unwrap().len()), (1, 2));
    }

    #[test]
    fn an_empty_result_weighs_something() {
        assert!(Rows::default().bytes() > 0);
    }

    #[test]
    fn rows_without_columns_are_counted() {
        let mut rows = Rows::default();
        let nothing = Fixed(Arc::default(), Vec::new());
        rows.push(&nothing).unwrap();
        rows.push(&nothing).unwrap();
        assert_eq!((rows.len(), rows.iter().len()), (2, 2));
    }
}
