//! Which Service has which address.
