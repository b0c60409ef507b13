//! This node's links, addresses and routes, by netlink.

use tokio::{sync::mpsc, task::JoinHandle};

use super::{message::Message, pattern::LinkPattern};

/// Why this node's links cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error(
        "no link matches --interface {}: this node has {}; give an expression that matches the link to the LAN",
        list(patterns),
        list(present)
    )]
    NoMatch { patterns: Vec<String>, present: Vec<String> },
    #[error(
        "this node has no default route, by which the link to the LAN is found: name it with --interface (there are {})",
        list(present)
    )]
    NoDefaultRoute { present: Vec<String> },
    #[error("cannot read links by netlink: {0}; is CAP_NET_ADMIN granted?")]
    Netlink(String),
}

fn list(names: &[String]) -> String {
    names.join(", ")
}

/// Watches links, addresses and default routes. The first [`Message::Links`] is sent before it returns.
///
/// `interfaces` empty: the links of the default routes (an explicit setting is needed where there is none).
///
/// # Errors
/// [`LinkError`] when netlink does not answer or no link matches.
#[allow(clippy::unused_async, reason = "the reading follows")]
pub async fn watch(interfaces: Vec<LinkPattern>, to: mpsc::Sender<Message>) -> Result<JoinHandle<()>, LinkError> {
    drop((interfaces, to));
    Err(LinkError::Netlink("not read yet".to_owned()))
}
