use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::Context;

use crate::lab::Namespace;

/// A pod's answer to a plain request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Answer {
    pub pod: String,
    /// The client as the pod sees it.
    pub client: SocketAddr,
}

impl Answer {
    /// Reads `pod=… client=…`.
    pub(super) fn parse(body: &str) -> anyhow::Result<Self> {
        let field = |key: &str| body.split_whitespace().find_map(|w| w.strip_prefix(key));
        Ok(Self {
            pod: field("pod=").with_context(|| format!("no pod in {body:?}"))?.to_owned(),
            client: field("client=").with_context(|| format!("no client in {body:?}"))?.parse()?,
        })
    }
}

/// One request on a connection of its own.
pub fn fetch(from: &Namespace, to: SocketAddr, timeout: Duration) -> anyhow::Result<Answer> {
    from.run(|| {
        let mut stream = TcpStream::connect_timeout(&to, timeout).with_context(|| format!("connecting to {to}"))?;
        stream.set_read_timeout(Some(timeout))?;
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text).with_context(|| format!("reading from {to}"))?;
        Answer::parse(&text)
    })
}
