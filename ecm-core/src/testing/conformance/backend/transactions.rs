use super::{
    HIDDEN, MEMBERS, OPENS, POSITIONS, THREADS, UNDONE, VISIBLE,
    stand::{Stand, begin, commit, execute, kept, number},
};
use crate::{
    Access, Backend, Connection, Durability, Failure, Loan, Member, Transact, ValueRef,
    testing::conformance::at_once::at_once,
};
use std::sync::Mutex;

pub(super) fn keeps_its_promises<'s, B: Backend<Connection: Transact>>(fresh: &dyn Fn() -> Stand<'s, B>) {
    opens(&fresh());
    opens_at_once(&fresh());
    makes_visible(&fresh());
    hides(&fresh());
    undoes(&fresh());
    counts_commits(&fresh());
    undoes_members(&fresh());
}

fn opens<B: Backend<Connection: Transact>>(stand: &Stand<'_, B>) {
    for mut connection in [stand.reader(), stand.writer(), stand.reader()] {
        kept(connection.ping(), OPENS, "a ping");
    }
    assert!(!stand.backend.describe().is_empty(), "{OPENS}: it does not say where the data is");
}

fn opens_at_once<B: Backend<Connection: Transact>>(stand: &Stand<'_, B>) {
    let opened = Mutex::new(Vec::new());
    at_once(4, |_| {
        let connection = kept(stand.connect(Access::Read), THREADS, "opening in another thread");
        opened.lock().expect("no thread has panicked").push(connection);
    });
    for mut connection in opened.into_inner().expect("no thread has panicked") {
        let asked = connection.check_out(Loan::Statement).and_then(|()| number(&mut connection, stand.script.get));
        kept(asked, THREADS, "a connection that another thread has opened");
    }
}

fn makes_visible<B: Backend<Connection: Transact>>(stand: &Stand<'_, B>) {
    let (mut writer, mut reader) = (stand.writer(), stand.reader());
    for round in 1..=3 {
        kept(stand.set(&mut writer, round), VISIBLE, "a write");
        let early = reader.check_out(Loan::Statement).and_then(|()| number(&mut reader, stand.script.get));
        reader = kept(stand.next(reader, Access::Read), VISIBLE, "the next loan");
        let seen = [early, stand.seen_by_another()].map(|seen| kept(seen, VISIBLE, "a read"));
        assert!(seen == [Some(round); 2], "{VISIBLE}: {round} was committed, connections see {seen:?}");
    }
}

fn hides<B: Backend<Connection: Transact>>(stand: &Stand<'_, B>) {
    let mut writer = stand.writer();
    for (round, durability) in (1..).zip([Durability::Configured, Durability::Synced]) {
        let before = (round > 1).then_some(round - 1);
        let begun = writer.check_out(Loan::Write).and_then(|()| writer.begin(durability));
        kept(begun, HIDDEN, "a transaction");
        kept(execute(&mut writer, stand.script.set, &[ValueRef::Integer(round)]), HIDDEN, "a write");
        let inside = kept(number(&mut writer, stand.script.get), HIDDEN, "a read inside");
        assert!(inside == Some(round), "{HIDDEN}: {round} was written, inside there is {inside:?}");
        match stand.seen_by_another() {
            Ok(seen) => assert!(seen == before, "{HIDDEN}: {round} is not committed, outside there is {seen:?}"),
            // A database that keeps readers away from a writer hides it as well.
            Err(failure) => assert!(stand.is_busy(&failure), "{HIDDEN}: a read outside: {failure}"),
        }
        kept(commit(&mut writer), HIDDEN, "a commit");
        writer = kept(stand.next(writer, Access::Write), HIDDEN, "the next loan");
    }
}

fn undoes<B: Backend<Connection: Transact>>(stand: &Stand<'_, B>) {
    let mut writer = stand.writer();
    kept(stand.set(&mut writer, 1), UNDONE, "a write");
    let work = |writer: &mut B::Connection| -> Result<Option<i64>, Failure> {
        begin(writer)?;
        execute(writer, stand.script.set, &[ValueRef::Integer(2)])?;
        writer.roll_back()?;
        writer.roll_back()?;
        let left = stand.seen_by_another()?;
        writer.check_in();
        Ok(left)
    };
    let left = kept(work(&mut writer), UNDONE, "rolling back twice");
    assert!(left == Some(1), "{UNDONE}: 2 was rolled back over 1, there is {left:?}");
    kept(stand.set(&mut writer, 3), UNDONE, "a write after it");
    let then = kept(stand.seen_by_another(), UNDONE, "a read after it");
    assert!(then == Some(3), "{UNDONE}: then 3 was committed, there is {then:?}");
}

fn counts_commits<B: Backend<Connection: Transact>>(stand: &Stand<'_, B>) {
    let mut writer = stand.writer();
    let mut last = None;
    for number in 1..=4 {
        if number == 3 {
            writer = stand.writer();
        }
        let position = kept(stand.set(&mut writer, number), POSITIONS, "a write");
        assert!(last.is_none_or(|last| last < position), "{POSITIONS}: first {last:?}, then {position:?}");
        last = Some(position);
    }
}

fn undoes_members<B: Backend<Connection: Transact>>(stand: &Stand<'_, B>) {
    if !stand.backend.abilities().group_commit {
        return;
    }
    let mut writer = stand.writer();
    kept(begin(&mut writer), MEMBERS, "a transaction");
    for (sql, wanted, keep) in
        [(stand.script.set, 1, true), (stand.script.set_other, 2, false), (stand.script.set, 3, false)]
    {
        kept(writer.enter(), MEMBERS, "a member");
        kept(execute(&mut writer, sql, &[ValueRef::Integer(wanted)]), MEMBERS, "a write");
        let left = writer.leave(keep);
        let right = if keep { matches!(left, Member::Kept) } else { matches!(left, Member::Undone) };
        assert!(right, "{MEMBERS}: leaving with keep = {keep} answered {left:?}");
    }
    kept(commit(&mut writer), MEMBERS, "a commit");
    let seen = [stand.script.get, stand.script.get_other].map(|sql| kept(stand.seen(sql), MEMBERS, "a read"));
    assert!(seen == [Some(1), None], "{MEMBERS}: of 1, and of 2 and 3 that were undone, there is {seen:?}");
}
