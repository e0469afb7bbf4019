//! What travels between agent and controller: the generated [`wire`] types, the caps on everything that is
//! received, and the checked conversions to the shared [`skerry_terms`].
//!
//! Not here: what an app means. The controller writes [`wire::App`] from the CRD, the agent reads it into its
//! own checked form.

pub mod caps;
mod convert;
mod secrecy;

/// Version of the session protocol that this build speaks.
pub const PROTOCOL: u32 = 1;

/// What either end can do beyond the protocol's version, by name, in hello and welcome.
pub mod feature {
    /// Transitions are told, and acknowledged.
    pub const TRANSITIONS: &str = "transitions";
}

pub use convert::{WireError, app_key, payload_set};

/// The generated messages, client and server.
#[expect(clippy::allow_attributes_without_reason, clippy::large_enum_variant, reason = "generated code")]
pub mod wire {
    tonic::include_proto!("skerry.v1");
}
