//! What a unit's container is created from: the bits with which its revision proved itself, else whatever its image's name means now.

use super::app::AppView;
use crate::{Container, ImageId};

/// An image, and how to call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chosen<'a> {
    /// A name or an id.
    pub reference: &'a str,
    pub present: bool,
    /// The revision proved itself with these very bits: whatever the pull policy says, nothing newer is asked for.
    pub proven: bool,
}

pub(super) fn chosen<'a>(view: &AppView<'a>, container: &'a Container) -> Chosen<'a> {
    let name = container.image.as_str();
    let images = &view.world.images;
    let proven = view.desired.images.get(&view.app.key).and_then(|proven| proven.get(&container.name));
    match proven {
        // By the name that people know, as long as it means the same.
        Some(id) if images.get(name).and_then(Option::as_ref) == Some(id) => {
            Chosen { reference: name, present: true, proven: true }
        }
        // What was not asked about counts as present: creating the container tells.
        Some(ImageId(id)) if images.get(id) != Some(&None) => {
            Chosen { reference: id, present: true, proven: true }
        }
        // Somebody has removed it.
        Some(_) | None => {
            let present = images.get(name).is_none_or(Option::is_some);
            Chosen { reference: name, present, proven: false }
        }
    }
}
