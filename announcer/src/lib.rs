//! The agent's library: see ARCHITECTURE.md for the map.

pub mod world;
