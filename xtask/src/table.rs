use std::fmt::Write as _;

/// Lines of text whose columns stand below each other; the first row is the heading.
///
/// A cell may have several lines.
pub(crate) fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.lines().map(|line| line.chars().count()).fold(*width, usize::max);
        }
    }
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let height = row.iter().map(|cell| cell.lines().count()).max().unwrap_or(0);
        for line in 0..height {
            let cells = row.iter().zip(widths).map(|(cell, width)| {
                let part = cell.lines().nth(line).unwrap_or("");
                format!("{part:<width$}")
            });
            let _ = writeln!(text, "{}", cells.collect::<Vec<_>>().join(" | ").trim_end());
        }
        if index == 0 {
            let _ = writeln!(text, "{}", widths.map(|width| "-".repeat(width)).join("-|-"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stay_below_each_other_when_a_cell_has_two_lines() {
        let rows = [["set", "wiring"], ["none", "balancer = FirstFit\ncache = NoCache"], ["all", "x"]];
        assert_eq!(
            aligned(&rows.map(|row| row.map(String::from))),
            "set  | wiring\n-----|--------------------\nnone | balancer = FirstFit\n     | cache = NoCache\nall  | x\n"
        );
    }
}
