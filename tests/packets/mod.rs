//! Single packets through the real programs by `BPF_PROG_TEST_RUN`: verdict, bytes and counters of each.

pub mod frames;
pub mod rig;
pub mod row;
pub mod scene;
