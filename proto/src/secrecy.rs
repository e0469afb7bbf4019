//! The messages that may hold a Secret show their size and never their content, whoever prints them.

use std::fmt;

use crate::wire;

impl fmt::Debug for wire::ConfigObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind: _, name, r#type, data, binary_data } = self;
        f.debug_struct("ConfigObject")
            .field("kind", &self.kind())
            .field("name", name)
            .field("type", r#type)
            .field("keys", &data.keys().chain(binary_data.keys()).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for wire::AppFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, name, payload } = self;
        f.debug_struct("AppFrame")
            .field("namespace", namespace)
            .field("name", name)
            .field("payload", &format_args!("{} bytes", payload.len()))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn a_secret_is_not_printed() {
        let object = wire::ConfigObject {
            name: "login".to_owned(),
            data: [("password".to_owned(), b"hunter2".to_vec())].into(),
            ..Default::default()
        };
        let app = wire::App { config: vec![object], ..Default::default() };
        let frame = wire::AppFrame { payload: app.encode_to_vec(), ..Default::default() };
        let state = wire::StoredState { apps: vec![frame.clone()], ..Default::default() };
        let message = wire::ControllerMessage { kind: Some(wire::controller_message::Kind::App(frame)) };
        let shown = format!("{app:?} {state:?} {message:?}");
        assert!(shown.contains("login") && shown.contains("password"), "{shown}");
        assert!(!shown.contains("hunter2") && !shown.contains("104, 117"), "{shown}");
    }
}
