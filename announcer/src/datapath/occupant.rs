//! Whose XDP program is on a link, for people.

use std::{io, time::Duration};

use socket2::{Domain, Protocol, Socket, Type};

// From <linux/netlink.h>, <linux/rtnetlink.h>, <linux/if_link.h>.
const RTM_GETLINK: u16 = 18;
const NLM_F_REQUEST: u16 = 1;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_PROG_ID: u16 = 4;
/// `struct nlmsghdr` and `struct ifinfomsg`.
const HEADER: usize = 16;
const LINK_HEADER: usize = 16;
/// The type of an attribute without its flags.
const TYPE: u16 = 0x3FFF;

/// Name and id of the XDP program on interface `index`, as far as the kernel tells.
pub(super) fn occupant(index: u32) -> String {
    let Ok(Some(id)) = program_id(index) else { return "of another owner".to_owned() };
    let name = aya::programs::loaded_programs()
        .flatten()
        .find(|program| program.id() == id)
        .and_then(|program| program.name_as_str().map(str::to_owned));
    match name {
        Some(name) => format!("{name}, id {id}"),
        None => format!("id {id}"),
    }
}

/// Asks for the link and reads IFLA_XDP / IFLA_XDP_PROG_ID of the answer.
fn program_id(index: u32) -> io::Result<Option<u32>> {
    let socket = Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(Protocol::from(libc::NETLINK_ROUTE)))?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut request = Vec::with_capacity(HEADER + LINK_HEADER);
    request.extend(((HEADER + LINK_HEADER) as u32).to_ne_bytes());
    request.extend(RTM_GETLINK.to_ne_bytes());
    request.extend(NLM_F_REQUEST.to_ne_bytes());
    // Sequence number, port.
    request.extend([0; 8]);
    // Family, padding, type.
    request.extend([0; 4]);
    request.extend(index.to_ne_bytes());
    // Flags, change mask.
    request.extend([0; 8]);
    socket.send(&request)?;
    let mut answer = vec![0; 32_768];
    let length = io::Read::read(&mut &socket, &mut answer)?;
    let attributes = answer.get(HEADER + LINK_HEADER..length).unwrap_or_default();
    let xdp = attribute(attributes, IFLA_XDP).unwrap_or_default();
    Ok(attribute(xdp, IFLA_XDP_PROG_ID).and_then(|id| Some(u32::from_ne_bytes(id.try_into().ok()?))))
}

/// The value of an attribute in a list of them (length, type, value, padding to four bytes).
fn attribute(mut list: &[u8], wanted: u16) -> Option<&[u8]> {
    while let [l0, l1, t0, t1, ..] = list {
        let length = usize::from(u16::from_ne_bytes([*l0, *l1]));
        let value = list.get(4..length)?;
        if u16::from_ne_bytes([*t0, *t1]) & TYPE == wanted {
            return Some(value);
        }
        list = list.get(length.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_is_found_among_others_and_broken_lists_end() {
        let list = [5, 0, 1, 0, 9, 0, 0, 0, 8, 0, 43, 0x80, 1, 2, 3, 4];
        assert_eq!(attribute(&list, 43), Some(&[1, 2, 3, 4][..]));
        assert_eq!(attribute(&list, 1), Some(&[9][..]));
        assert_eq!(attribute(&list[..14], 43), None);
        assert_eq!(attribute(&[0, 0, 1, 0, 1, 0], 2), None);
    }

    #[test]
    fn a_link_without_a_program_has_none() {
        assert_eq!(program_id(1).unwrap(), None);
    }
}
