//! What the box of a fault test runs: small apps that between them have everything that an executor does something for, each with one value
//! that every container of it carries, so that a look tells which revision it sees.

use anyhow::Result;
use skerry_tests::{IMAGE, Outpost};

/// How an app is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One container with an emptyDir.
    Single,
    /// An init container, a sidecar, two main containers with a shared network, and files from a ConfigMap, one of them by `subPath`.
    Pod,
    /// Two main containers that are brought up beside the old ones.
    SideBySide,
}

/// What is to become of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Runs,
    /// It has ended well, and is kept.
    Ended,
}

/// The phase that a status gives an app that serves as it was asked to.
pub const RUNNING: &str = "Running";
pub const ROLLED_BACK: &str = "RolledBack";

/// What a container does that serves.
const SLEEP: &str = "exec sleep 100000";

/// After how many seconds a box goes back: never in a test, and soon.
const PATIENT: u32 = 600;
const IMPATIENT: u32 = 2;

/// One app as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    pub name: String,
    pub kind: Kind,
    /// In the environment of each container, and in its files.
    pub value: u32,
    /// What the status says.
    pub phase: &'static str,
}

impl App {
    pub fn new(name: &str, kind: Kind, value: u32) -> Self {
        Self { name: name.to_owned(), kind, value, phase: RUNNING }
    }

    /// The containers in their roles.
    pub fn roles(&self) -> &'static [(&'static str, Fate)] {
        match self.kind {
            Kind::Single => &[("main", Fate::Runs)],
            Kind::Pod => &[
                ("POD", Fate::Runs),
                ("one", Fate::Runs),
                ("prepare", Fate::Ended),
                ("side", Fate::Runs),
                ("two", Fate::Runs),
            ],
            Kind::SideBySide => &[("POD", Fate::Runs), ("one", Fate::Runs), ("two", Fate::Runs)],
        }
    }

    /// The manifest, with the ConfigMap that it refers to. The namespace is the box's own.
    fn yaml(&self, outpost: &Outpost) -> String {
        self.yaml_with(SLEEP, IMAGE, PATIENT, &outpost.name)
    }

    fn yaml_with(&self, main: &str, image: &str, deadline: u32, namespace: &str) -> String {
        let Self { name, kind, value, phase: _ } = self;
        let container = |name: &str, command: &str, rest: &str| {
            format!(
                "      - {{name: {name}, image: \"{image}\", command: [sh, -c, \"{command}\"], \
                 env: [{{name: VALUE, value: \"{value}\"}}]{rest}}}\n"
            )
        };
        let (file, folder, scratch) = (
            ", volumeMounts: [{name: config, mountPath: /etc/value, subPath: value}]",
            ", volumeMounts: [{name: config, mountPath: /etc/app}]",
            ", volumeMounts: [{name: scratch, mountPath: /scratch}]",
        );
        let (switch, first, mains) = match kind {
            Kind::Single => ("StopFirst", String::new(), container("main", main, scratch)),
            Kind::Pod => {
                let prepare = container("prepare", "exit 0", scratch);
                let side = container("side", SLEEP, ", restartPolicy: Always");
                let mains = container("one", main, file) + &container("two", SLEEP, folder);
                ("StopFirst", format!("      initContainers:\n{prepare}{side}"), mains)
            }
            Kind::SideBySide => {
                ("StartFirst", String::new(), container("one", main, folder) + &container("two", SLEEP, ""))
            }
        };
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
             data: {{value: \"{value}\"}}\n---\n\
             apiVersion: skerry.dev/v1alpha1\nkind: EdgeApp\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  \
             strategy: {{switch: {switch}, progressDeadlineSeconds: {deadline}}}\n  template:\n    spec:\n      \
             terminationGracePeriodSeconds: 0\n      volumes:\n      - {{name: scratch, emptyDir: {{}}}}\n      \
             - {{name: config, configMap: {{name: {name}}}}}\n{first}      containers:\n{mains}"
        )
    }

    /// Puts the manifest on the box.
    pub fn put(&self, outpost: &Outpost) -> Result<()> {
        outpost.put(&self.name, &self.yaml(outpost))
    }

    /// Puts the app there with another value and a container that ends at once, again and again.
    pub fn put_broken(&self, outpost: &Outpost, value: u32) -> Result<()> {
        let broken = Self { value, ..self.clone() };
        outpost.put(&self.name, &broken.yaml_with("exit 9", IMAGE, IMPATIENT, &outpost.name))
    }

    /// Puts the app there with another image.
    pub fn put_with_image(&self, outpost: &Outpost, image: &str) -> Result<()> {
        outpost.put(&self.name, &self.yaml_with(SLEEP, image, PATIENT, &outpost.name))
    }
}

/// It is there all the time, and nothing that happens to others concerns it.
pub fn bystander() -> App {
    App::new("bystander", Kind::Single, 7)
}
