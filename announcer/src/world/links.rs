//! This node's links, addresses and routes, by netlink: read whole at the start, at every change, and now and then.

mod read;
mod select;

use std::time::Duration;

use futures::{FutureExt, StreamExt};
use rtnetlink::{
    Handle, MulticastGroup, new_connection, new_multicast_connection,
    packet_core::{NetlinkMessage, NetlinkPayload},
    packet_route::RouteNetlinkMessage,
};
use tokio::{sync::mpsc, task::JoinHandle, time::sleep};

use self::{read::is_default, select::Selection};
use super::{
    message::{Kind, LinkTable, Message},
    pattern::LinkPattern,
};

/// Why this node's links cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error(
        "no Ethernet link matches --interface {}: this node has {}; give an expression that matches the link to the LAN",
        list(patterns),
        list(present)
    )]
    NoMatch { patterns: Vec<String>, present: Vec<String> },
    #[error(
        "this node has no default route, by which the link to the LAN is found: name it with --interface (there are {})",
        list(present)
    )]
    NoDefaultRoute { present: Vec<String> },
    #[error("cannot read links by netlink: {0}; is a network namespace of this agent's own in the way?")]
    Netlink(String),
}

fn list(names: &[String]) -> String {
    names.join(", ")
}

/// One change on a link is told in several pieces: they are waited for together.
const GATHER: Duration = Duration::from_millis(20);
/// Read without any news, for what no event tells.
const REFRESH: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_secs(1);

/// Watches links, addresses and default routes. The first [`Message::Links`] is sent before it returns.
///
/// `interfaces` empty: the links of the default routes (an explicit setting is needed where there is none).
///
/// # Errors
/// [`LinkError`] when netlink does not answer or no link matches.
pub async fn watch(interfaces: Vec<LinkPattern>, to: mpsc::Sender<Message>) -> Result<JoinHandle<()>, LinkError> {
    let refuse = |error: &dyn std::error::Error| LinkError::Netlink(error.to_string());
    // The events' own socket: a flood of them must not drop answers. It listens before the first reading, so that
    // nothing falls between.
    let events = listen().map_err(|error| refuse(&error))?;
    let (connection, handle, _) = new_connection().map_err(|error| refuse(&error))?;
    let connection = tokio::spawn(connection);
    let mut selection = Selection::new(interfaces);
    let raw = read::read(&handle).await.map_err(|error| refuse(&error))?;
    let table = selection.choose(&raw)?;
    // A closed channel ends the task below.
    let _ = to.send(Message::Links(table.clone())).await;
    Ok(tokio::spawn(async move {
        follow(events, &handle, selection, table, to).await;
        connection.abort();
    }))
}

type Events = futures::stream::BoxStream<'static, NetlinkMessage<RouteNetlinkMessage>>;

fn listen() -> std::io::Result<Events> {
    let (connection, handle, messages) = new_multicast_connection(&[
        MulticastGroup::Link,
        MulticastGroup::Ipv4Ifaddr,
        MulticastGroup::Ipv6Ifaddr,
        MulticastGroup::Ipv4Route,
        MulticastGroup::Ipv6Route,
    ])?;
    tokio::spawn(connection);
    // The connection lives as long as the handle, which goes with the stream.
    Ok(messages
        .map(move |(message, _)| {
            let _ = &handle;
            message
        })
        .boxed())
}

async fn follow(
    mut events: Events,
    handle: &Handle,
    mut selection: Selection,
    mut known: LinkTable,
    to: mpsc::Sender<Message>,
) {
    let mut troubled = false;
    loop {
        tokio::select! {
            () = news(&mut events) => {
                sleep(GATHER).await;
                while let Some(Some(_)) = events.next().now_or_never() {}
            }
            () = sleep(if troubled { PAUSE } else { REFRESH }) => {}
            () = to.closed() => return,
        }
        let table = match read::read(handle).await {
            Ok(raw) => selection.table(&raw),
            Err(error) => {
                tracing::warn!(%error, "links cannot be read; what is known stays");
                troubled = true;
                let trouble = Message::Trouble(Kind::Links, Some(format!("links cannot be read: {error}")));
                if to.send(trouble).await.is_err() {
                    return;
                }
                continue;
            }
        };
        if std::mem::take(&mut troubled) && to.send(Message::Trouble(Kind::Links, None)).await.is_err() {
            return;
        }
        if table == known {
            continue;
        }
        if table.links.is_empty() && !known.links.is_empty() {
            tracing::warn!("no link that announcer serves is left on this node");
        }
        known = table;
        if to.send(Message::Links(known.clone())).await.is_err() {
            return;
        }
    }
}

/// Returns when something has changed that matters, or may have.
async fn news(events: &mut Events) {
    while let Some(message) = events.next().await {
        match &message.payload {
            NetlinkPayload::InnerMessage(
                RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route),
            ) if !is_default(route) => {}
            // Also an overrun: the kernel had more news than the socket holds (ENOBUFS).
            _ => return,
        }
    }
    // The socket has ended. Whatever was missed is read next.
    sleep(PAUSE).await;
    match listen() {
        Ok(anew) => *events = anew,
        Err(error) => tracing::warn!(%error, "netlink's news cannot be listened to; links are read now and then"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_expression_that_matches_no_link_names_those_there_are() {
        let (to, _messages) = mpsc::channel(1);
        let error = watch(vec![LinkPattern::parse("nolink[0-9]").unwrap()], to).await.unwrap_err().to_string();
        assert!(error.contains("nolink[0-9]") && error.contains("lo"), "{error}");
    }
}
