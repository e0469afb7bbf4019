use super::*;

const JSON: &str = "kubernetes.io/dockerconfigjson";

fn pull_secret(name: &str, kind: &str, key: &str, json: &str) -> ConfigObject {
    ConfigObject { r#type: kind.to_owned(), ..secret(name, &[(key, json)]) }
}

fn app_with(config: &[ConfigObject]) -> ValidApp {
    let names: Vec<_> = ["none".to_owned()]
        .into_iter()
        .chain(config.iter().map(|object| object.name.clone()))
        .map(|name| format!(r#"{{"name": "{name}"}}"#))
        .collect();
    valid_of(&spec("", &format!(r#", "imagePullSecrets": [{}]"#, names.join(","))), config)
}

#[test]
fn every_form_of_credentials_is_read_and_the_longest_pattern_comes_first() {
    // `YXV0aDpwYTpzcw==` is `auth:pa:ss`.
    let json = r#"{"auths": {
        "https://index.docker.io/v1/": {"auth": "YXV0aDpwYTpzcw=="},
        "r.example": {"username": "plain", "password": "word", "email": "a@b"},
        "r.example/team": {"username": "not this", "auth": "YXV0aDpwYTpzcw=="},
        "token.example": {"username": "<token>", "identitytoken": "t"}}, "credsStore": "x"}"#;
    let legacy = r#"{"r.example": {"username": "old", "password": "cfg"}}"#;
    let app = app_with(&[
        pull_secret("a", JSON, ".dockerconfigjson", json),
        pull_secret("b", "kubernetes.io/dockercfg", ".dockercfg", legacy),
        pull_secret("c", "Opaque", ".dockerconfigjson", json),
    ]);
    assert_eq!(app.missing, [""; 0]);
    let auths: Vec<_> = app
        .registry_auths
        .iter()
        .map(|auth| {
            [&auth.registry, &auth.username, &auth.password.0, &auth.identity_token.0].map(String::as_str)
        })
        .collect();
    let expected = [
        ["token.example", "<token>", "", "t"],
        ["r.example/team", "auth", "pa:ss", ""],
        ["r.example", "plain", "word", ""],
        ["r.example", "old", "cfg", ""],
        ["index.docker.io", "auth", "pa:ss", ""],
    ];
    assert_eq!(auths, expected);
}

#[test]
fn credentials_that_cannot_be_read_are_named_and_not_shown() {
    for (json, expected) in [
        ("hunter2", r#"secret "a" has a .dockerconfigjson that is no configuration of registries"#),
        (
            r#"{"auths": {"r.example": {"auth": "hunter2!"}}}"#,
            r#"secret "a" has an auth that is not USER:PASSWORD in base64"#,
        ),
        (
            r#"{"auths": {"r.example": {"auth": "aHVudGVyMg=="}}}"#,
            r#"secret "a" has an auth that is not USER:PASSWORD in base64"#,
        ),
    ] {
        let app = app_with(&[pull_secret("a", JSON, ".dockerconfigjson", json)]);
        assert_eq!((app.missing.as_slice(), app.registry_auths.len()), (&[expected.to_owned()][..], 0));
    }
}
