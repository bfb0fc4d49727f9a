//! Does one thing of the executor so many times, so that callgrind can count what one costs: see docs/runtime.md.

use std::future::Future;
use std::pin::Pin;
use std::process::exit;
use std::sync::Arc;
use std::task::{Context, Poll};

use mm_base::Now;
use mm_base::doorbell::Doorbell;
use mm_base::timer_wheel::TimerWheel;
use mm_runtime::executor::Executor;
use mm_runtime::task::yield_now;
use mm_runtime::timers::Sleep;

/// Wakes itself a number of times.
struct Switches(u64);

impl Future for Switches {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.0 == 0 {
            return Poll::Ready(());
        }
        self.0 -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Moves a sleep that is being waited for, later each time.
fn rearm(executor: &Executor, times: u64) {
    let mut sleep = Sleep::until(1_000);
    let mut context = Context::from_waker(std::task::Waker::noop());
    executor.enter(|| {
        assert!(sleep.poll_elapsed(&mut context).is_pending());
        for time in 0..times {
            sleep.reset(1_000 + time);
        }
    });
}

/// Moves timers of the wheel, always by this step.
fn wheel(times: u64, step: i64) {
    let mut wheel = TimerWheel::new(0, 16);
    let ids: Vec<_> = (0..8).map_while(|value| wheel.insert(1 << 30, value).ok()).collect();
    for time in 0..times {
        let deadline_ms = (1_u64 << 30).saturating_add_signed(step * time.cast_signed());
        for &id in &ids {
            assert!(wheel.rearm(id, deadline_ms));
        }
    }
}

/// Moves timers of the wheel to an earlier slot each time; every so often new ones have to be armed for that. With
/// `placed` each move is followed by the coming of another timer's time, which has all that have moved put where they
/// belong.
fn slots(times: u64, placed: bool) {
    const SLOT_MS: u64 = 4096;
    let mut wheel = TimerWheel::new(0, 16);
    let mut ids = Vec::new();
    for time in 0..times {
        let slot = 62 - time % 60;
        if slot == 62 {
            ids.drain(..).for_each(|id| assert!(wheel.cancel(id).is_some()));
            ids.extend((0..8).map_while(|value| wheel.insert(63 * SLOT_MS, value).ok()));
        }
        for &id in &ids {
            assert!(wheel.rearm(id, slot * SLOT_MS));
        }
        if placed {
            let due = wheel.insert(1, 8).ok();
            assert!(due.is_some_and(|due| wheel.rearm(due, 0)));
            assert_eq!(wheel.pop_due(0, &mut 100), Some(8));
        }
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap_or_default();
    let times = arguments.next().and_then(|times| times.parse().ok()).unwrap_or(1_000);
    let executor = Executor::new(Arc::new(Doorbell::new(|| {})), Now::default());
    match &*what {
        "fresh" => (0..times).for_each(|_| executor.spawn(std::future::ready(())).detach()),
        "spawn" => {
            // As many as memory is kept for, so that it is there.
            (0..4096).for_each(|_| executor.spawn(std::future::ready(())).detach());
            executor.run(u32::MAX);
            (0..times).for_each(|_| executor.spawn(std::future::ready(())).detach());
        }
        "life" => (0..times).for_each(|_| {
            executor.spawn(std::future::ready(())).detach();
            executor.run(1);
        }),
        "switch" => {
            executor.spawn(Switches(times)).detach();
            executor.run(u32::MAX);
        }
        "yield" => {
            executor
                .spawn(async move {
                    for _ in 0..times {
                        yield_now().await;
                    }
                })
                .detach();
            executor.run(u32::MAX);
        }
        "rearm" => rearm(&executor, times),
        "later" => wheel(times / 8, 1),
        "earlier" => wheel(times / 8, -1),
        "slots" => slots(times / 8, false),
        "placed" => slots(times / 8, true),
        _ => exit(2),
    }
    // Without the destructors, which are not what is counted.
    exit(0);
}
