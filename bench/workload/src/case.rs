/// What the callers of a case do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// All read.
    Read,
    /// One reads, another one writes at full speed.
    ReadBesideWriter,
    /// All write.
    Write,
    /// All read, and every tenth call of each writes.
    Mixed,
    /// All write, each commit on a disk whose sync takes a while before it is acknowledged.
    WriteSynced,
}

/// One case of the suites that run SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// The suite.
    pub suite: &'static str,
    /// The name; `beside-writer` is two lines, `beside-writer-reads` and `beside-writer-writes`.
    pub name: &'static str,
    /// How many callers there are.
    pub callers: usize,
    /// What they do.
    pub work: Work,
}

const fn case(suite: &'static str, name: &'static str, callers: usize, work: Work) -> Case {
    Case { suite, name, callers, work }
}

/// The cases of the suites `read`, `write` and `mixed`.
pub const SQL_CASES: [Case; 10] = [
    case("read", "threads-1", 1, Work::Read),
    case("read", "threads-2", 2, Work::Read),
    case("read", "threads-8", 8, Work::Read),
    case("read", "threads-64", 64, Work::Read),
    case("read", "beside-writer", 2, Work::ReadBesideWriter),
    case("write", "threads-1", 1, Work::Write),
    case("write", "threads-16", 16, Work::Write),
    case("write", "threads-16-fsync1ms", 16, Work::WriteSynced),
    case("write", "threads-64-fsync1ms", 64, Work::WriteSynced),
    case("mixed", "threads-16", 16, Work::Mixed),
];

/// Of so many calls of a caller that does both, one writes.
const ONE_WRITES_OF: usize = 10;

/// The most connections that any system opens for a case.
const MOST_CONNECTIONS: usize = 16;

impl Case {
    /// The case of this name.
    #[must_use]
    pub fn named(suite: &str, name: &str) -> Option<Self> {
        SQL_CASES.into_iter().find(|case| (case.suite, case.name) == (suite, name))
    }

    /// What the lines of this caller are called.
    pub(crate) fn label(&self, caller: usize) -> &'static str {
        match (self.work, caller) {
            (Work::ReadBesideWriter, 0) => "beside-writer-reads",
            (Work::ReadBesideWriter, _) => "beside-writer-writes",
            _ => self.name,
        }
    }

    /// Whether call number `call` of this caller writes. Callers that do both write at different calls.
    pub(crate) fn writes(&self, caller: usize, call: usize) -> bool {
        match self.work {
            Work::Read => false,
            Work::ReadBesideWriter => caller > 0,
            Work::Mixed => (call + caller).is_multiple_of(ONE_WRITES_OF),
            Work::Write | Work::WriteSynced => true,
        }
    }

    /// The most connections that a system may open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.callers.min(MOST_CONNECTIONS)
    }

    /// Whether a commit is on the disk before it is acknowledged: then the disk is the emulated one.
    #[must_use]
    pub fn synced(&self) -> bool {
        self.work == Work::WriteSynced
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_the_mixed_case_one_call_of_ten_writes_and_not_the_same_of_every_caller() {
        let case = Case::named("mixed", "threads-16").unwrap();
        let writing = |caller| (0..100).filter(|&call| case.writes(caller, call)).collect::<Vec<_>>();
        assert!((0..16).all(|caller| writing(caller).len() == 10));
        assert_ne!(writing(0), writing(1));
        assert_eq!(case.label(3), "threads-16", "reads and writes are told as one");
    }
}
