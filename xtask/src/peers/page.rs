use crate::error::{Error, Result};

/// The line before what is remade of a suite.
pub(crate) fn begin(suite: &str) -> String {
    format!("<!-- begin {suite}: remade by cargo xtask peers -->")
}

/// The line after it.
pub(crate) fn end(suite: &str) -> String {
    format!("<!-- end {suite} -->")
}

/// The page with another text between the markers of a suite; what people have written around them stays. A
/// suite without markers is put at the end.
///
/// # Errors
/// [`Error::Check`] for a page with one of the markers alone, or in the wrong order.
pub(crate) fn with_section(page: &str, suite: &str, section: &str) -> Result<String> {
    let (begin, end) = (begin(suite), end(suite));
    let inner = format!("{begin}\n\n{}\n\n{end}", section.trim());
    match (page.split_once(&begin), page.split_once(&end)) {
        (None, None) => Ok(format!("{}\n\n{inner}\n", page.trim_end())),
        (Some((before, _)), Some((until, after))) if until.len() >= before.len() + begin.len() => {
            Ok(format!("{before}{inner}{after}"))
        }
        _ => Err(Error::Check(format!("the page needs the line `{begin}` and below it `{end}`, or neither"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_markers_is_exchanged() {
        let page = format!("# Page\n\n{}\nold\n{}\n\nwritten by hand\n", begin("pool"), end("pool"));
        let page = with_section(&page, "pool", "new\n").unwrap();
        assert_eq!(page, format!("# Page\n\n{}\n\nnew\n\n{}\n\nwritten by hand\n", begin("pool"), end("pool")));
        assert_eq!(with_section(&page, "pool", "new").unwrap(), page, "the same figures make the same page");
    }

    #[test]
    fn a_suite_without_markers_gets_them_at_the_end() {
        let page = with_section("# Page\n", "read", "figures").unwrap();
        assert_eq!(page, format!("# Page\n\n{}\n\nfigures\n\n{}\n", begin("read"), end("read")));
    }

    #[test]
    fn a_page_with_a_marker_alone_is_refused_rather_than_cut() {
        for page in [begin("pool"), end("pool"), format!("{}\n{}", end("pool"), begin("pool"))] {
            assert!(with_section(&page, "pool", "x").is_err(), "{page}");
        }
    }
}
