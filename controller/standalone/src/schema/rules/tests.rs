#![expect(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::{Value, json};

use super::super::validate::{SchemaError, Validator};

fn refused(schema: &Value) -> SchemaError {
    Validator::new(schema).expect_err("the schema is refused")
}

fn list(rule: &str, most: Option<u64>) -> Value {
    let mut schema = json!({
        "type": "array", "items": {"type": "integer"}, "x-kubernetes-validations": [{"rule": rule, "message": "no"}],
    });
    if let Some(most) = most {
        schema["maxItems"] = most.into();
    }
    schema
}

#[test]
fn a_rule_that_may_cost_too_much_is_refused_when_it_is_loaded() {
    let nested = "self.all(a, self.all(b, self.all(c, a + b + c > 0)))";
    assert!(matches!(refused(&list(nested, None)), SchemaError::Costly { .. }));
    assert!(Validator::new(&list(nested, Some(20))).is_ok());
}

#[test]
fn a_rule_that_makes_lists_of_numbers_is_refused() {
    let rule = "lists.range(1000000).all(n, n >= 0)";
    assert!(matches!(
        refused(&list(rule, Some(1))),
        SchemaError::Unsupported { .. } | SchemaError::Rule { .. }
    ));
}

#[test]
fn a_rule_that_does_not_parse_is_refused() {
    assert!(matches!(refused(&list("self.all(", Some(1))), SchemaError::Rule { .. }));
}

#[test]
fn an_optional_old_self_is_refused() {
    let mut schema = list("oldSelf.hasValue()", Some(1));
    schema["x-kubernetes-validations"][0]["optionalOldSelf"] = true.into();
    assert!(matches!(refused(&schema), SchemaError::Unsupported { .. }));
}

#[test]
fn an_object_that_is_larger_than_the_schema_lets_expect_runs_out_of_budget() {
    // 1000 items are assumed, for which the rule is cheap enough.
    let validator = Validator::new(&list("self.all(a, a >= 0)", None)).unwrap();
    let causes = validator.check(&[], &json!(vec![1; 3_000_000]), None);
    assert!(causes[0].message.contains("running out of cost budget"), "{causes:?}");
    assert!(validator.check(&[], &json!(vec![1; 1000]), None).is_empty());
}

#[test]
fn what_an_update_leaves_as_it_was_is_let_pass() {
    let validator = Validator::new(&json!({"type": "object", "properties": {
        "a": {"type": "integer", "maximum": 1, "x-kubernetes-validations": [{"rule": "self != 7"}]},
        "b": {"type": "integer"},
        "list": {"type": "array", "items": {"type": "integer", "x-kubernetes-validations": [{"rule": "self < 10", "message": "small"}]}},
    }}))
    .unwrap();
    let old = json!({"a": 7, "b": 1, "list": [20]});
    assert_eq!(validator.check(&[], &old, None).len(), 3);
    assert!(validator.check(&[], &json!({"a": 7, "b": 2, "list": [20]}), Some(&old)).is_empty());
    // Items of this list cannot be told apart, so that all of them are checked once one changes.
    assert_eq!(validator.check(&[], &json!({"a": 7, "b": 2, "list": [20, 1]}), Some(&old)).len(), 1);
}
