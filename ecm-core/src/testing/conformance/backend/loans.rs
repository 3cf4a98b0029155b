use super::{
    CLEAN, LEFT, REFUSES, STABLE, UPKEEP, WHOLE,
    stand::{Stand, begin, commit, execute, kept, number},
};
use crate::{Access, Backend, CheckIn, Clock, Connection, Durability, Loan, Transact, ValueRef};

pub(super) fn keeps_its_promises<'s, B: Backend<Connection: Transact>>(fresh: &dyn Fn() -> Stand<'s, B>) {
    refuses_writes(&fresh());
    is_stable(&fresh());
    returns_clean(&fresh());
    leaves_nothing_behind(&fresh());
    is_not_lent_again_after_a_whole_loan(&fresh());
    asks_for_upkeep_later(&fresh());
}

fn refuses_writes<B: Backend<Connection: Transact>>(stand: &Stand<'_, B>) {
    kept(stand.set(&mut stand.writer(), 1), REFUSES, "a write");
    let one = [ValueRef::Integer(2)];
    for loan in [Loan::Read, Loan::Statement, Loan::Write] {
        let mut reader = stand.reader();
        if reader.check_out(loan).is_ok() {
            let executed = execute(&mut reader, stand.script.set, &one).is_ok();
            assert!(!executed, "{REFUSES}: a write succeeded on a loan for {loan:?}");
            let begun = reader.begin(Durability::Configured).is_ok();
            assert!(!begun, "{REFUSES}: a transaction that writes has begun on a loan for {loan:?}");
            reader.check_in();
        }
        let left = kept(stand.seen_by_another(), REFUSES, "a read");
        assert!(left == Some(1), "{REFUSES}: 1 was there, after a refused write there is {left:?}");
    }
}

fn is_stable<B: Backend<Connection: Transact>>(stand: &Stand<'_, B>) {
    let (mut writer, mut reader) = (stand.writer(), stand.reader());
    kept(stand.set(&mut writer, 1), STABLE, "a write");
    kept(reader.check_out(Loan::Read), STABLE, "a loan");
    let first = kept(number(&mut reader, stand.script.get), STABLE, "a read");
    // A database that keeps writers away from readers is stable, too: then nothing is committed.
    let committed = begin(&mut writer).is_ok()
        && execute(&mut writer, stand.script.set, &[ValueRef::Integer(2)]).is_ok()
        && commit(&mut writer).is_ok();
    let second = kept(number(&mut reader, stand.script.get), STABLE, "a second read");
    assert!(first == Some(1) && second == first, "{STABLE}: first it saw {first:?}, then {second:?}");
    drop(kept(stand.next(writer, Access::Write), STABLE, "ending the write"));
    let mut reader = kept(stand.next(reader, Access::Read), STABLE, "the next loan");
    kept(reader.check_out(Loan::Read), STABLE, "the next loan");
    let then = kept(number(&mut reader, stand.script.get), STABLE, "the next read");
    let truth = if committed { 2 } else { 1 };
    assert!(then == Some(truth), "{STABLE}: {truth} is committed, the next read saw {then:?}");
}

fn returns_clean<B: Backend<Connection: Transact>>(stand: &Stand<'_, B>) {
    let (mut writer, mut reader) = (stand.writer(), stand.reader());
    for round in 1..=3 {
        for loan in [Loan::Read, Loan::Statement] {
            kept(reader.check_out(loan), CLEAN, "a loan");
            kept(number(&mut reader, stand.script.get), CLEAN, "a read");
            let left = reader.check_in();
            assert!(left == CheckIn::Clean, "{CLEAN}: after a read on a loan for {loan:?} it says {left:?}");
        }
        kept(begin(&mut writer), CLEAN, "a transaction");
        kept(execute(&mut writer, stand.script.set, &[ValueRef::Integer(round)]), CLEAN, "a write");
        kept(commit(&mut writer), CLEAN, "a commit");
        let left = writer.check_in();
        assert!(left == CheckIn::Clean, "{CLEAN}: after a committed write it says {left:?}");
    }
}

fn leaves_nothing_behind<B: Backend<Connection: Transact>>(stand: &Stand<'_, B>) {
    let mut writer = stand.writer();
    kept(stand.set(&mut writer, 1), LEFT, "a write");
    kept(begin(&mut writer), LEFT, "a transaction");
    kept(execute(&mut writer, stand.script.set, &[ValueRef::Integer(2)]), LEFT, "a write");
    let mut writer = kept(stand.next(writer, Access::Write), LEFT, "the next loan");
    let seen = kept(stand.seen_by_another(), LEFT, "a read");
    assert!(seen == Some(1), "{LEFT}: 2 was written over 1 and not committed, then others see {seen:?}");
    kept(writer.check_out(Loan::Statement), LEFT, "the next loan");
    let inside = kept(number(&mut writer, stand.script.get), LEFT, "the next read");
    assert!(inside == Some(1), "{LEFT}: 2 was written over 1 and not committed, then the next loan sees {inside:?}");
    let mut writer = kept(stand.next(writer, Access::Write), LEFT, "the next loan");
    kept(stand.set(&mut writer, 3), LEFT, "the next write");
    let then = kept(stand.seen_by_another(), LEFT, "a read");
    assert!(then == Some(3), "{LEFT}: then 3 was committed, others see {then:?}");
}

fn is_not_lent_again_after_a_whole_loan<B: Backend<Connection: Transact>>(stand: &Stand<'_, B>) {
    let mut writer = stand.writer();
    kept(writer.check_out(Loan::Raw), WHOLE, "a loan");
    writer.raw();
    let left = writer.check_in();
    assert!(left == CheckIn::Discard, "{WHOLE}: it says {left:?}");
}

fn asks_for_upkeep_later<B: Backend<Connection: Transact>>(stand: &Stand<'_, B>) {
    let mut writer = stand.writer();
    kept(stand.set(&mut writer, 1), UPKEEP, "a write");
    kept(writer.check_out(Loan::Upkeep), UPKEEP, "a loan");
    let now = stand.test_clock.now();
    let again = stand.backend.upkeep(&mut writer, now);
    assert!(again.is_none_or(|again| again > now), "{UPKEEP}: it is {now:?}, it wants to come again at {again:?}");
    let mut writer = kept(stand.next(writer, Access::Write), UPKEEP, "the next loan");
    kept(stand.set(&mut writer, 2), UPKEEP, "the next write");
}
