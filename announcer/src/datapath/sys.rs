//! The calls of bpf(2) that aya does not have.

use std::{
    ffi::CString,
    io,
    mem::MaybeUninit,
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use aya::Pod;

// From <linux/bpf.h>, enum bpf_cmd.
const BPF_OBJ_GET: libc::c_int = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BPF_MAP_LOOKUP_BATCH: libc::c_int = 24;
const BPF_LINK_DETACH: libc::c_int = 34;

/// `struct { … } batch` of `union bpf_attr`.
#[repr(C)]
#[derive(Default)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct ObjAttr {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct InfoAttr {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

#[repr(C)]
#[derive(Default)]
struct LinkAttr {
    link_fd: u32,
}

/// The beginning of `struct bpf_link_info`; `ifindex` is the first field of the union for XDP and tcx links.
#[repr(C)]
#[derive(Default, Clone, Copy)]
struct LinkInfo {
    kind: u32,
    id: u32,
    prog_id: u32,
    _pad: u32,
    ifindex: u32,
    _rest: [u32; 27],
}

/// bpf(2) with one of the structures above.
///
/// # Safety
/// Every pointer inside `attr` must be valid for what `command` does with it.
unsafe fn bpf<A>(command: libc::c_int, attr: &mut A) -> io::Result<i32> {
    // SAFETY: attr is a live structure of the size given; the caller answers for its pointers.
    let done = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<A>()) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(done as i32) }
}

/// Calls `each` with every entry of a hash map that is there all the time of the call; entries that come or go meanwhile
/// may be missed. Kernel 5.6.
///
/// # Errors
/// The system call's; the map's key and value must have these sizes, else EINVAL.
pub(super) fn for_each<K: Pod, V: Pod>(map: BorrowedFd<'_>, mut each: impl FnMut(&K, &V)) -> io::Result<()> {
    // Larger than any bucket of a well-spread map; grown when the kernel says ENOSPC.
    let mut room = 4_096_usize;
    let mut keys: Vec<MaybeUninit<K>> = Vec::new();
    let mut values: Vec<MaybeUninit<V>> = Vec::new();
    let mut position = 0_u32;
    let mut first = true;
    // A map of n entries takes at most n steps; the bound only guards against a kernel that never ends.
    for _ in 0..1_000_000 {
        keys.resize_with(room, MaybeUninit::uninit);
        values.resize_with(room, MaybeUninit::uninit);
        let mut next = 0_u32;
        let mut attr = BatchAttr {
            in_batch: if first { 0 } else { (&raw const position) as u64 },
            out_batch: (&raw mut next) as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: room as u32,
            map_fd: map.as_raw_fd() as u32,
            ..BatchAttr::default()
        };
        // SAFETY: keys and values have room for `count` entries of the map's sizes (the kernel compares nothing, so the
        // caller's K and V must be the map's: `Maps` opens each map with its own types and checks their sizes);
        // in_batch and out_batch are 4 bytes, as hash maps use them.
        let done = unsafe { bpf(BPF_MAP_LOOKUP_BATCH, &mut attr) };
        let ended = match done {
            Ok(_) => false,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
            Err(error) if error.raw_os_error() == Some(libc::ENOSPC) && room < 1 << 20 => {
                room *= 2;
                continue;
            }
            Err(error) => return Err(error),
        };
        for (key, value) in keys.iter().zip(&values).take(attr.count as usize) {
            // SAFETY: the kernel has written the first `count` keys and values; both are plain data.
            unsafe { each(key.assume_init_ref(), value.assume_init_ref()) };
        }
        if ended {
            return Ok(());
        }
        (position, first) = (next, false);
    }
    Ok(())
}

/// Opens what is pinned at `path`.
///
/// # Errors
/// The system call's: ENOENT, EACCES for what is no pin, EPERM without CAP_BPF.
pub(super) fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = ObjAttr { pathname: path.as_ptr() as u64, ..ObjAttr::default() };
    // SAFETY: pathname is a string that lives until the call returns.
    let fd = unsafe { bpf(BPF_OBJ_GET, &mut attr) }?;
    // SAFETY: the kernel gave this descriptor to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The interface that an XDP or tcx link is attached to; 0 when that interface is gone.
///
/// # Errors
/// The system call's.
pub(super) fn link_ifindex(link: BorrowedFd<'_>) -> io::Result<u32> {
    let mut info = LinkInfo::default();
    let mut attr = InfoAttr {
        bpf_fd: link.as_raw_fd() as u32,
        info_len: size_of::<LinkInfo>() as u32,
        info: (&raw mut info) as u64,
    };
    // SAFETY: info is a live structure of info_len bytes.
    unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attr) }?;
    Ok(info.ifindex)
}

/// Detaches a link's program now, whoever still holds the link.
///
/// # Errors
/// The system call's: EINVAL for what is no link, ENOLINK where the interface is gone.
pub(super) fn detach_link(link: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = LinkAttr { link_fd: link.as_raw_fd() as u32 };
    // SAFETY: the structure has no pointers.
    unsafe { bpf(BPF_LINK_DETACH, &mut attr) }.map(drop)
}
