//! Conditions as Kubernetes keeps them: `lastTransitionTime` moves only when the status does.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// A condition of an object of this generation, as of `now`.
pub fn condition(
    kind: &str,
    status: Option<bool>,
    reason: &str,
    message: impl Into<String>,
    generation: Option<i64>,
    now: &Time,
) -> Condition {
    let status = match status {
        Some(true) => "True",
        Some(false) => "False",
        None => "Unknown",
    };
    Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.into(),
        observed_generation: generation,
        last_transition_time: now.clone(),
    }
}

/// Puts a condition into the list. The time of the last transition is kept if the status is as before.
pub fn set_condition(conditions: &mut Vec<Condition>, mut new: Condition) {
    match conditions.iter_mut().find(|old| old.type_ == new.type_) {
        Some(old) => {
            if old.status == new.status {
                new.last_transition_time = old.last_transition_time.clone();
            }
            *old = new;
        }
        None => conditions.push(new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let at = |second: i64| Time(k8s_openapi::jiff::Timestamp::from_second(second).expect("a time"));
        let mut list = vec![condition("Ready", Some(true), "A", "", Some(1), &at(1))];
        set_condition(&mut list, condition("Ready", Some(true), "B", "", Some(2), &at(2)));
        assert_eq!((list[0].last_transition_time.clone(), list[0].reason.as_str()), (at(1), "B"));
        set_condition(&mut list, condition("Ready", Some(false), "B", "", Some(2), &at(3)));
        assert_eq!((list.len(), list[0].last_transition_time.clone()), (1, at(3)));
    }
}
