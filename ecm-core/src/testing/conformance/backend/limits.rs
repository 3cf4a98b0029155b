use super::{
    CLOSED, IDLE, INTERRUPTS, LIMITS, OUTLIVED, UNREACHED, UNSTOPPED,
    stand::{Stand, begin, commit, execute, kept, number, prepare},
};
use crate::{Access, Backend, Clock, Connection, Failure, Flow, Limit, Loan, Transact, ValueRef};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

/// So many rows are not stopped: far more than any granularity of counting.
const FAR: u32 = 1_000_000;

pub(super) fn keeps_its_promises<'s, B: Backend<Connection: Transact>>(fresh: &dyn Fn() -> Stand<'s, B>) {
    stops_at_a_limit(&fresh());
    tells_where_nothing_was_stopped(&fresh());
    forgets_the_limit(&fresh());
    ends_transactions_past_a_limit(&fresh());
    stops_at_an_interrupt(&fresh());
    forgets_an_interrupt_that_met_nothing(&fresh());
    bears_an_interrupt_after_the_end(&fresh());
}

/// Runs the endless statement, with something done at its tenth row.
fn run_on<C: Connection>(connection: &mut C, sql: &str, promise: &str, at_the_tenth: &dyn Fn()) -> Failure {
    let prepared = kept(prepare(connection, sql), promise, "an endless statement");
    let mut shown = 0;
    let ended = connection.query(&prepared, &[], &mut |_| {
        shown += 1;
        if shown == 10 {
            at_the_tenth();
        }
        Ok(if shown == FAR { Flow::Stop } else { Flow::Continue })
    });
    match ended {
        Ok(()) => panic!("{promise}: {shown} rows of an endless statement were shown"),
        Err(failure) => failure,
    }
}

fn stops_at_a_limit<B: Backend<Connection: Transact>>(stand: &Stand<'_, B>) {
    let now = stand.test_clock.now();
    for limit in [Limit::Until(now), Limit::Steps(5), Limit::Until(now + Duration::from_secs(1))] {
        for (access, loan) in
            [(Access::Read, Loan::Read), (Access::Read, Loan::Statement), (Access::Write, Loan::Write)]
        {
            let mut connection = kept(stand.connect(access), LIMITS, "a connection");
            let lent = if loan == Loan::Write { begin(&mut connection) } else { connection.check_out(loan) };
            kept(lent, LIMITS, "a loan");
            connection.limit(limit);
            let reached = || stand.test_clock.advance(Duration::from_secs(2));
            let failure = run_on(&mut connection, stand.script.endless, LIMITS, &reached);
            assert!(
                connection.stopped(),
                "{LIMITS}: {limit:?} has stopped a loan for {loan:?}, which it does not know"
            );
            let blamed = stand.blames_the_database(failure);
            assert!(blamed.is_none(), "{LIMITS}: {limit:?} gave {blamed:?}");
        }
    }
}

fn tells_where_nothing_was_stopped<B: Backend<Connection: Transact>>(stand: &Stand<'_, B>) {
    let mut reader = stand.reader();
    let far = stand.test_clock.now() + Duration::from_secs(3600);
    for limit in [Limit::None, Limit::Until(far), Limit::Steps(u64::MAX)] {
        kept(reader.check_out(Loan::Read), UNREACHED, "a loan");
        reader.limit(limit);
        kept(number(&mut reader, stand.script.get), UNREACHED, "a read");
        assert!(!reader.stopped(), "{UNREACHED}: after a read within {limit:?}");
        let wrong = reader.analyse(stand.script.wrong);
        assert!(wrong.is_err() && !reader.stopped(), "{UNREACHED}: after an error of a statement within {limit:?}");
        reader = kept(stand.next(reader, Access::Read), UNREACHED, "the next loan");
    }
}

fn forgets_the_limit<B: Backend<Connection: Transact>>(stand: &Stand<'_, B>) {
    let mut reader = stand.reader();
    for limit in [Limit::Until(stand.test_clock.now()), Limit::Steps(0)] {
        kept(reader.check_out(Loan::Statement), OUTLIVED, "a loan");
        reader.limit(limit);
        run_on(&mut reader, stand.script.endless, OUTLIVED, &|| ());
        reader = kept(stand.next(reader, Access::Read), OUTLIVED, "the next loan");
        kept(reader.check_out(Loan::Statement), OUTLIVED, "the next loan");
        assert!(!reader.stopped(), "{OUTLIVED}: the next loan begins as one that was stopped by {limit:?}");
        let prepared = kept(prepare(&mut reader, stand.script.endless), OUTLIVED, "an endless statement");
        let mut shown = 0;
        let ended = reader.query(&prepared, &[], &mut |_| {
            shown += 1;
            Ok(if shown == 10_000 { Flow::Stop } else { Flow::Continue })
        });
        kept(ended, OUTLIVED, "the next loan");
        assert!(!reader.stopped(), "{OUTLIVED}: {limit:?} has stopped something in the next loan");
        reader = kept(stand.next(reader, Access::Read), OUTLIVED, "the next loan");
    }
}

fn ends_transactions_past_a_limit<B: Backend<Connection: Transact>>(stand: &Stand<'_, B>) {
    let mut writer = stand.writer();
    let now = stand.test_clock.now();
    for (round, keep) in (1..).zip([true, false, true]) {
        kept(begin(&mut writer), UNSTOPPED, "a transaction");
        kept(execute(&mut writer, stand.script.set, &[ValueRef::Integer(round)]), UNSTOPPED, "a write");
        writer.limit(Limit::Until(now));
        let ended = if keep { commit(&mut writer).map(drop) } else { writer.roll_back() };
        kept(ended, UNSTOPPED, if keep { "a commit" } else { "rolling back" });
        writer = kept(stand.next(writer, Access::Write), UNSTOPPED, "the next loan");
        let seen = kept(stand.seen_by_another(), UNSTOPPED, "a read");
        let truth = if keep { round } else { round - 1 };
        assert!(seen == Some(truth), "{UNSTOPPED}: {truth} is committed, there is {seen:?}");
    }
}

fn stops_at_an_interrupt<B: Backend<Connection: Transact>>(stand: &Stand<'_, B>) {
    for loan in [Loan::Read, Loan::Statement] {
        let mut reader = stand.reader();
        let interrupter = reader.interrupter();
        kept(reader.check_out(loan), INTERRUPTS, "a loan");
        let failure = run_on(&mut reader, stand.script.endless, INTERRUPTS, &|| interrupter.interrupt());
        let blamed = stand.blames_the_database(failure);
        assert!(blamed.is_none(), "{INTERRUPTS}: it gave {blamed:?}");
    }
}

fn forgets_an_interrupt_that_met_nothing<B: Backend<Connection: Transact>>(stand: &Stand<'_, B>) {
    let mut reader = stand.reader();
    let interrupter = reader.interrupter();
    for _twice in 0..2 {
        interrupter.interrupt();
        kept(reader.check_out(Loan::Read), IDLE, "a loan");
        kept(number(&mut reader, stand.script.get), IDLE, "the next read");
        reader = kept(stand.next(reader, Access::Read), IDLE, "the next loan");
    }
}

fn bears_an_interrupt_after_the_end<B: Backend<Connection: Transact>>(stand: &Stand<'_, B>) {
    let reader = stand.reader();
    let interrupter = reader.interrupter();
    drop(reader);
    let interrupted = catch_unwind(AssertUnwindSafe(|| interrupter.interrupt()));
    assert!(interrupted.is_ok(), "{CLOSED}: it panicked");
    kept(stand.set(&mut stand.writer(), 1), CLOSED, "a write on another connection");
}
