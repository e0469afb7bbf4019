//! kubectl's verbs, one a trial: what it prints and what it leads to.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use skerry_tests::eventually;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::tool::{Tool, holds, is};

/// An app of one container.
pub fn app(name: &str, image: &str) -> String {
    format!(
        "apiVersion: skerry.dev/v1alpha1\nkind: EdgeApp\nmetadata:\n  name: {name}\n  labels: {{test: apps}}\nspec:\n  template:\n    \
         spec:\n      containers:\n      - name: web\n        image: {image}\n"
    )
}

fn config_map(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{k: {value}}}\n")
}

const IMAGE: &str = "-o jsonpath={.spec.template.spec.containers[0].image}";

pub async fn applying_twice_changes_nothing(k: Tool) -> Result<()> {
    is(&k.ok_with("apply -f -", &app("a", "local/a:1")).await?, "edgeapp.skerry.dev/a created")?;
    let before = k.ok("get ea a -o jsonpath={.metadata.resourceVersion}").await?;
    is(&k.ok_with("apply -f -", &app("a", "local/a:1")).await?, "edgeapp.skerry.dev/a unchanged")?;
    is(&k.ok("get ea a -o jsonpath={.metadata.resourceVersion}").await?, &before)?;
    is(&k.ok_with("apply -f -", &app("a", "local/a:2")).await?, "edgeapp.skerry.dev/a configured")?;
    is(&k.ok(&format!("get ea a {IMAGE}")).await?, "local/a:2")?;
    is(&k.ok("get ea a -o jsonpath={.metadata.generation}").await?, "2")?;
    holds(&k.ok("apply view-last-applied ea/a").await?, &["image: local/a:2"])?;
    is(&k.ok_with("apply -f -", &config_map("c", "v")).await?, "configmap/c created")?;
    is(&k.ok_with("apply -f -", &config_map("c", "v")).await?, "configmap/c unchanged")?;
    // A key that is no longer in the file goes.
    let file = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {l: w}\n";
    is(&k.ok_with("apply -f -", file).await?, "configmap/c configured")?;
    is(&k.ok("get cm c -o jsonpath={.data}").await?, r#"{"l":"w"}"#)
}

pub async fn a_file_of_several_kinds_is_applied(k: Tool) -> Result<()> {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {k: v}\n";
    let node = format!(
        "apiVersion: skerry.dev/v1alpha1\nkind: EdgeNode\nmetadata: {{name: {}}}\nspec: {{}}\n",
        k.namespace
    );
    let file = [app("a", "local/a:1"), config_map("c", "v"), secret.into(), node].join("---\n");
    let said = k.ok_with("apply -f -", &file).await?;
    let node = format!("edgenode.skerry.dev/{} created", k.namespace);
    holds(&said, &["edgeapp.skerry.dev/a created", "configmap/c created", "secret/s created", &node])?;
    is(&k.ok("get secret s -o jsonpath={.data.k}").await?, "dg==")?;
    let list = r#"{"apiVersion":"v1","kind":"List","items":[
        {"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"d"}},
        {"apiVersion":"v1","kind":"Secret","metadata":{"name":"t"}}]}"#;
    holds(&k.ok_with("apply -f -", list).await?, &["configmap/d created", "secret/t created"])?;
    let said = k.ok_with("delete -f -", &file).await?;
    holds(&said, &["edgeapp.skerry.dev \"a\"", "configmap \"c\"", "secret \"s\"", "deleted"])?;
    holds(&k.fails("get ea a", "").await?, &["edgeapps.skerry.dev \"a\" not found"])
}

pub async fn a_folder_is_applied_with_kustomize(k: Tool) -> Result<()> {
    k.file("app.yaml", &app("a", "local/a:1"))?;
    k.file(
        "kustomization.yaml",
        "namePrefix: k-\nresources: [app.yaml]\nconfigMapGenerator: [{name: c, literals: [a=b]}]\n",
    )?;
    let folder = k.folder()?.display().to_string();
    let said = k.ok(&format!("apply -k {folder}")).await?;
    holds(&said, &["configmap/k-c-", "edgeapp.skerry.dev/k-a created"])?;
    holds(&k.ok(&format!("apply -k {folder}")).await?, &["unchanged"])?;
    holds(&k.ok(&format!("delete -k {folder}")).await?, &["deleted"]).map(drop)
}

pub async fn diff_tells_by_its_exit_code(k: Tool) -> Result<()> {
    for (name, mode) in [("a", vec![]), ("b", vec!["--server-side"])] {
        let with = |verb: &'static str| [vec![verb, "-f", "-"], mode.clone()].concat();
        let made = k.run(&with("apply"), &app(name, "local/a:1"), &[]).await?;
        ensure!(made.code == Some(0), "{made:?}");
        let same = k.run(&with("diff"), &app(name, "local/a:1"), &[]).await?;
        ensure!(same.code == Some(0) && same.out.is_empty(), "{mode:?}: {same:?}");
        let other = k.run(&with("diff"), &app(name, "local/a:2"), &[]).await?;
        ensure!(other.code == Some(1), "{mode:?}: {other:?}");
        holds(&other.out, &["image: local/a:1", "image: local/a:2"])?;
        let new = k.run(&with("diff"), &app("new", "local/a:1"), &[]).await?;
        ensure!(new.code == Some(1) && new.out.contains("+kind: EdgeApp"), "{mode:?}: {new:?}");
    }
    is(&k.ok(&format!("get ea a {IMAGE}")).await?, "local/a:1")
}

pub async fn an_editor_changes_an_app(k: Tool) -> Result<()> {
    k.ok_with("apply -f -", &app("a", "local/a:1")).await?;
    let edited = k.run(&["edit", "ea", "a"], "", &[("KUBE_EDITOR", "sed -i s,local/a:1,local/a:9,")]).await?;
    ensure!(edited.out.contains("edgeapp.skerry.dev/a edited"), "{edited:?}");
    is(&k.ok(&format!("get ea a {IMAGE}")).await?, "local/a:9")?;
    let kept = k.run(&["edit", "ea", "a"], "", &[("KUBE_EDITOR", "true")]).await?;
    holds(&(kept.out + &kept.err), &["no changes made"])
}

pub async fn patches_of_both_kinds(k: Tool) -> Result<()> {
    k.ok_with("apply -f -", &(app("a", "local/a:1") + "---\n" + &config_map("c", "v"))).await?;
    let merge = r#"patch ea a --type=merge -p {"spec":{"template":{"spec":{"hostNetwork":true}}}}"#;
    is(&k.ok(merge).await?, "edgeapp.skerry.dev/a patched")?;
    is(&k.ok(merge).await?, "edgeapp.skerry.dev/a patched (no change)")?;
    let json = r#"patch ea a --type=json -p [{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"local/a:3"}]"#;
    is(&k.ok(json).await?, "edgeapp.skerry.dev/a patched")?;
    is(&k.ok(&format!("get ea a {IMAGE}")).await?, "local/a:3")?;
    let strategic = r#"-p {"metadata":{"labels":{"x":"y"}}}"#;
    is(&k.ok(&format!("patch cm c {strategic}")).await?, "configmap/c patched")?;
    holds(
        &k.fails(&format!("patch ea a {strategic}"), "").await?,
        &["application/strategic-merge-patch+json"],
    )?;
    let bad = r#"patch ea a --type=merge -p {"spec":{"template":{"spec":{"restartPolicy":"Maybe"}}}}"#;
    holds(
        &k.fails(bad, "").await?,
        &["Unsupported value: \"Maybe\": supported values: \"Always\", \"OnFailure\", \"Never\""],
    )
}

pub async fn labels_and_annotations(k: Tool) -> Result<()> {
    k.ok_with("apply -f -", &app("a", "local/a:1")).await?;
    is(&k.ok("label ea a site=hz").await?, "edgeapp.skerry.dev/a labeled")?;
    is(&k.ok("label ea a site=hz").await?, "edgeapp.skerry.dev/a not labeled")?;
    holds(
        &k.fails("label ea a site=sh", "").await?,
        &["'site' already has a value (hz), and --overwrite is false"],
    )?;
    is(&k.ok("label --overwrite ea a site=sh").await?, "edgeapp.skerry.dev/a labeled")?;
    is(&k.ok("get ea -l site=sh -o name").await?, "edgeapp.skerry.dev/a")?;
    is(&k.ok("get ea -l site!=sh -o name").await?, "")?;
    is(&k.ok("label ea a site-").await?, "edgeapp.skerry.dev/a unlabeled")?;
    is(&k.ok("annotate ea a note=text").await?, "edgeapp.skerry.dev/a annotated")?;
    is(&k.ok("get ea a -o jsonpath={.metadata.annotations.note}").await?, "text")?;
    is(&k.ok("get ea a -o jsonpath={.metadata.generation}").await?, "1")?;
    holds(&k.fails("label ea a site=?", "").await?, &["a valid label must be"])
}

pub async fn every_output_format(k: Tool) -> Result<()> {
    k.ok_with("apply -f -", &(app("a", "local/a:1") + "---\n" + &app("b", "local/b:1"))).await?;
    let table = k.ok("get ea").await?;
    let head: Vec<&str> = table.lines().next().unwrap_or_default().split_whitespace().collect();
    ensure!(head == ["NAME", "DESIRED", "UPDATED", "READY", "UNKNOWN", "STATUS", "AGE"], "{table}");
    ensure!(table.lines().count() == 3, "{table}");
    holds(&k.ok("get ea -o wide").await?, &["REVISION", "MESSAGE"])?;
    holds(&k.ok("get ea -A --show-labels").await?, &["NAMESPACE", "LABELS", "test=apps", &k.namespace])?;
    holds(
        &k.ok("get ea a -o yaml").await?,
        &["apiVersion: skerry.dev/v1alpha1\n", "\n  observedGeneration: -1"],
    )?;
    let json: serde_json::Value = serde_json::from_str(&k.ok("get ea -o json").await?)?;
    ensure!(json["kind"] == "List" && json["items"][1]["kind"] == "EdgeApp", "{json}");
    is(&k.ok("get ea -o jsonpath={.items[*].metadata.name}").await?, "a b")?;
    let columns =
        k.ok("get ea -o custom-columns=N:.metadata.name,G:.metadata.generation --no-headers").await?;
    ensure!(columns.split_whitespace().eq(["a", "1", "b", "1"]), "{columns}");
    is(&k.ok("get ea -o name").await?, "edgeapp.skerry.dev/a\nedgeapp.skerry.dev/b")?;
    let sorted = k.ok("get ea --sort-by=.spec.template.spec.containers[0].image -o name").await?;
    is(&sorted, "edgeapp.skerry.dev/a\nedgeapp.skerry.dev/b")?;
    is(&k.ok("get ea --field-selector=metadata.name=b -o name").await?, "edgeapp.skerry.dev/b")?;
    holds(&k.ok("get ea a -o yaml --show-managed-fields").await?, &["manager: kubectl-client-side-apply"])?;
    holds(&k.ok("get ea a -o go-template={{.metadata.name}}").await?, &["a"])
}

pub async fn several_kinds_and_short_names(k: Tool) -> Result<()> {
    let node = format!(
        "apiVersion: skerry.dev/v1alpha1\nkind: EdgeNode\nmetadata: {{name: {}}}\nspec: {{}}\n",
        k.namespace
    );
    k.ok_with("apply -f -", &[app("a", "local/a:1"), config_map("c", "v"), node].join("---\n")).await?;
    let both = k.ok("get ea,cm").await?;
    holds(&both, &["edgeapp.skerry.dev/a", "configmap/c"])?;
    for name in
        ["ea", "edgeapp", "edgeapps", "edgeapps.skerry.dev", "edgeapps.v1alpha1.skerry.dev", "EdgeApp"]
    {
        is(&k.ok(&format!("get {name} -o name")).await?, "edgeapp.skerry.dev/a")?;
    }
    is(
        &k.ok(&format!("get en {} -o name", k.namespace)).await?,
        &format!("edgenode.skerry.dev/{}", k.namespace),
    )?;
    holds(&k.ok("get skerry").await?, &["edgeapp.skerry.dev/a"])?;
    k.ok(&format!("delete en {}", k.namespace)).await.map(drop)
}

pub async fn tables_of_built_in_kinds(k: Tool) -> Result<()> {
    k.ok_with("apply -f -", &config_map("c", "v")).await?;
    k.ok("create secret generic s --from-literal=a=b").await?;
    let lease =
        "apiVersion: coordination.k8s.io/v1\nkind: Lease\nmetadata: {name: l}\nspec: {holderIdentity: me}\n";
    k.ok_with("apply -f -", lease).await?;
    let revision =
        "apiVersion: apps/v1\nkind: ControllerRevision\nmetadata: {name: r}\nrevision: 3\ndata: {a: b}\n";
    k.ok_with("apply -f -", revision).await?;
    for (words, head, row) in [
        ("get cm", vec!["NAME", "DATA", "AGE"], vec!["c", "1"]),
        ("get secrets", vec!["NAME", "TYPE", "DATA", "AGE"], vec!["s", "Opaque", "1"]),
        ("get leases", vec!["NAME", "HOLDER", "AGE"], vec!["l", "me"]),
        ("get controllerrevisions", vec!["NAME", "CONTROLLER", "REVISION", "AGE"], vec!["r", "<none>", "3"]),
    ] {
        let table = k.ok(words).await?;
        let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        ensure!(rows[0] == head && rows.len() == 2 && rows[1].starts_with(&row), "{words}:\n{table}");
    }
    let table = k.ok(&format!("get ns {}", k.namespace)).await?;
    holds(&table, &["NAME", "STATUS", "Active"])
}

pub async fn a_watch_sees_a_change(k: Tool) -> Result<()> {
    k.ok_with("apply -f -", &app("a", "local/a:1")).await?;
    let columns = "custom-columns=N:.metadata.name,I:.spec.template.spec.containers[0].image";
    let mut watch = k.start(&["get", "ea", "-w", "--no-headers", "-o", columns], &[])?;
    let mut lines = BufReader::new(watch.stdout.take().context("a pipe")?).lines();
    let mut next = async |wanted: &str| -> Result<()> {
        let line = tokio::time::timeout(Duration::from_secs(20), lines.next_line())
            .await
            .context("no line in time")??;
        let line = line.context("the watch ended")?;
        ensure!(line.split_whitespace().collect::<Vec<_>>().join(" ") == wanted, "not {wanted} but {line}");
        Ok(())
    };
    next("a local/a:1").await?;
    k.ok_with("apply -f -", &app("a", "local/a:2")).await?;
    next("a local/a:2").await?;
    k.ok_with("apply -f -", &app("b", "local/b:1")).await?;
    next("b local/b:1").await?;
    k.ok("delete ea b").await?;
    next("b local/b:1").await
}

/// An event about an app.
fn event(k: &Tool, app: &str, uid: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Event\nmetadata: {{name: {app}.1, namespace: {ns}}}\ninvolvedObject: {{apiVersion: skerry.dev/v1alpha1, kind: \
         EdgeApp, name: {app}, namespace: {ns}, uid: {uid}}}\nreason: ImagePullFailed\nmessage: no such image\ntype: Warning\ncount: 2\n\
         source: {{component: skerry-controller}}\nfirstTimestamp: \"2026-01-02T03:04:05Z\"\nlastTimestamp: \"2026-01-02T03:04:05Z\"\n",
        ns = k.namespace
    )
}

pub async fn describe_shows_the_spec_and_the_events(k: Tool) -> Result<()> {
    k.ok_with("apply -f -", &app("a", "local/a:1")).await?;
    let uid = k.ok("get ea a -o jsonpath={.metadata.uid}").await?;
    k.ok_with("create -f -", &event(&k, "a", &uid)).await?;
    let said = k.ok("describe ea a").await?;
    holds(
        &said,
        &["Name:", "Kind:         EdgeApp", "local/a:1", "ImagePullFailed", "no such image", "Warning"],
    )?;
    k.ok("create secret generic s --from-literal=a=b").await?;
    holds(&k.ok("describe secret s").await?, &["a:  1 bytes"])?;
    holds(&k.ok(&format!("describe ns {}", k.namespace)).await?, &["Status:       Active"])
}

pub async fn events_are_listed(k: Tool) -> Result<()> {
    k.ok_with("apply -f -", &app("a", "local/a:1")).await?;
    k.ok_with("create -f -", &event(&k, "a", "x")).await?;
    holds(
        &k.ok("events").await?,
        &["LAST SEEN", "Warning", "ImagePullFailed", "EdgeApp/a", "no such image"],
    )?;
    holds(&k.ok("events --for=edgeapp/a").await?, &["ImagePullFailed"])?;
    holds(&k.ok("get events").await?, &["ImagePullFailed", "edgeapp/a"])?;
    is(&k.ok("get events --field-selector=involvedObject.name=a -o name").await?, "event/a.1")
}

pub async fn explain_knows_the_fields(k: Tool) -> Result<()> {
    // A new CRD's schema is published a moment after the CRD is there.
    let said =
        eventually("explain", || async { k.ok("explain edgeapp.spec.template.spec.containers.image").await })
            .await?;
    holds(&said, &["Image reference, by tag or by digest."])?;
    holds(&k.ok("explain ea").await?, &["KIND:", "EdgeApp", "spec", "-required-"])?;
    holds(
        &k.ok("explain ea.spec --recursive").await?,
        &["containers", "imagePullPolicy", "matchExpressions"],
    )?;
    holds(&k.ok("explain cm.data").await?, &["FIELD: data"])?;
    holds(&k.ok("explain en.status").await?, &["nodeInfo"])?;
    holds(&k.fails("explain ea.spec.colour", "").await?, &["field \"colour\" does not exist"])
}

pub async fn deleting_by_file_label_and_name(k: Tool) -> Result<()> {
    let file = k.file("apps.yaml", &(app("a", "local/a:1") + "---\n" + &app("b", "local/a:1")))?;
    k.ok(&format!("apply -f {file}")).await?;
    holds(&k.ok(&format!("delete -f {file}")).await?, &["edgeapp.skerry.dev \"a\" ", "deleted"])?;
    holds(&k.fails(&format!("delete -f {file}"), "").await?, &["edgeapps.skerry.dev \"a\" not found"])?;
    is(&k.ok(&format!("delete -f {file} --ignore-not-found")).await?, "")?;
    k.ok(&format!("apply -f {file}")).await?;
    holds(&k.ok("delete ea -l test=apps").await?, &["\"a\"", "\"b\""])?;
    holds(&k.ok("delete ea -l test=apps").await?, &["No resources found"])?;
    k.ok(&format!("apply -f {file}")).await?;
    holds(&k.ok("delete ea --all --dry-run=server").await?, &["(server dry run)"])?;
    holds(&k.ok("delete ea --all --cascade=orphan --wait=false").await?, &["\"a\"", "\"b\""])?;
    k.ok_with("apply -f -", &config_map("c", "v")).await?;
    holds(&k.ok("delete cm/c --now").await?, &["deleted"])?;
    holds(
        &k.fails("delete ea missing", "").await?,
        &["Error from server (NotFound): edgeapps.skerry.dev \"missing\" not found"],
    )
}

pub async fn a_deletion_that_waits(k: Tool) -> Result<()> {
    k.ok_with("apply -f -", &app("a", "local/a:1")).await?;
    k.ok(r#"patch ea a --type=merge -p {"metadata":{"finalizers":["example.com/hold"]}}"#).await?;
    holds(&k.fails("delete ea a --timeout=1s", "").await?, &["timed out waiting"])?;
    ensure!(
        !k.ok("get ea a -o jsonpath={.metadata.deletionTimestamp}").await?.is_empty(),
        "no deletion time"
    );
    let waiting = k.start(&["delete", "ea", "a", "--wait"], &[])?;
    k.ok(r#"patch ea a --type=merge -p {"metadata":{"finalizers":null}}"#).await?;
    let output = tokio::time::timeout(Duration::from_secs(20), waiting.wait_with_output())
        .await
        .context("it waits on")??;
    // It may have come too late to delete what the patch let go.
    holds(&(String::from_utf8(output.stdout)? + &String::from_utf8(output.stderr)?), &["\"a\""])?;
    holds(&k.fails("get ea a", "").await?, &["not found"])
}

/// Writes a status that makes an app ready.
pub async fn make_ready(k: &Tool, name: &str) -> Result<()> {
    let generation = k.ok(&format!("get ea {name} -o jsonpath={{.metadata.generation}}")).await?;
    let status = format!(
        "{{\"status\":{{\"observedGeneration\":{generation},\"nodes\":{{\"desired\":1,\"updated\":1,\"ready\":1,\"unavailable\":0,\
         \"unknown\":0}},\"conditions\":[{{\"type\":\"Ready\",\"status\":\"True\",\"reason\":\"Ready\",\"message\":\"m\",\
         \"lastTransitionTime\":\"2026-01-02T03:04:05Z\"}}]}}}}"
    );
    let args = ["patch", "ea", name, "--subresource=status", "--type=merge", "-p", &status];
    let said = k.run(&args, "", &[]).await?;
    ensure!(said.code == Some(0), "{said:?}");
    Ok(())
}

pub async fn waiting_for_a_condition_a_path_and_a_deletion(k: Tool) -> Result<()> {
    k.ok_with("apply -f -", &app("a", "local/a:1")).await?;
    holds(
        &k.fails("wait ea/a --for=condition=Ready --timeout=1s", "").await?,
        &["timed out waiting for the condition"],
    )?;
    let condition = k.start(&["wait", "ea/a", "--for=condition=Ready", "--timeout=20s"], &[])?;
    let path = k.start(&["wait", "ea/a", "--for=jsonpath={.status.nodes.ready}=1", "--timeout=20s"], &[])?;
    make_ready(&k, "a").await?;
    for child in [condition, path] {
        is(
            &String::from_utf8(child.wait_with_output().await?.stdout)?,
            "edgeapp.skerry.dev/a condition met",
        )?;
    }
    let deletion = k.start(&["wait", "ea/a", "--for=delete", "--timeout=20s"], &[])?;
    // It must have seen the app before it goes: a second look is as long as any start of a client.
    k.ok("get ea a").await?;
    k.ok("get ea a").await?;
    k.ok("delete ea a").await?;
    let output = deletion.wait_with_output().await?;
    let said = String::from_utf8(output.stdout)? + &String::from_utf8(output.stderr)?;
    ensure!(said.contains("condition met") || said.contains("not found"), "{said}");
    Ok(())
}

pub async fn generators_create_objects(k: Tool) -> Result<()> {
    let namespace = format!("{}-made", k.namespace);
    is(&k.ok(&format!("create namespace {namespace}")).await?, &format!("namespace/{namespace} created"))?;
    is(&k.ok("create configmap c --from-literal=a=b").await?, "configmap/c created")?;
    is(&k.ok("create secret generic s --from-literal=a=b").await?, "secret/s created")?;
    is(&k.ok("get cm c -o jsonpath={.data.a}").await?, "b")?;
    is(&k.ok("get secret s -o jsonpath={.type}/{.data.a}").await?, "Opaque/Yg==")?;
    let file = k.file("blob", "text\n")?;
    k.ok(&format!("create configmap f --from-file=key={file}")).await?;
    is(&k.ok("get cm f -o jsonpath={.data.key}").await?, "text")?;
    let said = k.ok("create configmap d --from-literal=a=b --dry-run=client -o yaml").await?;
    holds(&said, &["kind: ConfigMap", "name: d"])?;
    is(&k.ok_with("create -f -", &app("a", "local/a:1")).await?, "edgeapp.skerry.dev/a created")?;
    let generated = app("x", "local/a:1").replace("name: x", "generateName: x-");
    let said = k.ok_with("create -f -", &generated).await?;
    ensure!(said.starts_with("edgeapp.skerry.dev/x-") && said.trim_end().ends_with(" created"), "{said}");
    Ok(())
}

pub async fn creating_twice_is_refused(k: Tool) -> Result<()> {
    k.ok_with("create -f -", &app("a", "local/a:1")).await?;
    let said = k.fails("create -f -", &app("a", "local/a:1")).await?;
    holds(&said, &["(AlreadyExists)", "edgeapps.skerry.dev \"a\" already exists"])?;
    k.ok("create configmap c").await?;
    holds(&k.fails("create configmap c", "").await?, &["configmaps \"c\" already exists"])
}

pub async fn replacing_and_forcing(k: Tool) -> Result<()> {
    k.ok_with("create -f -", &app("a", "local/a:1")).await?;
    let uid = k.ok("get ea a -o jsonpath={.metadata.uid}").await?;
    is(&k.ok_with("replace -f -", &app("a", "local/a:2")).await?, "edgeapp.skerry.dev/a replaced")?;
    is(&k.ok("get ea a -o jsonpath={.metadata.uid}").await?, &uid)?;
    let said = k.ok_with("replace --force -f -", &app("a", "local/a:3")).await?;
    holds(&said, &["edgeapp.skerry.dev \"a\" ", "deleted", "edgeapp.skerry.dev/a replaced"])?;
    ensure!(k.ok("get ea a -o jsonpath={.metadata.uid}").await? != uid, "the same object");
    is(&k.ok(&format!("get ea a {IMAGE}")).await?, "local/a:3")?;
    holds(&k.fails("replace -f -", &app("missing", "local/a:1")).await?, &["not found"])
}

pub async fn a_server_dry_run_stores_nothing(k: Tool) -> Result<()> {
    let said = k.ok_with("apply --dry-run=server -f -", &app("a", "local/a:1")).await?;
    is(&said, "edgeapp.skerry.dev/a created (server dry run)")?;
    holds(&k.fails("get ea a", "").await?, &["not found"])?;
    k.ok_with("apply -f -", &app("a", "local/a:1")).await?;
    let said = k.ok_with("apply --dry-run=server -f -", &app("a", "local/a:2")).await?;
    is(&said, "edgeapp.skerry.dev/a configured (server dry run)")?;
    holds(&k.ok("delete ea a --dry-run=server").await?, &["deleted", "(server dry run)"])?;
    is(&k.ok(&format!("get ea a {IMAGE}")).await?, "local/a:1")
}

pub async fn a_server_side_apply_conflicts_until_forced(k: Tool) -> Result<()> {
    let one = "apply --server-side --field-manager=one -f -";
    is(&k.ok_with(one, &app("a", "local/a:1")).await?, "edgeapp.skerry.dev/a serverside-applied")?;
    is(&k.ok_with(one, &app("a", "local/a:1")).await?, "edgeapp.skerry.dev/a serverside-applied")?;
    let two = "apply --server-side --field-manager=two -f -";
    let said = k.fails(two, &app("a", "local/a:2")).await?;
    holds(&said, &["Apply failed with 1 conflict: conflict with \"one\"", ".image"])?;
    is(&k.ok(&format!("get ea a {IMAGE}")).await?, "local/a:1")?;
    k.ok_with("apply --server-side --field-manager=two --force-conflicts -f -", &app("a", "local/a:2"))
        .await?;
    is(&k.ok(&format!("get ea a {IMAGE}")).await?, "local/a:2")?;
    // From the client's apply to the server's, as people move.
    k.ok_with("apply -f -", &config_map("c", "v")).await?;
    is(
        &k.ok_with("apply --server-side -f -", &config_map("c", "w")).await?,
        "configmap/c serverside-applied",
    )?;
    is(&k.ok("get cm c -o jsonpath={.data.k}").await?, "w")
}

pub async fn an_unknown_field_is_refused_by_name(k: Tool) -> Result<()> {
    let bad = app("a", "local/a:1") + "        volumeDevices: []\n";
    for words in ["apply --validate=strict -f -", "create -f -", "apply -f -"] {
        let said = k.fails(words, &bad).await?;
        holds(&said, &["unknown field \"spec.template.spec.containers[0].volumeDevices\""])?;
    }
    let said = k.run(&["create", "--validate=warn", "-f", "-"], &bad, &[]).await?;
    ensure!(said.code == Some(0), "{said:?}");
    holds(&said.err, &["Warning: unknown field \"spec.template.spec.containers[0].volumeDevices\""])?;
    let said =
        k.run(&["apply", "--validate=false", "-f", "-"], &bad.replace("name: a\n", "name: b\n"), &[]).await?;
    ensure!(said.code == Some(0) && !said.err.contains("unknown field"), "{said:?}");
    holds(&k.fails("apply -f -", &app("c", "\"a//b\"")).await?, &["is invalid", "containers[0].image"])
}

pub async fn the_status_is_patched_apart(k: Tool) -> Result<()> {
    k.ok_with("apply -f -", &app("a", "local/a:1")).await?;
    make_ready(&k, "a").await?;
    let table = k.ok("get ea a --no-headers").await?;
    let row: Vec<&str> = table.split_whitespace().collect();
    ensure!(row[..6] == ["a", "1", "1", "1", "0", "Ready"], "{table}");
    is(&k.ok("get ea a -o jsonpath={.metadata.generation}").await?, "1")?;
    is(&k.ok_with("apply -f -", &app("a", "local/a:1")).await?, "edgeapp.skerry.dev/a unchanged")?;
    holds(&k.ok("get ea a --subresource=status -o yaml").await?, &["ready: 1"])?;
    k.ok(r#"patch ea a --type=merge -p {"status":{"nodes":{"ready":7}}}"#).await?;
    is(&k.ok("get ea a -o jsonpath={.status.nodes.ready}").await?, "1")
}

pub async fn kinds_and_versions_are_listed(k: Tool) -> Result<()> {
    let said = k.ok("api-resources --api-group=skerry.dev").await?;
    let rows: Vec<Vec<&str>> = said.lines().map(|line| line.split_whitespace().collect()).collect();
    ensure!(rows[0] == ["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"], "{said}");
    ensure!(rows.contains(&vec!["edgeapps", "ea", "skerry.dev/v1alpha1", "true", "EdgeApp"]), "{said}");
    ensure!(rows.contains(&vec!["edgenodes", "en", "skerry.dev/v1alpha1", "false", "EdgeNode"]), "{said}");
    let all = k.ok("api-resources -o name").await?;
    holds(
        &all,
        &[
            "configmaps",
            "secrets",
            "namespaces",
            "events",
            "leases.coordination.k8s.io",
            "controllerrevisions.apps",
        ],
    )?;
    let wide = k.ok("api-resources --api-group=skerry.dev -o wide").await?;
    holds(&wide, &["delete,deletecollection,get,list,patch,create,update,watch", "skerry"])?;
    let versions = k.ok("api-versions").await?;
    holds(
        &versions,
        &["skerry.dev/v1alpha1\n", "v1\n", "apps/v1\n", "coordination.k8s.io/v1\n", "events.k8s.io/v1\n"],
    )?;
    holds(&k.ok("version").await?, &["Client Version: v1.", "Server Version: v1."])?;
    let version: serde_json::Value = serde_json::from_str(&k.ok("version -o json").await?)?;
    ensure!(version["serverVersion"]["major"] == "1", "{version}");
    Ok(())
}

pub async fn rights_and_identity(k: Tool) -> Result<()> {
    is(&k.ok("auth can-i create edgeapps.skerry.dev").await?, "yes")?;
    is(&k.ok("auth can-i list secrets").await?, "yes")?;
    holds(&k.ok("auth whoami").await?, &["ATTRIBUTE", "VALUE", "Username", "Groups"])?;
    let said: serde_json::Value = serde_json::from_str(&k.ok("auth whoami -o json").await?)?;
    ensure!(said["status"]["userInfo"]["username"].as_str().is_some_and(|name| !name.is_empty()), "{said}");
    Ok(())
}

pub async fn what_is_missing_is_said(k: Tool) -> Result<()> {
    let missing = "Error from server (NotFound): edgeapps.skerry.dev \"missing\" not found";
    is(&k.fails("get ea missing", "").await?, missing)?;
    is(&k.ok("get ea missing --ignore-not-found").await?, "")?;
    holds(&k.fails("get things", "").await?, &["the server doesn't have a resource type \"things\""])?;
    let empty = k.run(&["get", "ea"], "", &[]).await?;
    ensure!(empty.code == Some(0) && empty.err.contains("No resources found"), "{empty:?}");
    let said = k.fails(&format!("create configmap c -n {}-missing", k.namespace), "").await?;
    holds(&said, &["namespaces", "-missing\" not found"])?;
    holds(&k.fails("describe ea missing", "").await?, &["not found"])
}

pub async fn lists_come_in_chunks(k: Tool) -> Result<()> {
    let maps: Vec<String> = (0..7).map(|number| config_map(&format!("c{number}"), "v")).collect();
    k.ok_with("create -f -", &maps.join("---\n")).await?;
    let names = k.ok("get cm --chunk-size=2 -o name").await?;
    ensure!(names.lines().count() == 7, "{names}");
    let table = k.ok("get cm --chunk-size=3").await?;
    ensure!(table.lines().count() == 8, "{table}");
    Ok(())
}

pub async fn a_raw_request_is_answered(k: Tool) -> Result<()> {
    is(&k.ok("get --raw /readyz").await?, "ok")?;
    let path = format!("/apis/skerry.dev/v1alpha1/namespaces/{}/edgeapps", k.namespace);
    let list: serde_json::Value = serde_json::from_str(&k.ok(&format!("get --raw {path}")).await?)?;
    ensure!(list["kind"] == "EdgeAppList" && list["items"] == serde_json::json!([]), "{list}");
    let body = k.file("app.json", r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"raw"}}"#)?;
    k.ok(&format!("create --raw /api/v1/namespaces/{}/configmaps -f {body}", k.namespace)).await?;
    is(&k.ok("get cm raw -o name").await?, "configmap/raw")
}

pub async fn a_deleted_namespace_is_terminating_or_gone(k: Tool) -> Result<()> {
    let name = format!("{}-gone", k.namespace);
    k.ok(&format!("create namespace {name}")).await?;
    holds(&k.ok(&format!("delete namespace {name} --wait=false")).await?, &[&name, "deleted"])?;
    let said = k.run(&["get", "namespace", &name, "-o", "jsonpath={.status.phase}"], "", &[]).await?;
    // A real API server without a controller manager never gets further than that.
    ensure!(said.out == "Terminating" || said.err.contains("not found"), "{said:?}");
    Ok(())
}
