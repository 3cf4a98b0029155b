use std::fmt;

/// Columns of text under headings: the first one to the left, the others to the right.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(ToString::to_string).collect()] }
    }

    /// Adds a row; missing cells at its end stay blank.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max()
        };
        (0..columns).map(|column| width(column).unwrap_or_default()).collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        for (number, row) in self.rows.iter().enumerate() {
            let mut line = String::new();
            for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                line += &if column == 0 { format!("{cell:<width$}") } else { format!("  {cell:>width$}") };
            }
            writeln!(f, "{}", line.trim_end())?;
            if number == 0 {
                writeln!(f, "{}", "-".repeat(widths.iter().sum::<usize>() + 2 * (widths.len().max(1) - 1)))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_unit_of_two_bytes_does_not_shift_its_column() {
        let mut table = Table::new(&["operation", "p50"]);
        table.row(["read".into(), "1.50 µs".into()]);
        table.row(["write".into(), "12.3 ms".into()]);
        assert_eq!(
            table.to_string(),
            "operation      p50\n------------------\nread       1.50 µs\nwrite      12.3 ms\n"
        );
    }

    proptest! {
        #[test]
        fn rows_of_uneven_length_never_panic(rows in proptest::collection::vec(proptest::collection::vec("[a-zµ]{0,9}", 0..5), 0..6)) {
            let mut table = Table::new(&["one", "two"]);
            let count = rows.len();
            rows.into_iter().for_each(|row| table.row(row));
            prop_assert_eq!(table.to_string().lines().count(), count + 2);
        }
    }
}
