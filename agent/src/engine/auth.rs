//! How credentials reach Docker.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE;
use bollard::auth::DockerCredentials;
use http::HeaderValue;
use skerry_agent_core::{RegistryAuth, Sensitive};

fn credentials(auth: &RegistryAuth) -> DockerCredentials {
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

/// The header that carries credentials. Docker reads the alphabet for URLs, and takes what it cannot read for no credentials at all; the library
/// writes the common one.
pub(super) fn header(auth: &RegistryAuth) -> Option<(&'static str, HeaderValue)> {
    let json = serde_json::to_vec(&credentials(auth)).ok()?;
    let mut value = HeaderValue::from_str(&BASE64_URL_SAFE.encode(json)).ok()?;
    value.set_sensitive(true);
    Some(("x-registry-auth", value))
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
        let (_, value) =
            header(&RegistryAuth { username: "\u{3f}\u{3e}\u{fb}".repeat(9), ..auth }).expect("a header");
        assert!(value.is_sensitive() && !value.to_str().expect("text").contains(['+', '/']));
    }
}
