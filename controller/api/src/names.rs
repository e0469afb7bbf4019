//! The shapes of names, as regular expressions for the schema.

/// An image reference as registries define it: host and port, path in lower case, tag, digest.
pub const IMAGE: &str = r"^([A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?/)?[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@[a-z0-9]+:[a-f0-9]{32,128})?$";
/// A DNS label: names of containers, volumes, ports.
pub const LABEL: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/// A DNS subdomain: names of objects.
pub const SUBDOMAIN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// A key of a ConfigMap or Secret.
pub const CONFIG_KEY: &str = r"^[-._a-zA-Z0-9]+$";
/// An environment variable: printable ASCII characters other than '='.
pub const ENV: &str = r"^[ -<>-~]+$";
/// Path of a file in a volume: relative, no part is `..`, and the first does not begin with `..`.
pub const FILE: &str = r"^(\.|\.?[^/.][^/]*)(/(|\.|\.?[^/.][^/]*|\.\.[^/]+))*$";
/// The fields of an app that variables and files can have.
pub const FIELD_PATH: &str = r"^(metadata\.(name|namespace|uid|labels|annotations)|metadata\.(labels|annotations)\['[^']+'\]|spec\.nodeName|status\.(hostIPs?|podIPs?))$";
/// The resources of a container that variables and files can have.
pub const RESOURCE: &str = r"^(limits|requests)\.(cpu|memory)$";
