use super::{
    ANALYSES, CHANGES, ENOUGH, FOREIGN, OWN, PARAMETERS, STATEMENTS, TABLES, VALUES,
    stand::{Stand, answer, begin, execute, kept, prepare},
};
use crate::{Access, Backend, Connection, Flow, Loan, Transact, Value, ValueRef};
use std::{error::Error as StdError, fmt, io};

pub(super) fn keeps_its_promises<'s, B: Backend<Connection: Transact>>(fresh: &dyn Fn() -> Stand<'s, B>) {
    counts_changes(&fresh());
    returns_values(&fresh());
    stops_where_the_sink_has_enough(&fresh());
    returns_the_sinks_error(&fresh());
    counts_parameters(&fresh());
    blames_the_statement(&fresh());
    knows_its_own_errors(&fresh());
    judges_statements(&fresh());
    names_tables(&fresh());
}

fn counts_changes<B: Backend<Connection: Transact>>(stand: &Stand<'_, B>) {
    let mut writer = stand.writer();
    kept(begin(&mut writer), CHANGES, "a transaction");
    for number in 1..=2 {
        let changes = kept(execute(&mut writer, stand.script.set, &[ValueRef::Integer(number)]), CHANGES, "a write");
        assert!(changes.rows == 1, "{CHANGES}: one row was written, it says {}", changes.rows);
    }
}

fn returns_values<B: Backend<Connection: Transact>>(stand: &Stand<'_, B>) {
    let mut reader = stand.reader();
    kept(reader.check_out(Loan::Statement), VALUES, "a loan");
    let texts = ["", "plain", "it's \"quoted\"", "naïve 데이터 🦀", "a\0b"].map(ValueRef::Text);
    let blobs: [&[u8]; 3] = [b"", b"\0\xff", &[7; 100_000]];
    let integers = [0, 1, -1, i64::MAX, i64::MIN, 1 << 53].map(ValueRef::Integer);
    let reals = [0.0, 1.0, -0.5, f64::MAX, f64::MIN_POSITIVE, f64::INFINITY, 1.0e-300].map(ValueRef::Real);
    let all = [ValueRef::Null].into_iter().chain(texts).chain(blobs.map(ValueRef::Blob)).chain(integers).chain(reals);
    for value in all {
        let back = kept(answer(&mut reader, stand.script.echo, &[value]), VALUES, "a query");
        let same = back.as_ref().is_some_and(|back| back.borrow().same(value));
        assert!(same, "{VALUES}: {value} came back as {:?}", back.as_ref().map(|back| back.borrow().to_string()));
    }
}

fn stops_where_the_sink_has_enough<B: Backend<Connection: Transact>>(stand: &Stand<'_, B>) {
    let mut reader = stand.reader();
    kept(reader.check_out(Loan::Statement), ENOUGH, "a loan");
    let prepared = kept(prepare(&mut reader, stand.script.endless), ENOUGH, "an endless statement");
    let mut shown = 0;
    let queried = reader.query(&prepared, &[], &mut |_| {
        shown += 1;
        assert!(shown <= 3, "{ENOUGH}: it was shown row {shown} after it had enough");
        Ok(if shown == 3 { Flow::Stop } else { Flow::Continue })
    });
    kept(queried, ENOUGH, "a query");
    assert!(shown == 3, "{ENOUGH}: it was shown {shown} rows of 3");
    let again = kept(answer(&mut reader, stand.script.echo, &[ValueRef::Integer(7)]), ENOUGH, "the next statement");
    assert!(again == Some(Value::Integer(7)), "{ENOUGH}: the next statement answered {again:?} instead of 7");
}

/// An error that no backend knows.
#[derive(Debug)]
struct Mine;

impl fmt::Display for Mine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the sink's own")
    }
}

impl StdError for Mine {}

fn returns_the_sinks_error<B: Backend<Connection: Transact>>(stand: &Stand<'_, B>) {
    let mut reader = stand.reader();
    kept(reader.check_out(Loan::Statement), OWN, "a loan");
    let prepared = kept(prepare(&mut reader, stand.script.endless), OWN, "an endless statement");
    match reader.query(&prepared, &[], &mut |_| Err(Mine.into())) {
        Ok(()) => panic!("{OWN}: the query succeeded"),
        Err(failure) => assert!(failure.downcast_ref::<Mine>().is_some(), "{OWN}: it came back as {failure:?}"),
    }
}

fn counts_parameters<B: Backend<Connection: Transact>>(stand: &Stand<'_, B>) {
    let mut writer = stand.writer();
    kept(begin(&mut writer), PARAMETERS, "a transaction");
    let one = ValueRef::Integer(1);
    for parameters in [&[][..], &[one, one]] {
        let given = parameters.len();
        let executed = execute(&mut writer, stand.script.set, parameters);
        assert!(executed.is_err(), "{PARAMETERS}: `{}` ran with {given}", stand.script.set);
        let answered = answer(&mut writer, stand.script.echo, parameters);
        assert!(answered.is_err(), "{PARAMETERS}: `{}` ran with {given}", stand.script.echo);
        let failures = [executed.map(drop), answered.map(drop)].into_iter().filter_map(Result::err);
        let blamed = failures.filter_map(|failure| stand.blames_the_database(failure)).next();
        assert!(blamed.is_none(), "{STATEMENTS}: {given} parameters gave {blamed:?}");
    }
    let answered = answer(&mut writer, stand.script.get, &[one]);
    assert!(answered.is_err(), "{PARAMETERS}: `{}` ran with 1", stand.script.get);
}

fn blames_the_statement<B: Backend<Connection: Transact>>(stand: &Stand<'_, B>) {
    for mut connection in [stand.reader(), stand.writer()] {
        kept(connection.check_out(Loan::Statement), STATEMENTS, "a loan");
        let Err(failure) = connection.analyse(stand.script.wrong) else {
            panic!("{STATEMENTS}: `{}` is no statement, but was analysed", stand.script.wrong);
        };
        let blamed = stand.blames_the_database(failure);
        assert!(blamed.is_none(), "{STATEMENTS}: `{}` gave {blamed:?}", stand.script.wrong);
        let after = answer(&mut connection, stand.script.get, &[]);
        kept(after, STATEMENTS, "the next statement");
    }
}

fn knows_its_own_errors<B: Backend<Connection: Transact>>(stand: &Stand<'_, B>) {
    let others: [Box<dyn StdError>; 4] = [
        Box::new(Mine),
        Box::new(fmt::Error),
        Box::new(io::Error::other("disk full")),
        "7x".parse::<i64>().unwrap_err().into(),
    ];
    for error in others {
        let fault = stand.backend.classify(&*error);
        assert!(fault.is_none(), "{FOREIGN}: {error:?} was classified as {fault:?}");
    }
}

fn judges_statements<B: Backend<Connection: Transact>>(stand: &Stand<'_, B>) {
    let mut writer = stand.writer();
    kept(stand.set(&mut writer, 1), ANALYSES, "a write");
    let script = stand.script;
    let read = [(script.get, 0), (script.get_other, 0), (script.echo, 1), (script.endless, 0)];
    let written =
        [(script.set, 1), (script.set_other, 1)].into_iter().chain(script.disguised.iter().map(|sql| (*sql, 0)));
    for access in [Access::Read, Access::Write] {
        let mut connection = kept(stand.connect(access), ANALYSES, "a connection");
        kept(connection.check_out(Loan::Statement), ANALYSES, "a loan");
        let mut judged = |sql| kept(connection.analyse(sql), ANALYSES, sql);
        for (sql, parameters) in read {
            let analysis = judged(sql);
            let right = analysis.read_only && analysis.writes.is_empty() && !analysis.columns.is_empty();
            assert!(right && analysis.parameters == parameters, "{ANALYSES}: `{sql}` reads, but {analysis:?}");
        }
        for (sql, parameters) in written.clone() {
            let analysis = judged(sql);
            let right = !analysis.read_only && !analysis.cacheable && !analysis.writes.is_empty();
            // What is disguised may take parameters.
            let counted = parameters == 0 || analysis.parameters == parameters;
            assert!(right && counted, "{ANALYSES}: `{sql}` writes, but {analysis:?}");
        }
    }
    let left = kept(stand.seen_by_another(), ANALYSES, "a read");
    assert!(left == Some(1), "{ANALYSES}: 1 was there, afterwards there is {left:?}");
}

fn names_tables<B: Backend<Connection: Transact>>(stand: &Stand<'_, B>) {
    let mut reader = stand.reader();
    kept(reader.check_out(Loan::Statement), TABLES, "a loan");
    let mut judged = |sql| kept(reader.analyse(sql), TABLES, sql);
    let (read, written) = (judged(stand.script.get), judged(stand.script.set));
    let shared = read.reads.iter().any(|table| written.writes.contains(table));
    assert!(shared, "{TABLES}: {:?} are read, and {:?} written", read.reads, written.writes);
    for names in [&read.reads, &read.writes, &written.reads, &written.writes] {
        let right = names.is_sorted() && names.iter().all(|name| **name == *name.to_lowercase());
        assert!(right, "{TABLES}: {names:?}");
    }
}
