//! Figures for people.

/// A number of nanoseconds: three digits and a unit.
pub(crate) fn span(ns: f64) -> String {
    let (scaled, unit) = match ns {
        1e9.. => (ns / 1e9, "s"),
        1e6.. => (ns / 1e6, "ms"),
        1e3.. => (ns / 1e3, "µs"),
        _ => (ns, "ns"),
    };
    format!("{scaled:.*} {unit}", digits(scaled))
}

/// A rate per second: three digits, and k or M.
pub(crate) fn rate(per_second: f64) -> String {
    let (scaled, letter) = match per_second {
        1e6.. => (per_second / 1e6, " M"),
        1e3.. => (per_second / 1e3, " k"),
        _ => (per_second, ""),
    };
    format!("{scaled:.*}{letter}", digits(scaled))
}

/// How many times as much as something else.
pub(crate) fn ratio(times: f64) -> String {
    format!("{times:.*} x", digits(times).max(1))
}

/// A number of bytes: three digits and a unit.
pub(crate) fn size(bytes: f64) -> String {
    const KIB: f64 = 1_024.0;
    let (scaled, unit) = match bytes {
        // Above it, rounding would give four digits.
        1_048_064.0.. => (bytes / (KIB * KIB), "MiB"),
        KIB.. => (bytes / KIB, "KiB"),
        _ => return format!("{bytes:.0} B"),
    };
    format!("{scaled:.*} {unit}", digits(scaled))
}

/// A figure of which it is not known what it counts.
pub(crate) fn plain(figure: f64) -> String {
    if figure.fract() == 0.0 { format!("{figure:.0}") } else { format!("{figure:.3}") }
}

fn digits(scaled: f64) -> usize {
    if scaled.abs() < 9.995 { 2 } else { usize::from(scaled.abs() < 99.95) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits() {
        assert_eq!(
            [8.25, 147.0, 2_181.0, 99_960.0, 12_345_678.0, 2e9].map(span).join(", "),
            "8.25 ns, 147 ns, 2.18 µs, 100 µs, 12.3 ms, 2.00 s"
        );
        assert_eq!([42.0, 1_234.5, 2_700_000.0].map(rate).join(", "), "42.0, 1.23 k, 2.70 M");
        assert_eq!(
            [312.0, 1_536.0, 163_328.0, 17_825_792.0].map(size).join(", "),
            "312 B, 1.50 KiB, 160 KiB, 17.0 MiB"
        );
        assert_eq!([0.5, 12.34, 250.0].map(ratio).join(", "), "0.50 x, 12.3 x, 250.0 x");
        assert_eq!([3.0, 0.25].map(plain).join(", "), "3, 0.250");
    }
}
