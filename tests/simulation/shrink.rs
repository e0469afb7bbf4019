//! Plays a history, and makes one that fails shorter.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::Result;

use crate::stage::World;
use crate::step::Step;

/// Where a history fails, and with what.
#[derive(Debug)]
pub struct Failure {
    /// Counted from 1; one more than there are steps when the world did not converge in the end.
    pub step: usize,
    pub why: String,
}

thread_local! {
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Panics are findings, and told as such.
pub fn silence_panics() {
    std::panic::set_hook(Box::new(|info| LAST_PANIC.with_borrow_mut(|last| *last = info.to_string())));
}

/// Plays a history from the beginning. None when everything holds.
pub fn play(steps: &[Step]) -> Option<Failure> {
    let mut at = 0;
    let outcome = catch_unwind(AssertUnwindSafe(|| -> Result<()> {
        let mut world = World::new()?;
        for step in steps {
            at += 1;
            world.take(*step)?;
        }
        at += 1;
        world.heal(0)
    }));
    let why = match outcome {
        Ok(Ok(())) => return None,
        Ok(Err(error)) => format!("{error:#}"),
        Err(_) => LAST_PANIC.with_borrow(Clone::clone),
    };
    Some(Failure { step: at, why })
}

/// The first word of what went wrong: a shorter history must fail for the same reason.
fn reason(why: &str) -> String {
    why.chars().take_while(|c| !c.is_ascii_digit() && *c != '{').take(24).collect()
}

/// Takes steps out for as long as what is left fails for the same reason: halves first, then ever smaller pieces (ddmin).
pub fn shrink(steps: &[Step], failure: &Failure) -> (Vec<Step>, Failure) {
    let wanted = reason(&failure.why);
    let fails = |steps: &[Step]| play(steps).filter(|failure| reason(&failure.why) == wanted);
    let mut best: Vec<Step> = steps.iter().take(failure.step).copied().collect();
    let mut found = fails(&best).unwrap_or(Failure { step: failure.step, why: failure.why.clone() });
    let mut piece = best.len().div_ceil(2).max(1);
    loop {
        let mut at = 0;
        let before = best.len();
        while at < best.len() {
            let end = (at + piece).min(best.len());
            let rest: Vec<Step> = best[..at].iter().chain(&best[end..]).copied().collect();
            match fails(&rest) {
                Some(failure) => (best, found) = (rest, failure),
                None => at = end,
            }
        }
        if piece == 1 && best.len() == before {
            return (best, found);
        }
        piece = (piece / 2).max(1);
    }
}
