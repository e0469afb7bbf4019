use prost::Message as _;
use skerry_proto::wire;

use super::*;

const WEB: &str = "
apiVersion: skerry.dev/v1alpha1
kind: EdgeApp
metadata: {name: web, namespace: plant}
spec:
  placement: {nodeSelector: {matchLabels: {site: elsewhere}}}
  template:
    spec:
      containers:
      - {name: main, image: 'busybox:1', envFrom: [{configMapRef: {name: settings}}]}
";

const SETTINGS: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: plant}
data: {MODE: prod}
binaryData: {logo: AAEC}
";

fn web(image: &str) -> String {
    WEB.replace("busybox:1", image)
}

fn key(text: &str) -> AppKey {
    text.parse().expect("a key")
}

fn site() -> Site {
    Site {
        architecture: "arm64".to_owned(),
        operating_system: "linux".to_owned(),
        labels: [("site".to_owned(), "hz".to_owned())].into(),
    }
}

fn read(text: &str) -> Result<BTreeMap<AppKey, wire::App>, String> {
    let apps = object::apps(text, &site()).map_err(|error| error.to_string())?;
    let decode = |payload: &skerry_terms::Payload| wire::App::decode(&payload[..]).expect("an app");
    Ok(apps.iter().map(|(key, payload)| (key.clone(), decode(payload))).collect())
}

fn refused(text: &str) -> String {
    read(text).expect_err("refused")
}

struct Fixture {
    dir: tempfile::TempDir,
    store: Arc<Store>,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        fs::create_dir(dir.path().join("manifests")).expect("created");
        let store = Arc::new(Store::open(&dir.path().join("state")).expect("opened"));
        Self { dir, store }
    }

    fn open(&self) -> Manifests {
        let folder = self.dir.path().join("manifests");
        Manifests::open(self.store.clone(), Some(folder), site())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("manifests").join(name)
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).expect("written");
    }
}

fn sources(manifests: &Manifests) -> Vec<(String, Source)> {
    manifests.local_set().sources.iter().map(|(key, source)| (key.to_string(), *source)).collect()
}

fn retired(manifests: &Manifests) -> Vec<(String, Source)> {
    manifests.local_set().retired.iter().map(|(key, source)| (key.to_string(), *source)).collect()
}

fn image(manifests: &Manifests, app: &str) -> String {
    let payload = manifests.local_set().apps[&key(app)].clone();
    let app = wire::App::decode(&payload[..]).expect("an app");
    app.template.expect("a template").containers[0].image.clone()
}

#[test]
fn a_manifest_becomes_what_a_controller_would_send() {
    let apps = read(&format!("{SETTINGS}---\n# nothing\n---{WEB}")).expect("read");
    let web = &apps[&key("plant/web")];
    assert_eq!((apps.len(), web.uid.as_str()), (1, ""));
    assert!(web.revision.starts_with("web-"), "{}", web.revision);
    assert_eq!(web.template.as_ref().expect("a template").containers[0].image, "busybox:1");
    let config = &web.config[0];
    assert_eq!((config.kind(), config.name.as_str()), (wire::ConfigKind::ConfigMap, "settings"));
    assert_eq!((&config.data["MODE"][..], &config.binary_data["logo"][..]), (&b"prod"[..], &[0, 1, 2][..]));
}

#[test]
fn config_of_another_namespace_does_not_count() {
    let elsewhere = SETTINGS.replace("namespace: plant", "namespace: elsewhere");
    assert!(read(&format!("{elsewhere}---{WEB}")).expect("read")[&key("plant/web")].config.is_empty());
}

#[test]
fn a_secret_is_read_from_base64_and_from_text_and_never_quoted() {
    let app = WEB.replace("configMapRef: {name: settings}", "secretRef: {name: login}");
    let secret = |data: &str| {
        format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: login, namespace: plant}}\n{data}\n---{app}")
    };
    let apps = read(&secret("data: {a: aHVudGVyMg==}\nstringData: {b: plain}")).expect("read");
    let login = &apps[&key("plant/web")].config[0];
    assert_eq!((login.r#type.as_str(), &login.data["a"][..]), ("Opaque", &b"hunter2"[..]));
    assert_eq!(&login.data["b"][..], b"plain");
    let error = refused(&secret("data: {a: 'hunter2!'}"));
    assert_eq!(error, "document 1: data[a]: is no base64");
}

#[test]
fn what_kubectl_prints_is_taken() {
    let printed = WEB.replace(
        "metadata: {name: web, namespace: plant}",
        "metadata: {name: web, namespace: plant, uid: u, resourceVersion: '7', generation: 2, creationTimestamp: '2026-01-01T00:00:00Z', managedFields: [{manager: kubectl}]}\nstatus: {observedGeneration: 2}",
    );
    let json = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": [serde_yaml::from_str::<serde_json::Value>(&printed).expect("yaml")]});
    for text in [printed.clone(), json.to_string(), format!("\u{feff}{printed}")] {
        assert_eq!(read(&text).expect("read"), read(WEB).expect("read"));
    }
}

#[test]
fn the_first_variant_for_the_box_counts() {
    let with = |variants: &str| format!("{WEB}  variants: {variants}\n");
    let image = |text: &str| {
        let app = read(text).expect("read").remove(&key("plant/web")).expect("the app");
        app.template.expect("a template").containers[0].image.clone()
    };
    let arm = "{match: {architectures: [arm64]}, images: {main: 'busybox:arm'}}";
    let amd = "{match: {architectures: [amd64]}, images: {main: 'busybox:amd'}}";
    let hz = "{match: {nodeSelector: {matchLabels: {site: hz}}}, images: {main: 'busybox:hz'}}";
    assert_eq!(image(&with(&format!("[{amd}, {arm}, {hz}]"))), "busybox:arm");
    assert_eq!(image(&with(&format!("[{amd}, {hz}, {arm}]"))), "busybox:hz");
    let error = refused(&with(&format!("[{amd}]")));
    assert!(error.contains("spec.variants: none is for linux/arm64"), "{error}");
}

#[test]
fn what_is_wrong_is_named_with_its_path() {
    for (text, words) in [
        (
            WEB.replace("envFrom:", "envfrom:"),
            "document 1: spec.template.spec.containers[0].envfrom: unknown field",
        ),
        (WEB.replace("placement:", "replicas: 2\n  placement:"), "document 1: spec.replicas: unknown field"),
        (WEB.replace("kind: EdgeApp", "kind: EdgeApp\ndata: {}"), "document 1: data: unknown field"),
        (WEB.replace("name: web,", "name: web, nam: x,"), "document 1: metadata.nam: unknown field"),
        (WEB.replace("name: web", "name: 'Web_1'"), "document 1: metadata: "),
        (
            WEB.replace("containers:", "containers: 7\n      volumes:"),
            "spec.template.spec.containers: invalid type",
        ),
        (
            WEB.replace("image:", "tty: 5, image:"),
            "spec.template.spec.containers[0].tty: invalid type: integer `5`",
        ),
        (
            WEB.replace("name: main,", "name: main, name: main,"),
            "given twice: spec.template.spec.containers[0].name",
        ),
        (
            WEB.replace("name: main", "name: 'MAIN'"),
            "EdgeApp plant/web: spec.template.spec.containers[0].name: ",
        ),
        (
            WEB.replace("kind: EdgeApp", "kind: Pod").replace("skerry.dev/v1alpha1", "v1"),
            "Pod of v1 is nothing that a box can run",
        ),
        (format!("{WEB}---{WEB}"), "EdgeApp plant/web is in it twice"),
        (format!("{SETTINGS}---{SETTINGS}"), "plant/settings is in it twice"),
        ("hello".to_owned(), "document 1: it is no object"),
        (format!("{WEB}---\na: ["), "document 2: "),
        ("[".repeat(1000), "brackets"),
    ] {
        let error = refused(&text);
        assert!(error.contains(words), "{words}: {error}");
    }
}

#[test]
fn aliases_cannot_make_much_of_little() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..9 {
        let before = format!("*a{}, ", i - 1).repeat(10);
        text.push_str(&format!("a{i}: &a{i} [{before}]\n"));
    }
    assert!(refused(&text).contains("aliases"), "{}", refused(&text));
}

#[test]
fn what_is_accepted_is_on_disk_and_what_is_wrong_leaves_nothing() {
    let fixture = Fixture::new();
    let manifests = fixture.open();
    assert_eq!(manifests.accept(WEB).expect("accepted"), [key("plant/web")]);
    assert_eq!(sources(&fixture.open()), [("plant/web".to_owned(), Source::Local)]);

    let other = WEB.replace("name: web", "name: other");
    let half = format!("{other}---{}", WEB.replace("image:", "imag:"));
    assert!(manifests.accept(&half).is_err());
    assert!(matches!(manifests.accept("# nothing"), Err(ManifestError::Empty)));
    assert!(matches!(manifests.accept(SETTINGS), Err(ManifestError::Empty)));
    assert_eq!(sources(&manifests), [("plant/web".to_owned(), Source::Local)]);

    manifests.accept(&web("busybox:2")).expect("accepted again");
    assert_eq!(image(&fixture.open(), "plant/web"), "busybox:2");
}

#[test]
fn what_is_removed_is_retired_until_nothing_is_left_of_it() {
    let fixture = Fixture::new();
    let manifests = fixture.open();
    manifests.accept(WEB).expect("accepted");
    manifests.remove(&key("plant/web")).expect("removed");
    assert!(matches!(manifests.remove(&key("plant/web")), Err(ManifestError::NotHandedOver(_))));
    for manifests in [&manifests, &fixture.open()] {
        assert_eq!(
            (sources(manifests), retired(manifests)),
            (Vec::new(), vec![("plant/web".to_owned(), Source::Local)])
        );
    }
    manifests.forget(&[key("plant/web")].into());
    assert_eq!(fixture.open().local_set(), LocalSet::default());
}

#[test]
fn an_app_that_the_controller_takes_over_is_no_longer_local() {
    let fixture = Fixture::new();
    let manifests = fixture.open();
    manifests.accept(WEB).expect("accepted");
    manifests.taken_over(&[key("plant/web")].into());
    assert_eq!(fixture.open().local_set(), LocalSet::default(), "nor is it retired");
}

#[test]
fn a_folder_of_manifests_is_followed() {
    let fixture = Fixture::new();
    fixture.put("web.yaml", WEB);
    fixture.put("notes.txt", "not looked at");
    fixture.put(".hidden.yaml", "not looked at either");
    let manifests = fixture.open();
    assert_eq!(sources(&manifests), [("plant/web".to_owned(), Source::Static)]);
    assert!(manifests.problems().is_empty());
    fixture.put("web.yaml", &web("busybox:2"));
    manifests.reread();
    assert_eq!(image(&manifests, "plant/web"), "busybox:2");
    fs::remove_file(fixture.file("web.yaml")).expect("removed");
    manifests.reread();
    assert_eq!(
        (sources(&manifests), retired(&manifests)),
        (Vec::new(), vec![("plant/web".to_owned(), Source::Static)])
    );
}

#[test]
fn a_file_that_vanished_while_no_agent_ran_is_noticed() {
    let fixture = Fixture::new();
    fixture.put("web.yaml", WEB);
    fixture.open();
    fs::remove_file(fixture.file("web.yaml")).expect("removed");
    assert_eq!(retired(&fixture.open()), [("plant/web".to_owned(), Source::Static)]);
}

#[test]
fn a_wrong_file_leaves_in_force_what_it_held_before_even_over_a_restart() {
    let fixture = Fixture::new();
    fixture.put("web.yaml", WEB);
    fixture.put("other.yaml", &WEB.replace("name: web", "name: other"));
    let manifests = fixture.open();
    fixture.put("web.yaml", "kind: [");
    manifests.reread();
    for manifests in [&manifests, &fixture.open()] {
        assert_eq!(sources(manifests).len(), 2);
        assert!(retired(manifests).is_empty());
        let problems = manifests.problems();
        assert!(
            problems.keys().eq(["web.yaml"]) && problems["web.yaml"].contains("document 1"),
            "{problems:?}"
        );
    }
    fixture.put("web.yaml", WEB);
    manifests.reread();
    assert!(manifests.problems().is_empty());
}

#[test]
fn an_app_in_two_files_is_the_first_ones() {
    let fixture = Fixture::new();
    fixture.put("a.yaml", WEB);
    fixture.put("b.yaml", &web("busybox:2"));
    let manifests = fixture.open();
    assert_eq!(image(&manifests, "plant/web"), "busybox:1");
    assert!(manifests.problems()["b.yaml"].contains("plant/web is in the file a.yaml already"));
    let error = manifests.accept(WEB).expect_err("the operator's");
    assert!(error.to_string().contains("a.yaml"), "{error}");
}

#[test]
fn a_file_of_the_operator_goes_before_what_was_handed_over_earlier() {
    let fixture = Fixture::new();
    let manifests = fixture.open();
    manifests.accept(WEB).expect("accepted");
    fixture.put("web.yaml", &web("busybox:2"));
    manifests.reread();
    assert_eq!(
        (image(&manifests, "plant/web").as_str(), sources(&manifests)[0].1),
        ("busybox:2", Source::Static)
    );
}

#[tokio::test]
async fn a_change_is_seen_without_polling_even_of_a_folder_that_is_not_there_yet() {
    let fixture = Fixture::new();
    fs::remove_dir(fixture.dir.path().join("manifests")).expect("removed");
    let manifests = Arc::new(fixture.open());
    let mut sets = manifests.subscribe();
    let task = tokio::spawn(watch(manifests.clone()));
    for (step, expected) in [(0, "busybox:1"), (1, "busybox:2"), (2, "")] {
        // The watch stands a moment after it was asked for; what came before it is read then.
        match step {
            0 => {
                fs::create_dir(fixture.dir.path().join("manifests")).expect("created");
                fixture.put("web.yaml", WEB);
            }
            1 => {
                fixture.put("web.tmp", &web("busybox:2"));
                fs::rename(fixture.file("web.tmp"), fixture.file("web.yaml")).expect("renamed");
            }
            _ => fs::remove_dir_all(fixture.dir.path().join("manifests")).expect("removed"),
        }
        let wait = sets.wait_for(|set| match set.apps.get(&key("plant/web")) {
            Some(payload) => payload.windows(expected.len().max(1)).any(|part| part == expected.as_bytes()),
            None => expected.is_empty(),
        });
        let seen = tokio::time::timeout(std::time::Duration::from_secs(20), wait).await.is_ok();
        assert!(seen, "step {step}");
    }
    task.abort();
}

/// A disk that takes nothing, as one that is full: the temporary file cannot be made.
#[tokio::test(start_paused = true)]
async fn what_the_disk_does_not_take_is_stored_as_soon_as_it_does() {
    let fixture = Fixture::new();
    let manifests = Arc::new(fixture.open());
    let in_the_way = fixture.dir.path().join("state/local.tmp");
    fs::create_dir(&in_the_way).expect("in the way");
    let watching = tokio::spawn(super::watch(manifests.clone()));
    fixture.put("web.yaml", WEB);
    manifests.reread();
    let set = manifests.local_set();
    assert!(set.apps.is_empty(), "on disk first");
    assert_eq!(set.unsaved.expect("said so").reason, "StateNotDurable");
    fs::remove_dir(&in_the_way).expect("out of the way");
    let mut sets = manifests.subscribe();
    let stored = sets.wait_for(|set| set.unsaved.is_none());
    let stored = tokio::time::timeout(std::time::Duration::from_secs(120), stored).await;
    assert_eq!(stored.expect("in time").expect("told").apps.len(), 1);
    assert_eq!(sources(&fixture.open()), [("plant/web".to_owned(), Source::Static)], "it is on disk");
    watching.abort();
}

#[test]
fn where_the_store_cannot_be_read_nothing_is_known_and_nothing_is_written_over() {
    let fixture = Fixture::new();
    fixture.open().accept(WEB).expect("handed over");
    let key = fixture.dir.path().join("state/store.key");
    let own = fs::read(&key).expect("read");
    fs::remove_file(&key).expect("lost");
    fixture.put("db.yaml", WEB);
    let set = fixture.open().local_set();
    assert!(set.lost && set.apps.is_empty() && set.retired.is_empty(), "{set:?}");
    assert_eq!(set.unsaved.expect("said so").reason, "StateKeyUnusable");
    fs::remove_file(fixture.file("db.yaml")).expect("removed");
    fs::write(&key, own).expect("put back");
    let set = fixture.open().local_set();
    assert!(!set.lost && set.unsaved.is_none() && set.apps.len() == 1, "{set:?}");
}
