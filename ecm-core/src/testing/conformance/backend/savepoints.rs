use super::{
    BackendScript,
    stand::{Stand, begin, commit, execute, kept, number},
};
use crate::{
    Backend, Connection, Loan, Member, Savepoints, Transact, ValueRef, testing::conformance::promise::promises,
};

promises! {
    PARTS = "a part that is undone is undone alone, and one that is kept stays with what is around it";
    NESTED = "parts inside parts end innermost first, and what is kept is undone with what is around it";
    OPEN = "a member is undone whole, whatever parts of it are open";
    OUTSIDE = "no part begins where there is no transaction";
}

/// Holds a backend to the contract of [`Savepoints`], which its units of work need for nested ones.
///
/// `make` and `script` are those of [`backend`](super::backend()), which holds it to the rest.
///
/// ```
/// use ecm_core::testing::{Fake, conformance::{self, BackendScript}};
///
/// conformance::savepoints(Fake::new, &BackendScript::fake());
/// ```
///
/// # Panics
/// With the first promise that is broken.
pub fn savepoints<B>(make: impl Fn() -> B, script: &BackendScript)
where
    B: Backend<Connection: Transact<Tx: Savepoints>>,
{
    let fresh = || Stand::new(make(), script);
    undoes_parts(&fresh());
    nests(&fresh());
    undoes_members_with_open_parts(&fresh());
    begins_inside_only(&fresh());
}

/// Ends a part, which has to be answered as asked.
fn end<C: Connection<Tx: Savepoints>>(writer: &mut C, keep: bool, promise: &str) {
    let left = writer.tx().release(keep);
    let right = if keep { matches!(left, Member::Kept) } else { matches!(left, Member::Undone) };
    assert!(right, "{promise}: releasing with keep = {keep} answered {left:?}");
}

fn set<C: Connection>(writer: &mut C, sql: &str, wanted: i64, promise: &str) {
    kept(execute(writer, sql, &[ValueRef::Integer(wanted)]), promise, "a write");
}

fn undoes_parts<B: Backend<Connection: Transact<Tx: Savepoints>>>(stand: &Stand<'_, B>) {
    let (mut writer, script) = (stand.writer(), stand.script);
    kept(begin(&mut writer), PARTS, "a transaction");
    set(&mut writer, script.set, 1, PARTS);
    kept(writer.tx().savepoint(), PARTS, "a part");
    set(&mut writer, script.set, 2, PARTS);
    let inside = kept(number(&mut writer, script.get), PARTS, "a read inside");
    assert!(inside == Some(2), "{PARTS}: 2 was written, inside there is {inside:?}");
    end(&mut writer, false, PARTS);
    let left = kept(number(&mut writer, script.get), PARTS, "a read after it");
    assert!(left == Some(1), "{PARTS}: 2 was undone over 1, there is {left:?}");
    kept(writer.tx().savepoint(), PARTS, "another part");
    set(&mut writer, script.set_other, 3, PARTS);
    end(&mut writer, true, PARTS);
    kept(commit(&mut writer), PARTS, "a commit");
    let seen = [script.get, script.get_other].map(|sql| kept(stand.seen(sql), PARTS, "a read"));
    assert!(seen == [Some(1), Some(3)], "{PARTS}: 1 and 3 were kept, there is {seen:?}");
}

fn nests<B: Backend<Connection: Transact<Tx: Savepoints>>>(stand: &Stand<'_, B>) {
    let (mut writer, script) = (stand.writer(), stand.script);
    kept(begin(&mut writer), NESTED, "a transaction");
    kept(writer.tx().savepoint(), NESTED, "a part");
    set(&mut writer, script.set, 1, NESTED);
    kept(writer.tx().savepoint(), NESTED, "a part inside it");
    set(&mut writer, script.set, 2, NESTED);
    end(&mut writer, false, NESTED);
    let left = kept(number(&mut writer, script.get), NESTED, "a read after it");
    assert!(left == Some(1), "{NESTED}: 2 was undone over 1, there is {left:?}");
    kept(writer.tx().savepoint(), NESTED, "another part inside it");
    set(&mut writer, script.set_other, 3, NESTED);
    end(&mut writer, true, NESTED);
    end(&mut writer, false, NESTED);
    kept(commit(&mut writer), NESTED, "a commit");
    let seen = [script.get, script.get_other].map(|sql| kept(stand.seen(sql), NESTED, "a read"));
    assert!(seen == [None, None], "{NESTED}: everything was undone, there is {seen:?}");
}

fn undoes_members_with_open_parts<B: Backend<Connection: Transact<Tx: Savepoints>>>(stand: &Stand<'_, B>) {
    if !stand.backend.abilities().group_commit {
        return;
    }
    let (mut writer, script) = (stand.writer(), stand.script);
    kept(begin(&mut writer), OPEN, "a transaction");
    kept(writer.enter(), OPEN, "a member");
    set(&mut writer, script.set, 1, OPEN);
    let left = writer.leave(true);
    assert!(matches!(left, Member::Kept), "{OPEN}: leaving one without parts answered {left:?}");
    kept(writer.enter(), OPEN, "another member");
    set(&mut writer, script.set, 2, OPEN);
    for wanted in [3, 4] {
        kept(writer.tx().savepoint(), OPEN, "a part");
        set(&mut writer, script.set_other, wanted, OPEN);
    }
    match writer.leave(false) {
        Member::Undone => {}
        // Then every member runs again, which is allowed.
        Member::BatchLost => return kept(writer.roll_back(), OPEN, "rolling back"),
        left => panic!("{OPEN}: leaving one with parts answered {left:?}"),
    }
    kept(commit(&mut writer), OPEN, "a commit");
    let seen = [script.get, script.get_other].map(|sql| kept(stand.seen(sql), OPEN, "a read"));
    assert!(seen == [Some(1), None], "{OPEN}: only 1 was kept, there is {seen:?}");
}

fn begins_inside_only<B: Backend<Connection: Transact<Tx: Savepoints>>>(stand: &Stand<'_, B>) {
    let mut writer = stand.writer();
    kept(writer.check_out(Loan::Write), OUTSIDE, "a loan");
    assert!(writer.tx().savepoint().is_err(), "{OUTSIDE}: one has begun");
    kept(begin(&mut stand.writer()), OUTSIDE, "a transaction of another connection afterwards");
}

#[cfg(test)]
mod wrong;
