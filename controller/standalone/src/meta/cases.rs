//! Requests and what a real kube-apiserver 1.37 answered to them (`testdata/*.json`, collected with dry runs). The files keep long
//! texts that recur as `«NAME»` and runs of one letter as `«x*64»`.

use serde_json::{Map, Value};

use crate::status::{ApiError, Cause};

const TEXTS: &str = include_str!("../testdata/texts.json");

/// A file of cases, expanded.
pub fn read(file: &str) -> Value {
    let texts: Map<String, Value> = serde_json::from_str(TEXTS).expect("the texts are JSON");
    let mut parts = file.split('«');
    let mut all = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once('»').expect("a text ends");
        match name.split_once('*') {
            Some((letter, count)) => all.push_str(&letter.repeat(count.parse().expect("a number"))),
            None => all.push_str(texts[name].as_str().expect("a known text")),
        }
        all.push_str(rest);
    }
    serde_json::from_str(&all).expect("the cases are JSON")
}

pub fn cases(file: &Value) -> &[Value] {
    file["cases"].as_array().expect("a list of cases")
}

/// The causes of an answer or of a rule, in no order: the real server walks its maps at random.
pub fn sorted(mut causes: Vec<[String; 3]>) -> Vec<[String; 3]> {
    causes.sort();
    causes
}

pub fn expected_causes(want: &Value) -> Vec<[String; 3]> {
    let causes = want["causes"].as_array().into_iter().flatten();
    let text = |cause: &Value, at: usize| cause[at].as_str().unwrap_or_default().to_owned();
    sorted(causes.map(|cause| [text(cause, 0), text(cause, 1), text(cause, 2)]).collect())
}

pub fn found_causes(causes: &[Cause]) -> Vec<[String; 3]> {
    let reason = |cause: &Cause| cause.reason.trim_start_matches("FieldValue").to_owned();
    sorted(causes.iter().map(|cause| [reason(cause), cause.field.clone(), cause.message.clone()]).collect())
}

/// What differs between an error of ours and the answer; None: nothing.
pub fn difference(found: &ApiError, want: &Value) -> Option<String> {
    let same = match want.get("causes") {
        Some(_) => {
            let causes =
                found.details.as_ref().map(|details| found_causes(&details.causes)).unwrap_or_default();
            found.code == 422 && found.reason == "Invalid" && causes == expected_causes(want)
        }
        None => {
            want["code"] == found.code
                && want["reason"] == found.reason
                && want["message"] == found.message.as_str()
        }
    };
    (!same).then(|| format!("answered {found:?}\nexpected {want}"))
}

/// The value with a merge patch applied: how the files write an object that is much like another.
pub fn changed(base: &Value, change: &Value) -> Value {
    let (Value::Object(base), Value::Object(change)) = (base, change) else { return change.clone() };
    let mut made = base.clone();
    for (name, value) in change {
        if value.is_null() {
            made.remove(name);
        } else {
            made.insert(name.clone(), changed(base.get(name).unwrap_or(&Value::Null), value));
        }
    }
    Value::Object(made)
}

/// Fails with all that went wrong, not with the first alone.
pub fn report(faults: &[String]) {
    assert!(faults.is_empty(), "{} cases differ:\n{}", faults.len(), faults.join("\n\n"));
}
