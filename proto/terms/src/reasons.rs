//! Reasons: CamelCase, stable words for why something is as it is. Scripts and alerts match on them, so a word
//! is never renamed; `docs/reasons.md` explains each to the operator.

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub const $name: &str = $text;)*
        /// Every reason, for the documentation test and for checking what comes over the wire.
        pub const ALL: &[&str] = &[$($text),*];
    };
}

reasons! {
    /// Every container runs.
    READY = "Ready";
    /// An image is being pulled.
    PULLING_IMAGE = "PullingImage";
    /// Containers are being created and started.
    CONTAINER_CREATING = "ContainerCreating";
    /// Containers that are no longer wanted are being stopped.
    TERMINATING = "Terminating";
    /// Every container ended with exit code 0 and none is to be restarted.
    COMPLETED = "Completed";
    /// A container ended with another exit code and is not to be restarted.
    ERROR = "Error";
    /// A container was killed because it used more memory than its limit.
    OOM_KILLED = "OOMKilled";
    /// A person paused the container with `docker pause`; it is left alone.
    PAUSED = "Paused";
    /// A container keeps ending; the next start waits.
    CRASH_LOOP_BACK_OFF = "CrashLoopBackOff";
    /// The registry or Docker refused the pull; it is tried again.
    IMAGE_PULL_FAILED = "ImagePullFailed";
    /// `imagePullPolicy: Never`, and the image is not on the node.
    IMAGE_NEVER_PULL = "ErrImageNeverPull";
    /// An image is not on the node, and the disk is too full to pull it.
    DISK_PRESSURE = "DiskPressure";
    /// A host port is held by another app, container or process.
    PORT_CONFLICT = "PortConflict";
    /// Docker refused to create the container.
    CREATE_FAILED = "CreateContainerError";
    /// Docker refused to start the container.
    START_FAILED = "StartError";
    /// Docker failed to stop or remove a container; it is tried again.
    CLEANUP_FAILED = "CleanupFailed";
    /// The agent cannot honour the app as it is written, most often because the agent is older than the field.
    UNSUPPORTED = "Unsupported";
    /// The box's owner does not allow what the app asks for.
    POLICY_REFUSED = "PolicyRefused";
    /// Config that the app refers to is not there, or the image's user cannot be verified: no container can be created.
    CREATE_CONFIG_ERROR = "CreateContainerConfigError";
    /// A volume could not be made ready on the box.
    MOUNT_FAILED = "FailedMount";
    /// A device that the app asks for is held by others.
    DEVICE_CONFLICT = "DeviceConflict";
    /// The app asks for a device that the box's owner has not listed.
    UNKNOWN_DEVICE = "UnknownDevice";
    /// Docker refused to change a container in place.
    UPDATE_FAILED = "UpdateFailed";
    /// An init container has not yet ended.
    POD_INITIALIZING = "PodInitializing";
    /// A container does not serve, its readiness probe says.
    NOT_READY = "NotReady";
    /// A container was killed because a liveness or startup probe failed.
    UNHEALTHY = "Unhealthy";
    /// The postStart hook failed, and the container was killed.
    POST_START_FAILED = "FailedPostStartHook";
    /// A new revision was not ready in time.
    PROGRESS_DEADLINE_EXCEEDED = "ProgressDeadlineExceeded";
    /// The Docker Engine does not answer.
    DOCKER_UNAVAILABLE = "DockerUnavailable";
    /// The Docker Engine answers again.
    DOCKER_READY = "DockerReady";
    /// The agent was started.
    AGENT_STARTED = "AgentStarted";
    /// The box was started.
    BOX_BOOTED = "BoxBooted";
    /// The box's clock is behind the controller's.
    CLOCK_BEHIND = "ClockBehind";
    /// The box's clock is ahead of the controller's.
    CLOCK_AHEAD = "ClockAhead";
    /// More happened on the box than is shown as Events.
    MORE_HAPPENED = "MoreHappened";
    /// What happened on the box while it could not tell did not fit what it keeps for later.
    TRANSITIONS_DROPPED = "TransitionsDropped";
    /// Nothing of this kind is wrong with the box.
    NO_PROBLEM = "NoProblem";
    /// The disk with Docker's images and containers is nearly full.
    DISK_NEARLY_FULL = "DiskNearlyFull";
    /// The disk with the agent's own state is nearly full.
    STATE_DISK_NEARLY_FULL = "StateDiskNearlyFull";
    /// The box is short of memory.
    MEMORY_SHORT = "MemoryShort";
    /// The node has no session with the controller.
    NODE_UNREACHABLE = "NodeUnreachable";
    /// The node has taken the app over and not yet reported on it.
    AWAITING_NODE = "AwaitingNode";
    /// The agent connected.
    SESSION_OPEN = "SessionOpen";
    /// The agent's desired state could not be read; it was kept aside and the node waits for a fresh copy.
    STATE_CORRUPT = "StateCorrupt";
    /// The agent could not store its desired state.
    STATE_NOT_DURABLE = "StateNotDurable";
    /// What the agent stored was written by a newer agent that this one cannot follow.
    STATE_FROM_NEWER_AGENT = "StateFromNewerAgent";
    /// The key that the agent's state was sealed with is missing, damaged or another one.
    STATE_KEY_UNUSABLE = "StateKeyUnusable";
    /// The disk does not give out what the agent stored.
    STATE_UNREADABLE = "StateUnreadable";
    /// The node holds a newer desired state than this cluster can have: the cluster was restored or replaced.
    CLUSTER_WENT_BACK = "ClusterWentBack";
    /// Same generation, different content: refused.
    GENERATION_CONFLICT = "GenerationConflict";
    /// The frames of a desired set did not make the announced digest.
    SET_GARBLED = "SetGarbled";
    /// More is placed on the node than a node can take.
    SET_TOO_LARGE = "SetTooLarge";
    /// Another session of the same node took over.
    SUPERSEDED = "Superseded";
    /// The EdgeNode object was deleted.
    NODE_DELETED = "NodeDeleted";
    /// The controller is being stopped; another or the next one takes over.
    CONTROLLER_STOPPING = "ControllerStopping";
    /// The peer's messages break the protocol.
    PROTOCOL_ERROR = "ProtocolError";
    /// The app matches no node.
    NO_MATCHING_NODES = "NoMatchingNodes";
    /// The app has variants, and none is for the node.
    NO_VARIANT = "NoVariant";
    /// The node has a taint that the app does not tolerate.
    TAINTED = "Tainted";
    /// The node is cordoned, and the app is not there.
    UNSCHEDULABLE = "Unschedulable";
    /// What the app requests does not fit into what the node has left.
    INSUFFICIENT_RESOURCES = "InsufficientResources";
    /// Nodes that the app selects cannot have it, for different reasons.
    NOT_PLACEABLE = "NotPlaceable";
    /// Fewer nodes can have the app than it wants replicas.
    TOO_FEW_NODES = "TooFewNodes";
    /// The controller may not read the ConfigMaps or Secrets that the app refers to.
    CONFIG_UNREADABLE = "ConfigUnreadable";
    /// Every node that runs the app is ready.
    ALL_NODES_READY = "AllNodesReady";
    /// No node that can be asked reports a failure, and not every one is ready.
    NO_FAILURES = "NoFailures";
    /// Some nodes are not ready.
    NODES_NOT_READY = "NodesNotReady";
    /// Some nodes failed.
    NODES_FAILED = "NodesFailed";
    /// The rollout is still on its way.
    ROLLING_OUT = "RollingOut";
    /// The whole fleet has what the spec asks for.
    ROLLED_OUT = "RolledOut";
    /// The app's spec cannot be honoured.
    INVALID_SPEC = "InvalidSpec";
}

#[cfg(test)]
mod tests {
    use super::ALL;

    #[test]
    fn every_reason_is_explained_to_the_operator() {
        let page = include_str!("../../../docs/reasons.md");
        let missing: Vec<_> = ALL.iter().filter(|reason| !page.contains(&format!("`{reason}`"))).collect();
        assert!(missing.is_empty(), "docs/reasons.md does not explain {missing:?}");
    }

    #[test]
    fn reasons_are_camel_case_and_unique() {
        for (i, reason) in ALL.iter().enumerate() {
            assert!(reason.starts_with(|c: char| c.is_ascii_uppercase()), "{reason}");
            assert!(reason.chars().all(|c| c.is_ascii_alphanumeric()), "{reason}");
            assert!(!ALL[..i].contains(reason), "{reason} is there twice");
        }
    }
}
