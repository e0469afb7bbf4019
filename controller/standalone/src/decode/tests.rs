#![expect(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::json;

use super::*;

fn yaml(text: &str) -> Result<Value, DecodeError> {
    decode(text.as_bytes(), Media::Yaml).map(|decoded| decoded.value)
}

#[test]
fn duplicates_are_named_in_the_order_of_the_body() {
    let body = br#"{"b":[{"x":1,"x":2}],"a":1,"a":{"c":1,"c":2},"b":0}"#;
    let decoded = decode(body, Media::Json).unwrap();
    assert_eq!(decoded.duplicates, ["b[0].x", "a", "a.c", "b"]);
    assert_eq!(decoded.value, json!({"a": {"c": 2}, "b": 0}));
}

#[test]
fn a_number_beyond_int64_is_a_float() {
    let decoded = decode(br#"{"a":9223372036854775808,"b":9223372036854775807}"#, Media::Json).unwrap();
    assert!(decoded.value["a"].is_f64() && decoded.value["b"].is_i64());
}

#[test]
fn floats_settle_as_go_writes_them() {
    let mut value = json!({"a": 1.0, "b": [-0.0, 1e3, 0.5, 1e21], "c": 7});
    settle_numbers(&mut value);
    assert_eq!(value, json!({"a": 1, "b": [0, 1000, 0.5, 1e21], "c": 7}));
}

#[test]
fn a_billion_laughs_are_refused() {
    let mut text = "a: &a [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for (name, last) in "bcdefghi".chars().zip("abcdefgh".chars()) {
        let aliases = vec![format!("*{last}"); 10].join(",");
        text.push_str(&format!("{name}: &{name} [{aliases}]\n"));
    }
    assert_eq!(yaml(&text), Err(DecodeError::Yaml("document contains excessive aliasing".to_owned())));
}

#[test]
fn deep_nesting_is_refused_and_not_a_crash() {
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(decode(deep.as_bytes(), Media::Json).is_err());
    assert!(yaml(&deep).is_err());
    assert!(yaml(&"- ".repeat(100_000)).is_err());
    assert!(yaml(&"? ".repeat(100_000)).is_err());
}

#[test]
fn json_is_read_where_yaml_is_said() {
    let body = format!("{{\"a\":\"{}\",\"b\":1,\"b\":2}}", "[".repeat(MAX_OPEN + 1));
    assert_eq!(decode(body.as_bytes(), Media::Yaml).unwrap().duplicates, ["b"]);
}

#[test]
fn the_first_document_counts_and_a_byte_order_mark_does_not() {
    assert_eq!(yaml("\u{feff}a: 1\n---\nb: 2\n"), Ok(json!({"a": 1})));
    assert_eq!(yaml("---\na: 1\n"), Ok(json!({"a": 1})));
}

#[test]
fn keys_of_yaml_become_strings() {
    assert_eq!(yaml("1: a\ntrue: b\n1.5: c\n"), Ok(json!({"1": "a", "true": "b", "1.5": "c"})));
}

#[test]
fn merge_keys_fill_what_is_left_out() {
    assert_eq!(
        yaml("m: &m {x: 1, y: 1}\nn:\n  <<: *m\n  y: 2\n"),
        Ok(json!({"m": {"x": 1, "y": 1}, "n": {"x": 1, "y": 2}}))
    );
}

#[test]
fn a_body_in_yaml_has_its_duplicates_named_by_path() {
    assert_eq!(decode(b"a: 1\na: 2\n", Media::Yaml).unwrap().duplicates, ["a"]);
}

#[test]
fn infinity_is_refused() {
    assert!(yaml("a: .inf\n").is_err());
}
