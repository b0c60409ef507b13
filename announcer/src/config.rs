//! Settings: flags, environment, file.
