//! Waiting for the messages of the programs.

use std::{io, os::fd::OwnedFd};

use tokio::io::{Interest, unix::AsyncFd};

use crate::apply::maps::Forwarder;

/// The ring buffer's descriptor, watched by the runtime.
#[derive(Debug)]
pub(super) struct Events(AsyncFd<OwnedFd>);

impl Events {
    /// The events of `forwarder`, by a descriptor of our own.
    pub(super) fn of(forwarder: &Forwarder) -> io::Result<Self> {
        let fd = forwarder.events_fd().try_clone_to_owned()?;
        // SAFETY: an OwnedFd refers to one open file until it is dropped, and AsyncFd gives it up before that.
        let watched = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?;
        Ok(Self(watched))
    }

    /// Returns when there may be events; read them all then, as only new ones are told of again.
    pub(super) async fn readable(&self) {
        match self.0.readable().await {
            Ok(mut guard) => guard.clear_ready(),
            // The runtime ends.
            Err(_) => std::future::pending().await,
        }
    }
}
