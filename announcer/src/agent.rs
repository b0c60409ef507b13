//! The agent's loop: messages make the World, plans are made of it, the difference is written.
