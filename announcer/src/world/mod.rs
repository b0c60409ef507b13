//! What is known, and the tasks that find it out.

pub mod model;
