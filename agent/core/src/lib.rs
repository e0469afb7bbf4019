//! What the agent decides. Everything here is a pure function over data: no clock, no disk, no Docker, no network.
//! The shell in `skerry-agent` observes, calls [`plan()`], executes, and tells [`Memory`] how it went.
//!
//! ```text
//! Desired + Observed + Memory + now ──plan──▶ Plan ──execute (shell)──▶ Outcome ──record──▶ Memory
//!                                       └──report──▶ AppStatus per app ──▶ Session ──▶ controller
//! ```

mod at_rest;
mod backoff;
mod chronicle;
mod clock;
mod desired;
pub mod expand;
mod hash;
pub mod housekeeping;
mod memory;
mod observed;
pub mod outbox;
mod plan;
mod policy;
mod probe;
pub mod registry;
mod report;
mod session;
pub mod skew;
mod trial;
mod unit;

pub use at_rest::{AtRest, at_rest, disturbed};
pub use backoff::{Backoff, CRASH_BACKOFF, DIAL_BACKOFF, REFUSED_BACKOFF, RETRY_BACKOFF};
pub use chronicle::Chronicle;
pub use clock::{Monotonic, WallMillis};
pub use desired::{
    AppNames, AppSpec, Capacity, Container, Desired, DesiredApp, Device, Dns, EnvValue, EnvVar, File,
    Handler, Hook, Host, HostPathType, HostPort, HttpGet, Kind, Lifecycle, Mount, Network, Port, Probe,
    ProbeKind, Probes, Protocol, PullPolicy, Qos, Reclaim, RegistryAuth, Resources, RestartPolicy, Scheme,
    Seccomp, Secrets, Security, Sensitive, SpecError, Switch, TerminationMessage, TerminationMessagePolicy,
    ValidApp, Volume,
};
pub use hash::SpecHash;
pub use memory::{Failure, Memory, Outcome, ProbeVerdict, Step, Termination};
pub use observed::{
    ContainerId, ContainerState, ImageId, Listener, Observed, ObservedContainer, Owner, Ownership, PortClaim,
    Role, World,
};
pub use plan::{
    Action, AppPlan, BoundMount, CreateSpec, Ending, Join, Namespace, NetworkOwner, Plan, ProjectedVolume,
    Projection, UnitState, UnitVerdict, Verdict, Why, images_to_inspect, plan,
};
pub use policy::{PathError, Policy, Refusal, RegistryPattern};
pub use probe::{Counter, ProbeTask, probe_tasks};
pub use report::{AppStatus, ContainerStatus, carry_over, report};
pub use session::{AckOutcome, Effect, Frame, Held, Input, Outgoing, Session, SetCaps};
pub use trial::{Committed, Decided, FailedRevision, Fault, Images, Notes, Trials, Wanted};
