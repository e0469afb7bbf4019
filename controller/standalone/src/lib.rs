//! A small Kubernetes-compatible API in one process with one data directory: Skerry's CRDs and the few built-in kinds that they
//! need, for `kubectl`, helm and every other client. It is not a Kubernetes: what it does not serve it refuses.
//!
//! A request goes through `serve` (TLS, who is it) → `http` (may they, what is asked) → `write`, `read`, `watching` or `remove` →
//! `store`. The rest are pure rules that those steps ask.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, reason = "a test that finds something else than it expects ends there")
)]

pub mod access;
pub mod serve;

mod accept;
mod builtin;
mod builtin_rules;
mod catalogue;
mod clock;
mod crd;
mod decode;
mod discovery;
mod events;
mod fields;
mod housekeeping;
mod http;
mod meta;
mod object;
mod openapi;
mod options;
mod patch;
mod protobuf;
mod read;
mod remove;
mod resource;
mod room;
mod route;
mod schema;
mod selector;
mod server;
mod standalone;
mod status;
pub mod store;
mod table;
mod view;
mod watching;
mod write;

pub use self::http::Api;
pub use standalone::{ADMIN_KUBECONFIG, LocalApi, OpenError, Standalone, USERS};
