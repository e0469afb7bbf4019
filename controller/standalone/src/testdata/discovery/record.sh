#!/usr/bin/env bash
# Writes recorded.json beside this script: what the real kube-apiserver of tests/kube answers on discovery, OpenAPI and Table
# requests for the CRDs of deploy/crds and objects.json. Run it after Kubernetes has moved. Needs python3 and curl.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$here/../../../../..
plane=$root/tests/kube/control-plane.sh
work=$(mktemp -d)
trap '"$plane" down "$work/kube" 2>/dev/null || true; rm -rf "$work"' EXIT

kubeconfig=$("$plane" up "$work/kube")
kubectl=$("$root/tests/kube/assets.sh")/kubectl
api() { "$kubectl" --kubeconfig "$kubeconfig" "$@"; }
api apply --server-side -f "$root/deploy/crds" >/dev/null
api wait --for condition=Established crd --all >/dev/null
until api get --raw /openapi/v3/apis/skerry.dev/v1alpha1 2>/dev/null | grep -q '/edgenodes/{name}/status'; do sleep 0.1; done
server=$(api config view --raw -o 'jsonpath={.clusters[0].cluster.server}')
token=$(api config view --raw -o 'jsonpath={.users[0].user.token}')

python3 - "$server" "$token" "$work/kube/certs/apiserver.crt" "$here" "$work" <<'PYTHON'
import json, pathlib, re, ssl, sys, urllib.error, urllib.request

server, token, authority, here, work = sys.argv[1:]
trust = ssl.create_default_context(cafile=authority)
trust.check_hostname = False
here = pathlib.Path(here)


def ask(path, accept="application/json", method="GET", body=None, media="application/json"):
    headers = {"Authorization": f"Bearer {token}", "Accept": accept, "Content-Type": media}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(server + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, context=trust) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        sys.exit(f"{method} {path}: {error.read().decode()}")


GROUPS = "apiextensions.k8s.io apps certificates.k8s.io coordination.k8s.io events.k8s.io skerry.dev".split()
KINDS = set("namespaces secrets configmaps events leases controllerrevisions certificatesigningrequests customresourcedefinitions edgeapps edgenodes".split())
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
recorded = {"definitions": [], "discovery": {}, "aggregated": {}, "tables": []}

for item in ask("/apis/apiextensions.k8s.io/v1/customresourcedefinitions")["items"]:
    item["metadata"].pop("managedFields", None)
    recorded["definitions"].append(item)

for path in ["/api/v1", "/apis", *(f"/apis/{group}" for group in GROUPS)]:
    recorded["discovery"][path] = ask(path)
for group in GROUPS:
    path = recorded["discovery"][f"/apis/{group}"]["preferredVersion"]["groupVersion"]
    recorded["discovery"][f"/apis/{path}"] = ask(f"/apis/{path}")
for answer in recorded["discovery"].values():
    if "resources" in answer:
        answer["resources"] = [kind for kind in answer["resources"] if kind["name"].split("/")[0] in KINDS]
        for kind in answer["resources"]:
            kind.pop("storageVersionHash", None)
    if "groups" in answer:
        answer["groups"] = [group for group in answer["groups"] if group["name"] in GROUPS]

for path in ["/api", "/apis"]:
    answer = ask(path, "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
    answer["items"] = [item for item in answer["items"] if item["metadata"].get("name", "") in ["", *GROUPS]]
    for item in answer["items"]:
        for version in item["versions"]:
            version["resources"] = [kind for kind in version["resources"] if kind["resource"] in KINDS]
    recorded["aggregated"][path] = answer

document = ask("/openapi/v3/apis/skerry.dev/v1alpha1")
schemas = document["components"]["schemas"]
document["components"]["schemas"] = {name: schema for name, schema in schemas.items() if name.startswith("dev.skerry.")}


def slim(node):
    """Parameters by name alone, and no YAML: the whole of the parameters is in builtin/custom.json."""
    if isinstance(node, list):
        return [slim(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {name: slim(value) for name, value in node.items() if name != "application/yaml"}
    if isinstance(node.get("parameters"), list):
        node["parameters"] = sorted(item["name"] for item in node["parameters"])
    return node


recorded["openapi"] = slim(document)
recorded["components"] = sorted(schemas)

for case in json.loads((here / "objects.json").read_text()):
    collection, new = case["path"], case["object"]
    created = ask(collection, method="POST", body=new)
    path = f"{collection}/{created['metadata']['name']}"
    if "status" in case:
        created = ask(f"{path}/status", "application/json", "PATCH", {"status": case["status"]}, "application/merge-patch+json")
    for include in case.get("include", ["None"]):
        recorded["tables"].append({
            "plural": collection.rsplit("/", 1)[1], "group": (collection.split("/") + [""])[2] if collection.startswith("/apis") else "",
            "include": include, "object": ask(path), "table": ask(f"{path}?includeObject={include}", TABLE),
        })
        recorded["tables"][-1]["table"]["columnDefinitions"] = [column["name"] for column in recorded["tables"][-1]["table"]["columnDefinitions"]]
path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/edgeapps.skerry.dev"
table = ask(f"{path}?includeObject=None", TABLE)
table["columnDefinitions"] = [column["name"] for column in table["columnDefinitions"]]
recorded["definition"] = table
path = "/apis/skerry.dev/v1alpha1/edgenodes"
recorded["lists"] = [{"object": ask(f"{path}?limit=1"), "table": ask(f"{path}?limit=1&includeObject=None", TABLE),
                      "partial": ask(f"{path}?limit=1", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io")}]
for entry in recorded["lists"]:
    for answer in entry.values():
        answer["metadata"]["continue"] = "token"
(here / "recorded.json").write_text(json.dumps(recorded, separators=(",", ":"), sort_keys=True) + "\n")
PYTHON
wc -c "$here/recorded.json"
