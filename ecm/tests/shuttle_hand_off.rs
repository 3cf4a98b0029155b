//! A task and the thread that works for it in many schedules: the answer is heard, and an interrupt never reaches whoever
//! uses the connection next.
//!
//! ```text
//! RUSTFLAGS="--cfg shuttle" cargo test -p ecm --no-default-features --test shuttle_hand_off
//! ```
#![cfg(shuttle)]

#[path = "../src/hand_off.rs"]
mod hand_off;
#[expect(unused_imports, reason = "a part of it is used here")]
#[path = "../src/sync.rs"]
mod sync;

use ecm::core::Interrupt;
use hand_off::HandOff;
use shuttle::{
    future::block_on,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};
use std::{future::poll_fn, sync::Arc, task::Poll};

const ROUNDS: usize = 5_000;

/// A connection that knows whether its borrower still has it.
#[derive(Debug, Default)]
struct Loan {
    lent: AtomicBool,
    interrupts: AtomicUsize,
}

impl Interrupt for Loan {
    fn interrupt(&self) {
        assert!(self.lent.load(Ordering::SeqCst), "it reaches whoever borrows next");
        self.interrupts.fetch_add(1, Ordering::SeqCst);
    }
}

/// Works; whether it has begun.
fn works(hand_off: &HandOff<u32>, loan: &Arc<Loan>) -> bool {
    if !hand_off.take() {
        return false;
    }
    loan.lent.store(true, Ordering::SeqCst);
    if hand_off.may_interrupt(Arc::<Loan>::clone(loan)) {
        thread::yield_now();
        hand_off.must_not_interrupt();
    }
    loan.lent.store(false, Ordering::SeqCst);
    hand_off.answer(7);
    true
}

#[test]
fn an_answer_is_heard_whenever_it_comes() {
    shuttle::check_random(
        || {
            let (hand_off, loan) = (Arc::new(HandOff::new()), Arc::<Loan>::default());
            let (taken, lent) = (Arc::clone(&hand_off), Arc::clone(&loan));
            let worker = thread::spawn(move || assert!(works(&taken, &lent)));
            assert_eq!(block_on(poll_fn(|context| hand_off.poll(context.waker()))), 7);
            worker.join().unwrap();
            assert_eq!(loan.interrupts.load(Ordering::SeqCst), 0);
        },
        ROUNDS,
    );
}

#[test]
fn what_is_given_up_is_not_begun_or_stopped_and_never_later() {
    shuttle::check_random(
        || {
            let (hand_off, loan) = (Arc::new(HandOff::new()), Arc::<Loan>::default());
            let (taken, lent) = (Arc::clone(&hand_off), Arc::clone(&loan));
            let worker = thread::spawn(move || works(&taken, &lent));
            let polled = block_on(poll_fn(|context| Poll::Ready(hand_off.poll(context.waker()).is_ready())));
            let unbegun = hand_off.give_up();
            let begun = worker.join().unwrap();
            assert!(!(polled && unbegun) && begun != unbegun, "it has begun or is given up before that");
            assert!(loan.interrupts.load(Ordering::SeqCst) <= 1);
        },
        ROUNDS,
    );
}

#[test]
fn a_thread_that_waits_hears_that_nobody_wants_it_any_more() {
    shuttle::check_random(
        || {
            let hand_off = Arc::new(HandOff::<u32>::new());
            let taken = Arc::clone(&hand_off);
            let worker =
                thread::spawn(move || {
                    if taken.take() {
                        block_on(poll_fn(|context| {
                            if taken.is_given_up(context.waker()) { Poll::Ready(()) } else { Poll::Pending }
                        }));
                    }
                });
            hand_off.give_up();
            worker.join().unwrap();
        },
        ROUNDS,
    );
}

#[test]
fn a_deadline_takes_back_what_no_thread_has_taken() {
    shuttle::check_random(
        || {
            let (hand_off, loan) = (Arc::new(HandOff::new()), Arc::<Loan>::default());
            let (taken, lent) = (Arc::clone(&hand_off), Arc::clone(&loan));
            let worker = thread::spawn(move || works(&taken, &lent));
            let withdrawn = hand_off.withdraw();
            if !withdrawn {
                assert_eq!(block_on(poll_fn(|context| hand_off.poll(context.waker()))), 7);
            }
            assert_eq!(worker.join().unwrap(), !withdrawn);
        },
        ROUNDS,
    );
}
