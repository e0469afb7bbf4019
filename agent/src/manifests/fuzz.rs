//! Manifests: those in the folder, and those that are handed over on the command line or at the socket; all are read here.

use super::Site;
use super::object::apps;
use crate::decode;
use crate::fuzz::fuzz;

const APP: &str = r#"
apiVersion: skerry.dev/v1alpha1
kind: EdgeApp
metadata: {name: web, namespace: plant-a, labels: {a: "b"}}
spec:
  template:
    spec:
      containers:
      - name: main
        image: busybox:1
        env: [{name: A, value: "1"}, {name: B, valueFrom: {configMapKeyRef: {name: c, key: k}}}]
        ports: [{containerPort: 80, hostPort: 8080}]
        resources: {limits: {cpu: 500m, memory: 128Mi}}
        volumeMounts: [{name: c, mountPath: /c}]
      volumes: [{name: c, configMap: {name: c}}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: c, namespace: plant-a}
data: {k: v}
"#;

const JSON: &str = r#"{"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "skerry.dev/v1alpha1", "kind": "EdgeApp",
  "metadata": {"name": "web"}, "spec": {"template": {"spec": {"containers": [{"name": "main", "image": "x"}]}}}}]}"#;

#[test]
fn no_manifest_hurts_and_what_is_taken_can_be_run_or_says_why_not() {
    let site = Site::default();
    let node = "box-1".parse().expect("a name");
    fuzz("manifests", &[APP.into(), JSON.into()], |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return false };
        let Ok(set) = apps(text, &site) else { return false };
        assert_eq!(apps(text, &site).expect("as before"), set);
        let decoded = decode::desired(&node, &Default::default(), &set);
        assert_eq!(decoded.desired.apps.len(), set.len());
        true
    });
}
