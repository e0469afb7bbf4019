//! What only the standalone API must show: it is its own database, its own controller manager and its own door.

mod access;
mod backup;
mod crash;
mod deletion;
mod flags;
mod moving;

use std::sync::Arc;

use libtest_mimic::{Failed, Trial};
use skerry_tests::Plane;
use tokio::runtime::Runtime;

use crate::Shared;

pub fn trials(site: &Shared, runtime: &Arc<Runtime>) -> Vec<Trial> {
    let plane = Plane::Standalone;
    trials! { plane, site, runtime;
        crash: acknowledged_writes_survive_every_kill;
        deletion: a_deleted_namespace_takes_its_content_along, a_finalizer_holds_a_namespace,
            a_killed_controller_finishes_deleting, dependents_follow_their_owner, a_foreground_deletion_waits,
            orphans_stay, an_owner_that_is_not_known_keeps_its_dependents;
        backup: a_backup_is_restored_elsewhere, a_bad_restore_changes_nothing, an_old_backup_changes_no_node;
        moving: a_site_moves_on_to_kubernetes;
        access: each_role_may_what_it_may, a_removed_user_is_a_stranger, nobody_is_anonymous, nothing_private_is_readable;
        flags: an_open_door_is_asked_for, one_process_has_the_data, a_bad_data_directory_is_one_clear_line;
    }
}
