//! Label and annotation keys. They are part of the interface: people filter `docker ps` and `kubectl get` by
//! them, and an agent recognises its containers by them after an upgrade.

/// Prefix of everything that is ours; templates must not set labels under it.
pub const PREFIX: &str = "skerry.dev/";

/// On a container: the node that owns it, so that two agents can share one Docker Engine.
pub const NODE: &str = "skerry.dev/node";
/// On a container: namespace of its EdgeApp.
pub const NAMESPACE: &str = "skerry.dev/namespace";
/// On a container: name of its EdgeApp.
pub const APP: &str = "skerry.dev/app";
/// On a container: its name in the template, or [`SANDBOX`].
pub const CONTAINER: &str = "skerry.dev/container";
/// On a container: the app revision that it was created for.
pub const REVISION: &str = "skerry.dev/revision";
/// On a container: hash of everything that would need a new container if it changed.
pub const SPEC_HASH: &str = "skerry.dev/spec-hash";
/// On a container: how often this container was restarted before, as Kubernetes' `restartCount`.
pub const RESTART_COUNT: &str = "skerry.dev/restart-count";
/// On a container: those with a lower number are stopped before it. Absent: 0.
pub const STOP_RANK: &str = "skerry.dev/stop-rank";

/// On a container: its preStop hook as JSON, so that it is known when the spec is not.
pub const PRE_STOP: &str = "skerry.dev/pre-stop";
/// On a container: `terminationMessagePolicy`, when it is not `File`.
pub const TERMINATION_MESSAGE_POLICY: &str = "skerry.dev/termination-message-policy";
/// On a container: how much of which `skerry.dev/NAME` resource it has, as JSON.
pub const DEVICES: &str = "skerry.dev/devices";
/// On a container: its resources as they were asked for, as JSON. Docker keeps them rounded, or not at all.
pub const RESOURCES: &str = "skerry.dev/resources";
/// On a container: the names of other apps that it could resolve when it was created, as JSON.
pub const APP_NAMES: &str = "skerry.dev/app-names";
/// On a container that is never started: it holds its image against every pruning. The value is the image's id.
pub const PIN: &str = "skerry.dev/pin";
/// On a Docker volume: which agent's it is, by its state directory.
pub const HOME: &str = "skerry.dev/home";

/// Value of [`CONTAINER`] on the container that holds the network namespace of an app with several containers.
/// Upper case, as kubelet's own, so that no container of a template can have this name.
pub const SANDBOX: &str = "POD";

/// Prefix of the Docker labels that carry the template's annotations, as kubelet's Docker runtime named them.
pub const ANNOTATION_PREFIX: &str = "annotation.";

/// On an EdgeNode: accept that the cluster went back in time (restored from a backup, or replaced). The value
/// is the generation that the node holds, as its Stalled condition prints it, so that it works once.
pub const ACCEPT_PAST: &str = "skerry.dev/accept-past";
