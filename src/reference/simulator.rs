//! The switches of the simulated world, from the world.

use super::{Page, code};
use crate::sim::World;

pub fn page() -> String {
    let mut page = Page::new(
        "Switches of the simulator",
        "Each is set with `--world NAME=VALUE` or over `POST /sim/world`; see \
         [simulator](../simulator.md#the-world).\n\
         In names a hyphen is as good as an underscore.",
    );
    page.heading("Switches");
    let rows = World::switches()
        .into_iter()
        .map(|switch| [code(switch.name), switch.allowed, switch.about.to_owned()]);
    page.table(["switch", "takes", "about"], rows);
    page.finish()
}
