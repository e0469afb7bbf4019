//! What every engine must do, checked on the real Docker and on the fake; and the supervisor's scenarios on that fake. Because both keep one
//! contract, what holds for the supervisor on the fake holds on Docker.
//!
//! Tests in `on_docker` need a running Docker Engine and fail without one: `tests/host/prepare.sh --docker`.

mod contract;
mod endurance;
mod fake;
mod on_docker;
mod on_trial;
mod probing;
mod scenario;
mod supervision;
mod telling;
mod updates;
