#!/usr/bin/env python3
"""Records what a real kube-apiserver answers to good and bad objects, for `schema/tests.rs` to replay.

    tests/kube/control-plane.sh up DIR
    controller/standalone/src/schema/testdata/record.py DIR/kubeconfig > controller/standalone/src/schema/testdata/recorded.json
    tests/kube/control-plane.sh down DIR
"""

import base64, json, pathlib, re, ssl, subprocess, sys, tempfile, time, urllib.error, urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[4]
KINDS = {
    "Widget": ("test.skerry.dev/v1", "/apis/test.skerry.dev/v1/namespaces/default/widgets"),
    "EdgeApp": ("skerry.dev/v1alpha1", "/apis/skerry.dev/v1alpha1/namespaces/default/edgeapps"),
    "EdgeNode": ("skerry.dev/v1alpha1", "/apis/skerry.dev/v1alpha1/edgenodes"),
    "ConfigMap": ("v1", "/api/v1/namespaces/default/configmaps"),
    "Secret": ("v1", "/api/v1/namespaces/default/secrets"),
    "Lease": ("coordination.k8s.io/v1", "/apis/coordination.k8s.io/v1/namespaces/default/leases"),
}
# Written by the server, not by the rules under test.
STAMPED = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields")


def connect(kubeconfig):
    text = pathlib.Path(kubeconfig).read_text()
    ca = base64.b64decode(re.search(r"certificate-authority-data: *([^\s}]+)", text)[1]).decode()
    server = re.search(r'server: *"?([^",}\s]+)', text)[1]
    token = re.search(r"token: *([^\s}]+)", text)[1]
    return server, token, ssl.create_default_context(cadata=ca)


def main():
    kubeconfig = sys.argv[1]
    server, token, context = connect(kubeconfig)

    def call(method, path, body=None, media="application/json"):
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode() if body is not None else None
        headers = {"Authorization": "Bearer " + token, "Accept": "application/json", "Content-Type": media}
        request = urllib.request.Request(server + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, context=context) as answer:
                return answer.status, answer.headers.get_all("Warning") or [], json.loads(answer.read())
        except urllib.error.HTTPError as error:
            text = error.read()
            # A kind that is not served yet is answered in plain text.
            body = json.loads(text) if text.startswith(b"{") else {"message": text.decode()}
            return error.code, error.headers.get_all("Warning") or [], body

    kubectl = subprocess.check_output([ROOT / "tests/kube/assets.sh"], text=True).strip() + "/kubectl"
    for file in [ROOT / "deploy/crds", HERE / "widgets.json"]:
        subprocess.check_call([kubectl, "--kubeconfig", kubeconfig, "apply", "--server-side", "-f", file], stdout=sys.stderr)
    for _ in range(100):
        if all(call("GET", KINDS[kind][1])[0] == 200 for kind in ["Widget", "EdgeApp", "EdgeNode"]):
            break
        time.sleep(0.1)

    recorded = {}
    for case in json.loads((HERE / "cases.json").read_text()):
        version, path = KINDS[case["kind"]]

        def whole(part):
            if isinstance(part, str):
                return part
            base = {"apiVersion": version, "kind": case["kind"], "metadata": {"name": "x"}}
            return {**base, **part}

        validation = case.get("validation", "Ignore")
        query = "?dryRun=All&fieldValidation=" + validation
        old = None
        if "old" in case:
            code, _, old = call("POST", path, whole(case["old"]))
            assert code == 201, (case["name"], old)
            if "oldStatus" in case:
                old["status"] = case["oldStatus"]
                code, _, old = call("PUT", path + "/x/status", old)
                assert code == 200, (case["name"], old)
        media = case.get("media", "application/json")
        op = case.get("op", "create")
        if op == "create":
            answer = call("POST", path + query, whole(case["new"]), media)
        elif op in ("update", "status"):
            body = whole(case["new"])
            if not isinstance(body, str):
                body["metadata"] = {**body["metadata"], "resourceVersion": old["metadata"]["resourceVersion"]}
            answer = call("PUT", path + "/x" + ("/status" if op == "status" else "") + query, body, media)
        elif op == "patch":
            answer = call("PATCH", path + "/x" + query, case["new"], "application/merge-patch+json")
        else:
            raise SystemExit("unknown op " + op)
        if old is not None:
            call("DELETE", path + "/x")
        code, warnings, body = answer
        assert case["name"] not in recorded, case["name"]
        result = {"code": code}
        if warnings:
            result["warnings"] = warnings
        if code >= 400:
            details = body.get("details") or {}
            result["reason"] = body.get("reason", "")
            causes = result["causes"] = details.get("causes", [])
            # A message of several causes repeats them in an order of its own.
            if len(causes) < 2:
                result["message"] = body["message"]
        else:
            for field in STAMPED:
                body["metadata"].pop(field, None)
            result["object"] = body
        recorded[case["name"]] = result
    lines = [json.dumps(name) + ":" + json.dumps(recorded[name], separators=(",", ":"), sort_keys=True) for name in recorded]
    print("{\n" + ",\n".join(lines) + "\n}")


main()
