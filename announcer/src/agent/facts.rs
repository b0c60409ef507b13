//! What this node says of itself in its heartbeat. Pure.

use crate::world::model::{LinkFacts, NodeFacts, World};

/// Facts by the links as they are; `programmed`: the maps hold a plan made of a complete World.
#[must_use]
pub(super) fn of(world: &World, programmed: bool) -> NodeFacts {
    let links: Vec<LinkFacts> = world
        .links
        .values()
        .map(|link| LinkFacts {
            name: link.name.clone(),
            mac: link.mac,
            addresses: link.addresses.clone(),
            up: link.up && link.attached.is_some(),
        })
        .collect();
    NodeFacts {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ready: programmed && links.iter().any(|link| link.up),
        leaving: false,
        links,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::model::{AttachMode, Link};

    fn world(up: bool, attached: Option<AttachMode>) -> World {
        let mut world = World::new("n1");
        let link = Link {
            name: "eth0".to_owned(),
            index: 2,
            mac: "02:00:00:00:00:01".parse().unwrap(),
            mtu: 1500,
            up,
            addresses: vec!["192.0.2.1/24".parse().unwrap()],
            attached,
        };
        world.links.insert(link.name.clone(), link);
        world
    }

    #[test]
    fn a_node_is_ready_with_programs_on_a_link_that_is_up_and_maps_that_are_filled() {
        assert!(of(&world(true, Some(AttachMode::Native)), true).ready);
        assert!(!of(&world(true, Some(AttachMode::Native)), false).ready);
        assert!(!of(&world(true, None), true).ready);
        assert!(!of(&world(false, Some(AttachMode::Generic)), true).ready);
        assert!(!of(&World::new("n1"), true).ready);
    }
}
