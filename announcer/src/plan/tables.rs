//! A Service's list of earlier tables.
