//! Loading, attaching, pinning and adopting the eBPF programs; typed views of their maps.

mod object;

pub use object::OBJECT;
