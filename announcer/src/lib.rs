//! The agent's library: see ARCHITECTURE.md for the map.

pub mod agent;
pub mod api;
pub mod apply;
pub mod cli;
pub mod config;
pub mod datapath;
pub mod observe;
pub mod plan;
pub mod world;
