//! Words that have meant trouble to somebody's API.

pub const METHODS: [&str; 12] = [
    "GET", "PUT", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "get", "PROPFIND", "WATCH",
];

pub const SEGMENTS: [&str; 42] = [
    "", ".", "..", "api", "apis", "v1", "v1alpha1", "skerry.dev", "apps", "namespaces", "configmaps", "secrets", "events",
    "edgeapps", "edgenodes", "leases", "controllerrevisions", "certificatesigningrequests", "customresourcedefinitions",
    "status", "scale", "finalize", "approval", "watch", "proxy", "log", "exec", "binding", "fuzz-a", "fuzz-b", "fuzz-c", "default",
    "kube-system", "a", "b", "openapi", "v2", "v3", "version", "healthz", "selfsubjectaccessreviews", "metrics",
];

pub const TEXTS: [&str; 64] = [
    "", " ", "a", "A", "-", "--", "a-", ".", "..", "a..b", "/", "a/b", "a/b/c", "//", "\\", "\"", "'", "`", "\0", "\u{1}", "\n", "\r\n",
    "\t", "\u{7f}", "\u{80}", "\u{feff}", "\u{202e}", "\u{fffd}", "é", "ß", "İ", "ﬃ", "𝕏", "\u{10ffff}", "e\u{301}", "null", "true", "~", "0", "-1",
    "1e999", "NaN", "0x10", "1_000", "9223372036854775807", "9223372036854775808", "18446744073709551616", "100m", "1Ki", "1E", "-0.5Gi",
    "2026-01-01T00:00:00Z", "9999-12-31T23:59:60Z", "2026-01-01T00:00:00.123456+25:99", "%s%n", "{{.}}", "${x}", "$(VAR)", "<b>&amp;",
    "AAE=", "AA", "skerry.dev/v1alpha1", "kubernetes.io/metadata.name", "11111111-1111-1111-1111-111111111111",
];

pub const NUMBERS: [&str; 18] = [
    "0", "-0", "-1", "1", "0.5", "1e3", "1e308", "-1e308", "5e-324", "2147483647", "2147483648", "9007199254740993", "9223372036854775807",
    "-9223372036854775808", "9223372036854775808", "18446744073709551615", "18446744073709551616", "1e400",
];

pub const ACCEPTS: [&str; 20] = [
    "application/json", "*/*", "application/*", "", "text/html", "application/yaml", "application/vnd.kubernetes.protobuf",
    "application/vnd.kubernetes.protobuf,application/json", "application/json;as=Table;v=v1;g=meta.k8s.io",
    "application/json;as=Table;g=meta.k8s.io;v=v1beta1,application/json", "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
    "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", "application/json;as=Table", "application/json;as=;v=;g=",
    "application/json;q=0", "application/json;q=x;;;", ";", ",,,", "application/json;as=Table;v=v9;g=x", "application/cbor",
];

pub const CONTENT_TYPES: [&str; 15] = [
    "application/json", "application/yaml", "application/json; charset=utf-8", "application/merge-patch+json", "application/json-patch+json",
    "application/strategic-merge-patch+json", "application/apply-patch+yaml", "application/apply-patch+cbor",
    "application/vnd.kubernetes.protobuf", "text/plain", "", ";", "application/cbor", "APPLICATION/JSON", "application/json;;;=",
];

pub const YAML: [&str; 22] = [
    "---", "...", "a: &a [*a]", "b: &b {x: *b}", "&x a: *x", "<<: *a", "<<: {metadata: {name: zz}}", "? [complex, key]\n: v", "!!binary AAE=",
    "!!python/object:x y", "x: !!float .inf", "y: .nan", "z: 0o17", "n: 1e400", "t: 2026-01-01", "%YAML 1.1", "\t- tab", "key: |\n  block\n  text",
    "key: >-\n  folded", "~: ~", "metadata: {name: a}", "l: [1, [2, [3, [4, [5]]]]]",
];

/// Options of requests, with values worth trying besides odd texts.
pub const QUERIES: [(&str, &[&str]); 26] = [
    ("watch", &["true", "1", "0", "", "t"]),
    ("limit", &["0", "1", "2", "-1", "500", "9223372036854775807", "9223372036854775808"]),
    ("continue", &["", "x", "eyJ2IjoibWV0YS5rOHMuaW8vdjEifQ", "AAAA"]),
    ("resourceVersion", &["", "0", "1", "2", "10", "-1", "99999", "18446744073709551615", "18446744073709551616", "01"]),
    ("resourceVersionMatch", &["Exact", "NotOlderThan", "exact", ""]),
    ("labelSelector", &["a", "!a", "a=b", "a in (b,c)", "a notin (", "a,b,,", "a>1", "a<b", "(a)", "a=b=c", "a in ()", "!", "a!=b,a in (b)"]),
    ("fieldSelector", &["metadata.name=a", "metadata.namespace=fuzz-a", "a=b", "metadata.name!=a", "metadata.name=a,metadata.name=b", "type=x", "=", "\\", "reason=a\\,b"]),
    ("timeoutSeconds", &["0", "1", "-1", "99999999999", "9223372036854775808"]),
    ("allowWatchBookmarks", &["true", "false", "x"]),
    ("sendInitialEvents", &["true", "false", "x"]),
    ("dryRun", &["All", "all", "", "All&dryRun=All"]),
    ("fieldManager", &["a", "b", "", "before-first-apply"]),
    ("force", &["true", "false", "x"]),
    ("fieldValidation", &["Strict", "Warn", "Ignore", "x"]),
    ("propagationPolicy", &["Background", "Foreground", "Orphan", "x"]),
    ("gracePeriodSeconds", &["0", "-1", "30", "9223372036854775808"]),
    ("orphanDependents", &["true", "false", "x"]),
    ("pretty", &["true", "1"]),
    ("includeObject", &["None", "Metadata", "Object", "x"]),
    ("timeout", &["1s", "-1s", "x", "1h"]),
    ("ignoreStoreReadErrorWithClusterBreakingPotential", &["true"]),
    ("shardSelector", &["x"]),
    ("", &["", "x"]),
    ("apiVersion", &["v1"]),
    ("kind", &["x"]),
    ("hash", &["x"]),
];

/// Fields that a server looks into, with something in them.
pub const FIELDS: [(&str, &str); 44] = [
    ("metadata", "{}"),
    ("metadata", "null"),
    ("metadata", r#"{"name":"a"}"#),
    ("metadata", r#"{"generateName":"g-"}"#),
    ("name", r#""b""#),
    ("generateName", r#""x-""#),
    ("namespace", r#""fuzz-b""#),
    ("uid", r#""11111111-1111-1111-1111-111111111111""#),
    ("resourceVersion", r#""1""#),
    ("generation", "9223372036854775807"),
    ("creationTimestamp", "null"),
    ("deletionTimestamp", r#""2026-01-01T00:00:00Z""#),
    ("deletionGracePeriodSeconds", "-1"),
    ("labels", r#"{"a":"b","c/d":"e"}"#),
    ("labels", r#"{"a":null}"#),
    ("annotations", r#"{"kubectl.kubernetes.io/last-applied-configuration":"{"}"#),
    ("annotations", r#"{"kubectl.kubernetes.io/last-applied-configuration":"{\"spec\":[[]]}"}"#),
    ("finalizers", r#"["a/b"]"#),
    ("finalizers", r#"["foregroundDeletion","orphan","orphan"]"#),
    ("finalizers", "[]"),
    ("ownerReferences", r#"[{"apiVersion":"v1","kind":"ConfigMap","name":"a","uid":"1"}]"#),
    ("ownerReferences", r#"[{"apiVersion":"x/y/z","kind":"","name":"a","uid":"1","controller":true},{"apiVersion":"v1","kind":"A","name":"a","uid":"2","controller":true}]"#),
    ("managedFields", "[]"),
    ("managedFields", "[{}]"),
    ("managedFields", r#"[{"manager":"a","operation":"Apply","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:data":{".":{},"f:k":{}}}}]"#),
    ("managedFields", r#"[{"manager":"a","operation":"Update","apiVersion":"skerry.dev/v1alpha1","fieldsType":"FieldsV1","fieldsV1":{"f:spec":{"k:{\"name\":\"a\"}":{},"k:{":{},"v:":{},"v:1":{},"i:0":{},"i:-1":{},"i:99999999999999999999":{},"q":1}}}]"#),
    ("managedFields", r#"[{"manager":"a","operation":"Apply","apiVersion":"skerry.dev/v1alpha1","fieldsType":"FieldsV1","subresource":"status","time":"x","fieldsV1":null}]"#),
    ("fieldsV1", r#"{"f:x":{"f:y":null}}"#),
    ("spec", r#"{"finalizers":[]}"#),
    ("spec", r#"{"template":{"spec":{"containers":[{"name":"a","image":"x:1"},{"name":"a"}]}}}"#),
    ("status", r#"{"conditions":[{"type":"a","status":"True"}],"x":1}"#),
    ("immutable", "true"),
    ("data", r#"{"k":"v"}"#),
    ("binaryData", r#"{"k":"AAE="}"#),
    ("stringData", r#"{"k":"v"}"#),
    ("type", r#""kubernetes.io/tls""#),
    ("$patch", r#""replace""#),
    ("$patch", r#""delete""#),
    ("$setElementOrder/finalizers", r#"["a/b","c"]"#),
    ("$deleteFromPrimitiveList/finalizers", r#"["a/b"]"#),
    ("$retainKeys", r#"["a",1]"#),
    ("preconditions", r#"{"uid":"1","resourceVersion":"1"}"#),
    ("path", r#""/metadata/labels/a~1b~0~2""#),
    ("apiVersion", r#""skerry.dev/v9""#),
];
