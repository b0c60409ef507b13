//! The lab, the API server and the cases that run on them.
