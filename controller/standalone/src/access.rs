//! Who is asking, and what they may do. Nobody is anonymous: a request carries a client certificate of our authority or a token
//! of `users.yaml`. What is allowed follows from the role alone; there are no RBAC objects. `serve` finds the identity of a
//! request, and whoever routes it asks the `Policy`.

mod authority;
mod kubeconfig;
mod policy;
mod private_file;
mod review;
mod roster;
mod server_cert;
mod users;
mod yaml;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use x509_parser::prelude::{FromDer as _, X509Certificate};

pub use authority::{Authority, AuthorityError, KEPT_AS as AUTHORITY, Vault};
pub use kubeconfig::{AdminKubeconfig, Endpoint, KubeconfigError, for_user as user_kubeconfig};
pub use policy::{Attributes, Policy};
pub use private_file::write_private;
pub use review::{access_review, rules_review, self_review};
pub use roster::{RosterError, add as add_user, list as list_users, remove as remove_user};
pub use server_cert::{SanError, ServerCert, ServerNames};
pub use users::{User, UserRole, Users, UsersError};

/// The group of all who have said who they are.
const AUTHENTICATED: &str = "system:authenticated";
/// The group to which everything is allowed, as in Kubernetes.
const MASTERS: &str = "system:masters";

/// Who makes a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// As it stands in refusals and in `kubectl auth whoami`.
    pub name: String,
    /// What Kubernetes would see; the role does not follow from them, but for `system:masters` in a certificate.
    pub groups: Vec<String>,
    pub role: Role,
}

/// What somebody may do, as the `Policy` states it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    Admin,
    /// Reads everything but Secrets.
    Viewer,
    /// Reads and writes in these namespaces.
    Editor { namespaces: BTreeSet<String> },
    /// Is known and may do what everybody may: a certificate of ours without a group that means something.
    Nobody,
}

impl Identity {
    /// The controller itself, whose client runs in this process.
    pub fn controller() -> Self {
        Self::new("system:skerry-controller".to_owned(), vec![MASTERS.to_owned()], Role::Admin)
    }

    fn new(name: String, mut groups: Vec<String>, role: Role) -> Self {
        if !groups.iter().any(|group| group == AUTHENTICATED) {
            groups.push(AUTHENTICATED.to_owned());
        }
        Self { name, groups, role }
    }
}

/// A client certificate that TLS has verified, read once for its connection.
#[derive(Debug)]
pub(crate) struct Peer {
    identity: Arc<Identity>,
    not_after: SystemTime,
}

impl Peer {
    /// The common name is the user, the organizations are the groups, as in Kubernetes. None for a certificate without a name.
    pub(crate) fn from_certificate(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let subject = certificate.subject();
        let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
        let groups = subject.iter_organization().filter_map(|group| group.as_str().ok()).map(str::to_owned);
        let groups: Vec<String> = groups.collect();
        let role = if groups.iter().any(|group| group == MASTERS) { Role::Admin } else { Role::Nobody };
        let not_after = authority::not_after(&certificate)?;
        Some(Self { identity: Arc::new(Identity::new(name, groups, role)), not_after })
    }

    /// Who this is, as long as the certificate is valid: a connection may outlive it.
    pub(crate) fn identity(&self, now: SystemTime) -> Option<&Arc<Identity>> {
        (now <= self.not_after).then_some(&self.identity)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::authority::tests::Shelf;
    use super::*;

    #[test]
    fn a_certificate_says_who_somebody_is_while_it_lasts() {
        let now = SystemTime::now();
        let authority = Authority::load_or_make(&Shelf::default(), now).expect("an authority");
        for (group, role) in [(MASTERS, Role::Admin), ("plant", Role::Nobody)] {
            let leaf = authority.sign_client("carla", group, now).expect("signed");
            let peer = Peer::from_certificate(leaf.certificate.der()).expect("a peer");
            let groups = vec![group.to_owned(), AUTHENTICATED.to_owned()];
            let carla = Identity { name: "carla".to_owned(), groups, role };
            assert_eq!(peer.identity(now).map(AsRef::as_ref), Some(&carla));
            assert_eq!(peer.identity(now + Duration::from_secs(366 * 86_400)), None);
        }
        assert!(Peer::from_certificate(b"\x30\x03abc").is_none());
    }
}
