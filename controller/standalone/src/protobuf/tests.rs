use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::*;

/// What kubectl and helm sent, and what a real server answered in both encodings.
fn recorded() -> Vec<(String, Vec<u8>, Value)> {
    let cases: Vec<Value> = serde_json::from_str(include_str!("testdata/recorded.json")).expect("cases");
    let text = |case: &Value, field: &str| case[field].as_str().expect("a text").to_owned();
    let bytes = |case: &Value| STANDARD.decode(text(case, "protobuf")).expect("base64");
    cases.iter().map(|case| (text(case, "what"), bytes(case), case["json"].clone())).collect()
}

fn body(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let type_meta = TypeMeta { api_version: api_version.to_owned(), kind: kind.to_owned() };
    let envelope = Envelope { type_meta, raw: raw.to_vec(), content_encoding: String::new() };
    [MAGIC, &envelope.encode_to_vec()].concat()
}

/// A field whose value is a message, a string or bytes.
fn field(number: u32, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::encode_key(number, prost::encoding::WireType::LengthDelimited, &mut bytes);
    prost::encoding::encode_varint(value.len() as u64, &mut bytes);
    [bytes, value.to_vec()].concat()
}

fn refusal(body: &[u8]) -> String {
    let error = decode(body).expect_err("a refusal").refuse("ConfigMap", "v1", body);
    assert_eq!((error.code, error.reason), (400, "BadRequest"));
    error.message
}

#[test]
fn every_kind_becomes_the_json_of_its_sender() {
    let cases = recorded();
    assert!(cases.len() >= 21, "{}", cases.len());
    for (what, bytes, json) in cases {
        assert_eq!(decode(&bytes).expect(&what), json, "{what}");
    }
}

#[test]
fn a_body_that_ends_early_or_was_hit_by_a_stray_bit_never_panics() {
    for (what, bytes, _) in recorded() {
        for end in 0..bytes.len() {
            let _ = decode(&bytes[..end]);
        }
        // Two empty texts follow the object.
        assert!(decode(&bytes[..bytes.len() - 5]).is_err(), "{what}");
        let mut damaged = bytes.clone();
        for (at, byte) in bytes.iter().enumerate() {
            damaged[at] ^= 1 << (at % 8);
            let _ = decode(&damaged);
            damaged[at] = *byte;
        }
    }
}

/// The words of the real server for the same bytes.
#[test]
fn what_is_no_object_is_refused_in_the_words_of_the_real_server() {
    let unrecognized = "the object provided is unrecognized (must be of type ConfigMap): ";
    let prefix = "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]";
    assert_eq!(refusal(b""), format!("{unrecognized}empty data (<empty>)"));
    assert_eq!(refusal(b"{\"a\":1}"), format!("{unrecognized}{prefix} ({{\"a\":1}})"));
    assert_eq!(refusal(b"k8s\0"), format!("{unrecognized}empty body (6b387300)"));
    assert_eq!(
        refusal(b"k8s\0\x0a\x0f\x0a\x02v1"),
        format!("{unrecognized}unexpected EOF (6b3873000a0f0a027631)")
    );
    let scheme = "in scheme \"pkg/runtime/scheme.go:111\"";
    assert_eq!(
        refusal(&body("v1", "Nope", b"")),
        format!(
            "Nope in version \"v1\" cannot be handled as a ConfigMap: no kind \"Nope\" is registered for version \"v1\" {scheme}"
        )
    );
    assert_eq!(
        refusal(&body("v1", "ConfigMap", b"\x0a\xff\x01")),
        "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: unexpected EOF"
    );
}

#[test]
fn what_json_cannot_say_is_refused() {
    let named = field(1, &field(1, b"a"));
    let revision =
        |raw: &[u8]| body("apps/v1", "ControllerRevision", &[&named[..], &field(2, &field(1, raw))].concat());
    let lease = |time: &[u8]| body("coordination.k8s.io/v1", "Lease", &field(2, &field(3, time)));
    let mut compressed = body("v1", "ConfigMap", &named);
    compressed.extend(field(3, b"gzip"));
    let nested = |levels: usize| [vec![b'['; levels], vec![b']'; levels]].concat();
    let refused = [
        ("broken JSON", revision(b"{")),
        ("too deep", revision(&nested(121))),
        ("far too deep", revision(&nested(100_000))),
        ("no such time", lease(b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\x7f")),
        ("no such nanoseconds", lease(b"\x08\x01\x10\xff\xff\xff\xff\x07")),
        ("no UTF-8", body("v1", "ConfigMap", &field(1, &field(1, b"q\xff")))),
        ("compressed", compressed),
        ("more owners than anybody has", body("v1", "Secret", &field(1, &field(13, b"").repeat(10_001)))),
        ("a bad owner", body("v1", "Secret", &field(1, &field(13, b"\x0a\x05a")))),
    ];
    for (what, bytes) in refused {
        assert!(decode(&bytes).is_err(), "{what}");
    }
    assert_eq!(decode(&revision(&nested(120))).expect("deep enough")["metadata"], json!({"name": "a"}));
}

#[test]
fn what_a_sender_leaves_out_is_as_in_go() {
    let of =
        |api_version: &str, kind: &str, raw: &[u8]| decode(&body(api_version, kind, raw)).expect("an object");
    // Scalars that are no pointers are sent even when they are empty; fields of a later version may follow.
    let bare =
        field(1, &[field(1, b"a"), field(2, b""), vec![0x38, 0], field(8, b""), field(90, b"new")].concat());
    let expected = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}});
    assert_eq!(of("v1", "Secret", &bare), expected);
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {}, "involvedObject": {}, "source": {}, "firstTimestamp": null,
        "lastTimestamp": null, "eventTime": null, "reportingComponent": "", "reportingInstance": "",
    });
    assert_eq!(of("v1", "Event", b""), event);
    let revision = json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": {}, "data": null, "revision": 0});
    assert_eq!(of("apps/v1", "ControllerRevision", b""), revision);
    let signing = of("certificates.k8s.io/v1", "CertificateSigningRequest", b"");
    assert_eq!(
        (&signing["spec"], &signing["status"]),
        (&json!({"request": null, "signerName": ""}), &json!({}))
    );
    let zero = field(2, &[field(1, b""), vec![0x10, 0], field(3, b""), field(4, b"\x08\0\x10\0")].concat());
    let spec = json!({"holderIdentity": "", "leaseDurationSeconds": 0, "acquireTime": null, "renewTime": "1970-01-01T00:00:00.000000Z"});
    assert_eq!(of("coordination.k8s.io/v1", "Lease", &zero)["spec"], spec);
}

#[test]
fn the_options_of_a_delete_come_in_any_group() {
    let raw = [
        vec![0x08, 0, 0x18, 1],
        field(2, &[field(1, b"u"), field(2, b"7")].concat()),
        field(4, b"Orphan"),
        field(5, b"All"),
    ];
    let options = decode(&body("coordination.k8s.io/v1", "DeleteOptions", &raw.concat())).expect("options");
    let expected = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, "orphanDependents": true,
        "preconditions": {"uid": "u", "resourceVersion": "7"}, "propagationPolicy": "Orphan", "dryRun": ["All"],
    });
    assert_eq!(options, expected);
}
