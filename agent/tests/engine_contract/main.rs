//! What every engine must do, checked on the real Docker and on the fake; and the supervisor's scenarios on that fake. Because both keep one
//! contract, what holds for the supervisor on the fake holds on Docker.
//!
//! Tests in `on_docker` need a running Docker Engine and fail without one: `tests/host/prepare.sh --docker`.

mod contract;
mod endurance;
mod fake;
mod nonsense;
mod on_docker;
mod on_trial;
#[path = "../support/own_bridge.rs"]
mod own_bridge;
mod probing;
mod scenario;
mod state;
mod supervision;
mod telling;
mod updates;
