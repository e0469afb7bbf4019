//! What is said of the fields: why one is refused, and where a supported one differs from Kubernetes.

use crate::reasons::{Reason, Said};

const fn refused(kind: &'static str, fields: &'static [&'static str], why: &'static str) -> Reason {
    Reason { kind, fields, said: Said::Refused(why) }
}

const fn differs(kind: &'static str, fields: &'static [&'static str], how: &'static str) -> Reason {
    Reason { kind, fields, said: Said::Differs(how) }
}

/// By type, in the order of the page.
pub const REASONS: &[Reason] = &[
    differs(
        "PodSpec",
        &["containers"],
        "Only the containers that changed are replaced, not all of them; docs/updates.md says when. At most 32.",
    ),
    differs(
        "PodSpec",
        &["hostname"],
        "Default: the app's name, as there is no generated pod name. A DNS label.",
    ),
    differs(
        "PodSpec",
        &["dnsPolicy"],
        "There is no cluster DNS on a box: ClusterFirst, ClusterFirstWithHostNet and Default all use the box's resolver. None uses dnsConfig alone.",
    ),
    differs(
        "PodSpec",
        &["hostPID"],
        "Refused on the box unless its owner allows it in agent.toml (policy.host-pid).",
    ),
    differs(
        "PodSpec",
        &["hostIPC"],
        "Refused on the box unless its owner allows it in agent.toml (policy.host-ipc).",
    ),
    differs(
        "PodSpec",
        &["hostNetwork"],
        "Refused on the box unless its owner allows it in agent.toml (policy.host-network).",
    ),
    differs(
        "PodSpec",
        &["imagePullSecrets"],
        "Secrets of the app's namespace. They travel to the nodes that run the app and to no other.",
    ),
    refused(
        "PodSpec",
        &["affinity", "topologySpreadConstraints", "nodeName", "nodeSelector", "tolerations"],
        "Where an app runs is said in spec.placement of the EdgeApp: nodeSelector, tolerations, replicas.",
    ),
    differs(
        "PodSpec",
        &["schedulerName"],
        "`default-scheduler` alone, which Kubernetes fills in. Where an app runs is said in spec.placement.",
    ),
    refused(
        "PodSpec",
        &[
            "schedulingGates",
            "schedulingGroup",
            "priority",
            "priorityClassName",
            "preemptionPolicy",
            "readinessGates",
            "overhead",
        ],
        "There is no scheduler that would act on it. Remove it.",
    ),
    refused(
        "PodSpec",
        &["serviceAccount", "serviceAccountName", "automountServiceAccountToken"],
        "A box has no access to the cluster's API, so there is no token. Give the app its own credentials in a Secret.",
    ),
    refused(
        "PodSpec",
        &["activeDeadlineSeconds"],
        "Apps serve; nothing ends them after a time. Let the command end itself, as with timeout(1).",
    ),
    refused(
        "PodSpec",
        &["enableServiceLinks", "subdomain", "setHostnameAsFQDN", "hostnameOverride"],
        "There are no Services and no cluster DNS on a box. Apps on one box reach each other as <app>.<namespace>.",
    ),
    refused(
        "PodSpec",
        &["ephemeralContainers"],
        "It is for debugging and is no part of a template in Kubernetes either. Use `skerry-agent exec` on the box.",
    ),
    refused(
        "PodSpec",
        &["hostUsers"],
        "Docker sets user namespaces for all containers of a box at once (userns-remap of the daemon).",
    ),
    refused("PodSpec", &["os"], "Boxes run Linux. Choose nodes with spec.placement or spec.variants."),
    refused(
        "PodSpec",
        &["resourceClaims"],
        "Devices are asked for as resources.limits of skerry.dev/<name>; the box's owner lists them in agent.toml.",
    ),
    refused(
        "PodSpec",
        &["resources"],
        "Docker limits containers, not groups of them. Set resources of each container.",
    ),
    refused("PodSpec", &["runtimeClassName"], "The box's owner chooses Docker's runtime."),
    refused("PodSpec", &["evictionResponders"], "Nothing is evicted from a box."),
    differs("Container", &["env"], "A name may be there once; Kubernetes takes the last of several."),
    differs(
        "Container",
        &["restartPolicy"],
        "Always on an init container makes it a sidecar. Nothing else is supported; the policy of the other containers is that of the pod.",
    ),
    differs(
        "Container",
        &["stdin"],
        "Standard input is open and stays so; nobody can attach to it from the cloud.",
    ),
    refused("Container", &["restartPolicyRules"], "Not supported. Use restartPolicy of the pod."),
    refused(
        "Container",
        &["resizePolicy"],
        "Limits of cpu and memory are always changed in place, without a restart.",
    ),
    refused(
        "Container",
        &["stdinOnce"],
        "Nobody attaches from the cloud, so there is no first session that could close it.",
    ),
    refused(
        "Container",
        &["volumeDevices"],
        "There are no block volumes. Ask for a device with resources.limits of skerry.dev/<name>.",
    ),
    refused("Lifecycle", &["stopSignal"], "The image's STOPSIGNAL is used."),
    refused("LifecycleHandler", &["tcpSocket"], "Deprecated in Kubernetes, where it does nothing."),
    refused("HTTPGetAction", &["protocol"], "Probes speak HTTP/1.1."),
    differs(
        "HTTPGetAction",
        &["host"],
        "Default: the app's own address; with hostNetwork the box's loopback address.",
    ),
    refused("GRPCAction", &["mode"], "Probes speak gRPC without TLS."),
    refused("EnvVarSource", &["fileKeyRef"], "Alpha in Kubernetes. Use configMapKeyRef or secretKeyRef."),
    differs(
        "ObjectFieldSelector",
        &["fieldPath"],
        "metadata.name, namespace and uid are the EdgeApp's: there is no pod object. spec.serviceAccountName is refused.",
    ),
    differs("ObjectFieldSelector", &["apiVersion"], "`v1` alone, which Kubernetes fills in."),
    differs(
        "ResourceFieldSelector",
        &["resource"],
        "limits and requests of cpu and memory. Without a limit it is what the box has.",
    ),
    differs(
        "ResourceRequirements",
        &["limits"],
        "cpu (at least 10m), memory (at least 6Mi) and skerry.dev/<name> for devices of the box. ephemeral-storage and hugepages are refused: Docker cannot limit them. A fraction is written 500m or \"0.5\", not 0.5.",
    ),
    differs(
        "ResourceRequirements",
        &["requests"],
        "What an app reserves of a node when it is placed. There are no quality-of-service classes and no eviction.",
    ),
    refused("ResourceRequirements", &["claims"], "See resourceClaims of the pod."),
    refused("VolumeMount", &["mountPropagation"], "Mounts are private to the container."),
    refused(
        "VolumeMount",
        &["recursiveReadOnly"],
        "Depends on the version of Docker and of the kernel. Use readOnly.",
    ),
    refused("VolumeMount", &["bindMountOptions"], "Alpha in Kubernetes."),
    differs("VolumeMount", &["mountPath"], "An absolute path without ':' and '..', as Docker asks for."),
    refused(
        "SecurityContext",
        &["appArmorProfile"],
        "Docker's own profile applies where the box has AppArmor.",
    ),
    refused(
        "PodSecurityContext",
        &["appArmorProfile"],
        "Docker's own profile applies where the box has AppArmor.",
    ),
    refused("SecurityContext", &["seLinuxOptions"], "The box's owner sets SELinux up for Docker."),
    refused(
        "PodSecurityContext",
        &["seLinuxOptions", "seLinuxChangePolicy"],
        "The box's owner sets SELinux up for Docker.",
    ),
    refused("SecurityContext", &["windowsOptions"], "Boxes run Linux."),
    refused("PodSecurityContext", &["windowsOptions"], "Boxes run Linux."),
    refused("SecurityContext", &["procMount"], "Docker always masks the sensitive parts of /proc."),
    refused(
        "PodSecurityContext",
        &["fsGroupChangePolicy"],
        "The group of a volume is set when it is made and put right when it is mounted again.",
    ),
    refused(
        "PodSecurityContext",
        &["supplementalGroupsPolicy"],
        "Groups of the image and of the template are merged, as is Kubernetes' default.",
    ),
    differs(
        "PodSecurityContext",
        &["sysctls"],
        "Only settings that belong to a container: net.*, fs.mqueue.*, kernel.msg*, kernel.sem, kernel.shm*. Those that Kubernetes calls unsafe need the box's owner to allow them in agent.toml.",
    ),
    differs(
        "SecurityContext",
        &["privileged"],
        "Refused on the box unless its owner allows it in agent.toml (policy.privileged).",
    ),
    differs(
        "Capabilities",
        &["add"],
        "Each one must be allowed by the box's owner in agent.toml (policy.capabilities). The default set is Docker's.",
    ),
    differs(
        "SeccompProfile",
        &["type"],
        "Default: RuntimeDefault, Docker's own profile, where Kubernetes' is Unconfined. Unconfined is refused on the box unless its owner allows it in agent.toml (policy.seccomp-unconfined), Localhost unless it names a folder of profiles there (seccomp-folder).",
    ),
    differs(
        "SeccompProfile",
        &["localhostProfile"],
        "A path within the folder that the box's owner names in agent.toml (seccomp-folder).",
    ),
    differs(
        "Volume",
        &["hostPath"],
        "Refused on the box unless its owner lists the path in agent.toml (policy.host-paths). Symbolic links are resolved first; Docker's socket is never reached by way of a folder.",
    ),
    differs(
        "Volume",
        &["emptyDir"],
        "It lives as long as the app is on the node: an update does not empty it. With medium Memory it is emptied when all containers are replaced; docs/updates.md says by what.",
    ),
    differs("EmptyDirVolumeSource", &["medium"], "\"\" and Memory. Huge pages are refused."),
    differs(
        "EmptyDirVolumeSource",
        &["sizeLimit"],
        "With medium Memory only: Docker cannot limit a folder on disk.",
    ),
    refused("EmptyDirVolumeSource", &["mode"], "Alpha in Kubernetes. The mode is 0777."),
    refused(
        "ConfigMapVolumeSource",
        &["defaultUser"],
        "Alpha in Kubernetes. Files belong to root; fsGroup gives a group access.",
    ),
    refused(
        "SecretVolumeSource",
        &["defaultUser"],
        "Alpha in Kubernetes. Files belong to root; fsGroup gives a group access.",
    ),
    refused(
        "DownwardAPIVolumeSource",
        &["defaultUser"],
        "Alpha in Kubernetes. Files belong to root; fsGroup gives a group access.",
    ),
    refused(
        "ProjectedVolumeSource",
        &["defaultUser"],
        "Alpha in Kubernetes. Files belong to root; fsGroup gives a group access.",
    ),
    refused(
        "KeyToPath",
        &["user"],
        "Alpha in Kubernetes. Files belong to root; fsGroup gives a group access.",
    ),
    refused(
        "DownwardAPIVolumeFile",
        &["user"],
        "Alpha in Kubernetes. Files belong to root; fsGroup gives a group access.",
    ),
    refused(
        "Volume",
        &["persistentVolumeClaim", "ephemeral"],
        "There are no claims on a box. A `local` volume is a folder of the app that outlives updates.",
    ),
    refused("Volume", &["csi", "flexVolume"], "There are no storage drivers on a box."),
    refused(
        "Volume",
        &["nfs", "iscsi", "fc", "cephfs", "rbd", "glusterfs"],
        "Mount it on the box and use hostPath.",
    ),
    refused(
        "Volume",
        &[
            "awsElasticBlockStore",
            "azureDisk",
            "azureFile",
            "cinder",
            "gcePersistentDisk",
            "flocker",
            "photonPersistentDisk",
            "portworxVolume",
            "quobyte",
            "scaleIO",
            "storageos",
            "vsphereVolume",
        ],
        "Storage of a cloud or a data centre; most are gone from Kubernetes, too.",
    ),
    refused(
        "Volume",
        &["gitRepo"],
        "Gone from Kubernetes. Use an init container that clones into an emptyDir.",
    ),
    refused(
        "Volume",
        &["image"],
        "Not supported. Use an init container with that image that copies into an emptyDir.",
    ),
    refused(
        "VolumeProjection",
        &["serviceAccountToken", "podCertificate", "clusterTrustBundle"],
        "A box has no access to the cluster's API and no identity in it. Use a Secret.",
    ),
];
