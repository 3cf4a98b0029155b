use ecm_core::{Alarm, Clock, Time};
use std::{
    future::poll_fn,
    task::{Poll, Waker},
};

/// Waits until `until`.
pub(crate) async fn pause(until: Time, clock: &dyn Clock) {
    let mut alarm: Option<(Waker, Alarm)> = None;
    poll_fn(|context| {
        if clock.now() >= until {
            return Poll::Ready(());
        }
        let waker = context.waker();
        if alarm.as_ref().is_none_or(|(known, _)| !known.will_wake(waker)) {
            alarm = Some((waker.clone(), clock.wake_at(until, waker)));
        }
        Poll::Pending
    })
    .await;
}
