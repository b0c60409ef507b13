//! Attaching the programs to a link, and replacing those that an earlier run attached without a gap.

use std::{io, os::fd::AsFd, path::Path};

use announcer_ebpf::abi::program;
use aya::{
    Ebpf,
    programs::{
        LinkOrder, ProgramError, SchedClassifier, TcAttachType, Xdp, XdpMode,
        links::{FdLink, PinnedLink},
        tc::TcAttachOptions,
        xdp::XdpLink,
    },
};
use tracing::{info, warn};

use super::{Error, Pins, Sizes, error::os_error, load::load, occupant::occupant, packet_log, sys};
use crate::world::model::{AttachMode, Link};

/// Above this a native program must take packets of several buffers. Drivers differ (3,498 to 3,520 were seen).
const MTU_OF_ONE_BUFFER: u32 = 3_490;

/// Puts the programs on a link. `earlier` is how an earlier run attached them, where that is known.
///
/// Egress comes first, so that no flow is taken whose replies would not be translated.
///
/// # Errors
/// The link is gone, has another's XDP program, or takes none; the kernel refuses a program.
pub fn attach(
    pins: &Pins,
    sizes: Sizes,
    slot: u32,
    link: &Link,
    earlier: Option<AttachMode>,
) -> Result<AttachMode, Error> {
    let mut object = load(pins, sizes, slot)?;
    packet_log::follow(&mut object, &link.name);
    let dir = pins.link(&link.name);
    std::fs::create_dir_all(&dir).map_err(|source| Error::File { path: dir.clone(), source })?;
    let (xdp_pin, egress_pin) = (dir.join("xdp"), dir.join("egress"));
    egress(&mut object, link, &egress_pin)?;
    let attached = xdp(&mut object, link, &xdp_pin, earlier);
    if attached.is_err() && !xdp_pin.exists() {
        // Nothing is left on a link that is not served.
        unpin(&egress_pin)?;
        let _not_empty: io::Result<()> = std::fs::remove_dir(&dir);
    }
    attached
}

/// Takes the programs off a link. Traffic is forwarded no more once XDP is gone, so that goes first.
///
/// # Errors
/// A pin cannot be removed.
pub fn detach(pins: &Pins, link: &str) -> Result<(), Error> {
    let dir = pins.link(link);
    for pin in [dir.join("xdp"), dir.join("egress")] {
        unpin(&pin)?;
    }
    match std::fs::remove_dir(&dir) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error::File { path: dir, source }),
        _ => Ok(()),
    }
}

/// The index of the interface to which the pinned XDP program is attached; None: it is not.
#[must_use]
pub fn attached_to(pins: &Pins, link: &str) -> Option<u32> {
    let pinned = sys::open_pin(&pins.link(link).join("xdp")).ok()?;
    sys::link_ifindex(pinned.as_fd()).ok().filter(|index| *index != 0)
}

/// Detaches a pinned link and removes the pin; whether there was one.
///
/// # Errors
/// The pin cannot be removed.
pub(super) fn unpin(pin: &Path) -> Result<bool, Error> {
    // Removing the last reference detaches as well; asked for by name it happens now, whoever else holds the link.
    if let Ok(link) = sys::open_pin(pin) {
        let _gone_with_its_interface: io::Result<()> = sys::detach_link(link.as_fd());
    }
    match std::fs::remove_file(pin) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(Error::File { path: pin.to_owned(), source }),
    }
}

/// The pinned link, if it is attached to `ifindex`. One that is not (its interface is gone, or has another name now) is
/// taken away.
fn adopted(pin: &Path, ifindex: u32) -> Result<Option<FdLink>, Error> {
    let Ok(found) = sys::open_pin(pin) else { return Ok(None) };
    match sys::link_ifindex(found.as_fd()) {
        Ok(attached) if attached == ifindex => Ok(PinnedLink::from_pin(pin).ok().map(FdLink::from)),
        other => {
            info!(pin = %pin.display(), attached_to = ?other.ok(), "a pinned link of another interface is taken away");
            drop(found);
            unpin(pin)?;
            Ok(None)
        }
    }
}

fn missing(name: &str) -> Error {
    Error::Kernel { what: format!("program {name}"), source: anyhow::anyhow!("the eBPF object does not have it") }
}

fn egress(object: &mut Ebpf, link: &Link, pin: &Path) -> Result<(), Error> {
    let name = program::EGRESS;
    let program: &mut SchedClassifier =
        object.program_mut(name).and_then(|program| program.try_into().ok()).ok_or_else(|| missing(name))?;
    program.load().map_err(|error| Error::of_bpf(format!("loading program {name}"), error))?;
    if let Some(found) = adopted(pin, link.index)? {
        let replaced = found.try_into().map_err(|error| Error::of_bpf("adopting the pinned egress link", error));
        match replaced.and_then(|found| {
            program.attach_to_link(found).map_err(|error| Error::of_bpf("replacing the egress program", error))
        }) {
            Ok(_) => return Ok(()),
            Err(error) => warn!(link = link.name, %error, "the egress program is attached anew"),
        }
        unpin(pin)?;
    }
    // At the head of the chain: others' programs may end it. Below 6.6 there is no tcx.
    let options = TcAttachOptions::TcxOrder(LinkOrder::first());
    let id = program
        .attach_with_options(&link.name, TcAttachType::Egress, options)
        .map_err(|error| no_link(link, Error::of_bpf("attaching to tcx egress", error)))?;
    let attached: FdLink = program
        .take_link(id)
        .map_err(|error| Error::of_bpf("attaching to tcx egress", error))?
        .try_into()
        .map_err(|error| Error::of_bpf("attaching to tcx egress", error))?;
    attached.pin(pin).map_err(|error| Error::of_bpf(format!("pinning {}", pin.display()), error))?;
    Ok(())
}

/// The error, unless the reason is that there is no such link.
fn no_link(link: &Link, error: Error) -> Error {
    let gone = match &error {
        Error::Kernel { source, .. } => os_error(source.as_ref()) == Some(libc::ENODEV),
        _ => false,
    };
    if gone { Error::NoLink { link: link.name.clone() } } else { error }
}

fn xdp(object: &mut Ebpf, link: &Link, pin: &Path, earlier: Option<AttachMode>) -> Result<AttachMode, Error> {
    let fragments = link.mtu > MTU_OF_ONE_BUFFER;
    let by_mtu = if fragments { AttachMode::NativeFrags } else { AttachMode::Native };
    if let Some(found) = adopted(pin, link.index)? {
        let mode = earlier.unwrap_or(by_mtu);
        match replace(object, found, mode) {
            Ok(()) => return Ok(mode),
            Err(error) => warn!(link = link.name, %error, "the XDP program is attached anew"),
        }
        unpin(pin)?;
    }
    let modes: &[AttachMode] = if fragments {
        &[AttachMode::NativeFrags, AttachMode::Generic]
    } else {
        &[AttachMode::Native, AttachMode::NativeFrags, AttachMode::Generic]
    };
    let mut reason = None;
    for mode in modes {
        if *mode != AttachMode::NativeFrags {
            // A program that the kernel refuses is refused in every mode.
            loaded(object, *mode)?;
        }
        match attach_new(object, link, *mode) {
            Ok(attached) => {
                attached.pin(pin).map_err(|error| Error::of_bpf(format!("pinning {}", pin.display()), error))?;
                return Ok(*mode);
            }
            Err(Error::Kernel { source, .. }) => {
                match os_error(source.as_ref()) {
                    Some(libc::EBUSY | libc::EEXIST) => {
                        let program = occupant(link.index);
                        return Err(Error::LinkTaken { link: link.name.clone(), program });
                    }
                    Some(libc::ENODEV) => return Err(Error::NoLink { link: link.name.clone() }),
                    _ => {}
                }
                info!(link = link.name, ?mode, reason = %source, "XDP is not possible in this mode");
                reason = Some(source);
            }
            Err(other) => return Err(other),
        }
    }
    let source = reason.unwrap_or_else(|| anyhow::anyhow!("no mode was tried"));
    Err(Error::Attach { link: link.name.clone(), source })
}

/// The program for a mode, in the kernel.
fn loaded(object: &mut Ebpf, mode: AttachMode) -> Result<&mut Xdp, Error> {
    let name = if mode == AttachMode::NativeFrags { program::XDP_FRAGS } else { program::XDP };
    let program: &mut Xdp =
        object.program_mut(name).and_then(|program| program.try_into().ok()).ok_or_else(|| missing(name))?;
    match program.load() {
        Ok(()) | Err(ProgramError::AlreadyLoaded) => Ok(program),
        Err(error) => Err(Error::of_bpf(format!("loading program {name}"), error)),
    }
}

/// Puts the program into an attached link: no packet goes by without one.
fn replace(object: &mut Ebpf, link: FdLink, mode: AttachMode) -> Result<(), Error> {
    let program = loaded(object, mode)?;
    let link: XdpLink = link.try_into().map_err(|error| Error::of_bpf("adopting the pinned XDP link", error))?;
    program.attach_to_link(link).map_err(|error| Error::of_bpf("replacing the XDP program", error))?;
    Ok(())
}

fn attach_new(object: &mut Ebpf, link: &Link, mode: AttachMode) -> Result<FdLink, Error> {
    let program = loaded(object, mode)?;
    let native = if mode == AttachMode::Generic { XdpMode::Skb } else { XdpMode::Driver };
    let id = program
        .attach_to_if_index(link.index, native)
        .map_err(|error| Error::of_bpf(format!("attaching XDP to {}", link.name), error))?;
    // A link that is not a file descriptor (attached by netlink, where the kernel refused a BPF link) cannot be pinned
    // and would go with the agent: dropped here, it is detached.
    program
        .take_link(id)
        .map_err(|error| Error::of_bpf("attaching XDP", error))?
        .try_into()
        .map_err(|error| Error::of_bpf("attaching XDP by a BPF link", error))
}
