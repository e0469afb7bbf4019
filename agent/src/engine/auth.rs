//! How credentials reach Docker.

use bollard::auth::DockerCredentials;
use skerry_agent_core::{RegistryAuth, Sensitive};

pub(super) fn credentials(auth: &RegistryAuth) -> DockerCredentials {
    let RegistryAuth { registry, username, password: Sensitive(password), identity_token: Sensitive(token) } =
        auth;
    let some = |text: &String| (!text.is_empty()).then(|| text.clone());
    DockerCredentials {
        username: some(username),
        password: some(password),
        serveraddress: some(registry),
        identitytoken: some(token),
        ..Default::default()
    }
}

/// The header that carries credentials. The library encodes them in the common alphabet, Docker reads the one for URLs, and takes what it
/// cannot read for no credentials at all.
pub(super) const HEADER: &str = "x-registry-auth";

pub(super) fn for_urls(encoded: &str) -> String {
    encoded.replace('+', "-").replace('/', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_complete_and_never_shown() {
        let auth = RegistryAuth {
            registry: "r.example".to_owned(),
            username: "u".to_owned(),
            password: Sensitive("geheim".to_owned()),
            identity_token: Sensitive::default(),
        };
        let told = credentials(&auth);
        assert_eq!((told.username.as_deref(), told.password.as_deref()), (Some("u"), Some("geheim")));
        assert_eq!((told.serveraddress.as_deref(), told.identitytoken), (Some("r.example"), None));
        assert!(!format!("{auth:?}").contains("geheim"));
        assert_eq!(for_urls("a+b/c="), "a-b_c=");
    }
}
