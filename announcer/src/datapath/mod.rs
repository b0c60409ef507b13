//! Loading, attaching, pinning and adopting the eBPF programs; typed views of their maps.
//!
//! Must not know: Kubernetes, Services, who leads.

pub mod attach;
mod bpffs;
mod cleanup;
mod clock;
mod error;
mod extents;
mod load;
mod maps;
mod object;
mod occupant;
mod packet_log;
mod slots;
mod sys;

pub use bpffs::Pins;
pub use cleanup::{Cleaned, cleanup};
pub use clock::{monotonic, ticks, ticks_at};
pub use error::Error;
pub use extents::Extents;
pub use load::Sizes;
pub use maps::{Contents, Maps, Store};
pub use object::OBJECT;
pub use packet_log::in_words;
pub use slots::Slots;
