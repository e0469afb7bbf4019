//! How large the parts of a spec may be. The schema and the checks have the same bounds.

/// Containers of one app, and init containers: the session protocol has the same bound.
pub const CONTAINERS: usize = 32;
/// Volumes of one app.
pub const VOLUMES: usize = 64;
/// Mounts of one container: so many that the rule which looks up the volume of each stays cheap enough for an API server.
pub const MOUNTS: usize = 40;
/// Variables of one container.
pub const ENV: usize = 512;
/// Ports of one container.
pub const PORTS: usize = 64;
/// Short lists that people write by hand: sources, aliases, options, tolerations, variants, sysctls.
pub const SHORT_LIST: usize = 32;
/// Lists that may be a little longer: items of a volume, host names, capabilities, labels.
pub const LIST: usize = 64;
/// Secrets with credentials of registries.
pub const PULL_SECRETS: usize = 16;
/// ConfigMaps and Secrets that one app refers to: they travel with it.
pub const REFERENCES: usize = 64;
/// Words of a command.
pub const WORDS: usize = 256;
/// One word of a command, in bytes.
pub const WORD: usize = 65_536;
/// A variable's value: the kernel takes no longer string (MAX_ARG_STRLEN).
pub const ENV_VALUE: usize = 131_072;
/// All commands, arguments and variables of one app together, in bytes: what etcd takes of one object is not much more.
pub const TEXT_TOTAL: usize = 1 << 20;
/// All annotations of one template together, in bytes. Kubernetes' own bound.
pub const ANNOTATIONS_TOTAL: usize = 256 << 10;
/// A path.
pub const PATH: usize = 1024;
/// Path and query of an HTTP request, and the value of a header.
pub const HTTP_TEXT: usize = 4096;
/// An image reference.
pub const IMAGE: usize = 512;
/// A DNS subdomain, such as a host name or an object's name.
pub const SUBDOMAIN: usize = 253;
/// A DNS label.
pub const LABEL: usize = 63;
/// Variants of one app.
pub const VARIANTS: usize = 16;
/// Architectures or operating systems of one variant.
pub const KINDS: usize = 16;
/// One of them.
pub const KIND: usize = 32;
/// Largest user or group id.
pub const ID: i64 = 2_147_483_647;
/// Largest mode of a file.
pub const MODE: i32 = 0o777;
/// Longest time in seconds, a day, for everything that waits.
pub const SECONDS: i32 = 86_400;
/// Most name servers, as in Kubernetes: resolvers look at no more.
pub const NAMESERVERS: usize = 3;
/// All search domains together with the spaces between them, as in Kubernetes.
pub const SEARCHES_TOTAL: usize = 2048;
/// Most nodes that an app with a number of replicas asks for.
pub const REPLICAS: i32 = 100_000;
