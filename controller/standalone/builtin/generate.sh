#!/usr/bin/env bash
# Writes the *.json beside this script: the OpenAPI v3 documents of the built-in groups as the real kube-apiserver of
# tests/kube publishes them, cut down to what skerry-standalone serves, what every document of a CRD's
# group shares, and the columns of the Tables.
# Run it after tests/kube has moved to another version of Kubernetes, and read the diff. Needs python3 and curl.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
plane=$here/../../../tests/kube/control-plane.sh
work=$(mktemp -d)
trap '"$plane" down "$work/kube" 2>/dev/null || true; rm -rf "$work"' EXIT

kubeconfig=$("$plane" up "$work/kube")
kubectl=$("$here/../../../tests/kube/assets.sh")/kubectl
api() { "$kubectl" --kubeconfig "$kubeconfig" "$@"; }

# A kind of ours in the simplest form: its document holds the parameters and the components that all of them share.
api create -f - >/dev/null <<'CRD'
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: probes.skerry.example}
spec:
  group: skerry.example
  scope: Namespaced
  names: {kind: Probe, plural: probes}
  versions:
  - {name: v1, served: true, storage: true, subresources: {status: {}}, schema: {openAPIV3Schema: {type: object}}}
CRD

groups=(api/v1 apis/{apiextensions.k8s.io,apps,certificates.k8s.io,coordination.k8s.io,events.k8s.io}/v1)
for group in "${groups[@]}"; do api get --raw "/openapi/v3/$group" >"$work/${group//\//_}"; done
for _ in {1..100}; do
  if api get --raw /openapi/v3/apis/skerry.example/v1 2>/dev/null | grep -F '/probes/{name}/status' >"$work/custom"; then break; fi
  sleep 0.1
done

# `columns GROUP_PATH PLURAL NAME`: what the real server's Table of that kind begins with.
table="Accept: application/json;as=Table;g=meta.k8s.io;v=v1"
server=$(api config view --raw -o 'jsonpath={.clusters[0].cluster.server}')
token=$(api config view --raw -o 'jsonpath={.users[0].user.token}')
columns() {
  curl -sSf --cacert "$work/kube/certs/apiserver.crt" -H "Authorization: Bearer $token" -H "$table" "$server/$1/$2?limit=1" >"$work/$3.table"
}
for plural in namespaces secrets configmaps events; do columns api/v1 "$plural" "$plural"; done
columns apis/apiextensions.k8s.io/v1 customresourcedefinitions customresourcedefinitions.apiextensions.k8s.io
columns apis/apps/v1 controllerrevisions controllerrevisions.apps
columns apis/certificates.k8s.io/v1 certificatesigningrequests certificatesigningrequests.certificates.k8s.io
columns apis/coordination.k8s.io/v1 leases leases.coordination.k8s.io
columns apis/events.k8s.io/v1 events events.events.k8s.io

python3 - "$work" "$here" <<'PYTHON'
import json, pathlib, re, sys

work, here = map(pathlib.Path, sys.argv[1:])
KINDS = {
    "core": ("api_v1", "namespaces secrets configmaps events"),
    "apiextensions": ("apis_apiextensions.k8s.io_v1", "customresourcedefinitions"),
    "apps": ("apis_apps_v1", "controllerrevisions"),
    "certificates": ("apis_certificates.k8s.io_v1", "certificatesigningrequests"),
    "coordination": ("apis_coordination.k8s.io_v1", "leases"),
    "events": ("apis_events.k8s.io_v1", "events"),
}
GROUPS = {"", "apiextensions.k8s.io", "apps", "certificates.k8s.io", "coordination.k8s.io", "events.k8s.io"}
# Read only: no operation that writes is published.
READ_ONLY = "customresourcedefinitions"
REFERENCE = "#/components/schemas/"


def media(content):
    """YAML, protobuf and CBOR are not spoken."""
    return {name: value for name, value in content.items() if not re.search("/yaml$|protobuf|cbor", name)}


def slim(node):
    """Drops the encodings that are not spoken and the kinds of groups that are not served."""
    if isinstance(node, list):
        return [slim(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {name: slim(value) for name, value in node.items()}
    if isinstance(node.get("content"), dict) and all("/" in name for name in node["content"]):
        node["content"] = media(node["content"])
    kinds = node.get("x-kubernetes-group-version-kind")
    if isinstance(kinds, list) and len(kinds) > 1:
        node["x-kubernetes-group-version-kind"] = [kind for kind in kinds if kind["group"] in GROUPS and kind["version"] == "v1"]
    return node


def references(node):
    if isinstance(node, dict):
        target = node.get("$ref", "")
        if isinstance(target, str) and target.startswith(REFERENCE):
            yield target[len(REFERENCE):]
        node = node.values()
    if not isinstance(node, str) and hasattr(node, "__iter__"):
        for item in node:
            yield from references(item)


def reachable(roots, schemas):
    found, queue = {}, list(references(roots))
    while queue:
        name = queue.pop()
        if name not in found:
            found[name] = schemas[name]
            queue.extend(references(schemas[name]))
    return found


def write(name, value):
    text = json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    (here / f"{name}.json").write_text(text + "\n")


for name, (file, plurals) in KINDS.items():
    document = json.loads((work / file).read_text())
    root = file.replace("_", "/")
    served = re.compile(rf"/{root}/(namespaces/{{namespace}}/)?({plurals.replace(' ', '|')})(/{{name}}(/(status|finalize|approval))?)?$")
    paths = {path: slim(item) for path, item in document["paths"].items() if served.match(path)}
    for path, item in paths.items():
        if READ_ONLY in path:
            for verb in ("put", "post", "patch", "delete"):
                item.pop(verb, None)
    schemas = reachable(paths, slim(document["components"]["schemas"]))
    document = {"openapi": document["openapi"], "info": document["info"], "paths": paths,
                "components": {"schemas": schemas, "securitySchemes": document["components"]["securitySchemes"]}}
    write(name, document)

document = slim(json.loads((work / "custom").read_text()))
paths = document["paths"]
many = paths["/apis/skerry.example/v1/namespaces/{namespace}/probes"]
one = paths["/apis/skerry.example/v1/namespaces/{namespace}/probes/{name}"]
everywhere = paths["/apis/skerry.example/v1/probes"]
parameters = {"list": many["get"]["parameters"], "post": many["post"]["parameters"], "everywhere": everywhere["parameters"]}
parameters |= {verb: one[verb]["parameters"] for verb in ("get", "put", "patch", "delete")}
assert many["delete"]["parameters"] == many["get"]["parameters"]
assert one["patch"]["parameters"] == paths["/apis/skerry.example/v1/namespaces/{namespace}/probes/{name}/status"]["patch"]["parameters"]
parameters["path"] = [item for item in one["parameters"] if item["name"] != "name"]
schemas = {name: schema for name, schema in document["components"]["schemas"].items() if not name.startswith("example.skerry.")}
probe = document["components"]["schemas"]["example.skerry.v1.Probe"]["properties"]
probes = document["components"]["schemas"]["example.skerry.v1.ProbeList"]["properties"]
write("custom", {
    "parameters": parameters, "schemas": schemas,
    "properties": {name: probe[name] for name in ("apiVersion", "kind", "metadata")},
    "listProperties": {name: probes[name] for name in ("apiVersion", "kind", "metadata")},
})

write("columns", {file.stem: json.loads(file.read_text())["columnDefinitions"] for file in work.glob("*.table")})
PYTHON

wc -c "$here"/*.json
