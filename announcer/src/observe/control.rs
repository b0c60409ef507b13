//! The control socket: JSON over HTTP on a unix socket in the run directory, for the commands on this node.

use std::{
    future::Future,
    io::{self, Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{net::UnixListener, sync::oneshot};

use super::{Observer, Query};

/// Paths of the control socket.
pub mod path {
    /// [`super::super::status::Status`].
    pub const STATUS: &str = "/v1/status";
    /// List of [`super::super::status::VipStatus`].
    pub const VIPS: &str = "/v1/vips";
    /// List of [`super::super::status::ServiceStatus`].
    pub const SERVICES: &str = "/v1/services";
}

/// Why a command got no answer; each names the socket and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error(
        "no agent answers on {socket}: {source}; is `announcer agent` running on this node, and with this --run-dir?"
    )]
    NoAgent { socket: PathBuf, source: io::Error },
    #[error("not allowed to use {socket}: run this as root, or as the user that runs the agent")]
    NotAllowed { socket: PathBuf },
    #[error("the agent broke off its answer on {socket}: {source}; see its log")]
    Broken { socket: PathBuf, source: io::Error },
    #[error("the agent on {socket} answered: {message}")]
    Refused { socket: PathBuf, message: String },
    #[error(
        "the agent's answer on {socket} cannot be read: {message}; this command is version {}, is the agent of the same?",
        env!("CARGO_PKG_VERSION")
    )]
    Unreadable { socket: PathBuf, message: String },
    #[error("cannot make the control socket {socket}: {source}; choose another --run-dir")]
    Bind { socket: PathBuf, source: io::Error },
}

/// Makes the socket (one that a dead agent left is replaced: the caller holds the run directory's lock) and gives the
/// server to be run.
///
/// # Errors
/// [`ControlError::Bind`].
pub fn serve(socket: &Path, observer: Observer) -> Result<impl Future<Output = io::Result<()>> + use<>, ControlError> {
    let bind = || -> io::Result<UnixListener> {
        match std::fs::remove_file(socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(socket)?;
        // It tells of Services that not every user of the node may list.
        std::fs::set_permissions(socket, PermissionsExt::from_mode(0o600))?;
        Ok(listener)
    };
    let listener = bind().map_err(|source| ControlError::Bind { socket: socket.to_owned(), source })?;
    let app = Router::new()
        .route(path::STATUS, get(|State(o): State<Observer>| answer(o, Query::Status)))
        .route(path::VIPS, get(|State(o): State<Observer>| answer(o, Query::Vips)))
        .route(path::SERVICES, get(|State(o): State<Observer>| answer(o, Query::Services)))
        .with_state(observer);
    Ok(axum::serve(listener, app).into_future())
}

async fn answer<T: Serialize>(observer: Observer, query: impl FnOnce(oneshot::Sender<T>) -> Query) -> Response {
    match observer.ask(query).await {
        Ok(value) => Json(value).into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
    }
}

/// Asks the agent behind `socket`; waits for 10 s at most.
///
/// # Errors
/// Every variant of [`ControlError`] but `Bind`.
pub fn ask<T: DeserializeOwned>(socket: &Path, path: &str) -> Result<T, ControlError> {
    let owned = || socket.to_owned();
    let mut stream = UnixStream::connect(socket).map_err(|source| match source.kind() {
        io::ErrorKind::PermissionDenied => ControlError::NotAllowed { socket: owned() },
        _ => ControlError::NoAgent { socket: owned(), source },
    })?;
    // HTTP/1.0: no chunks, and the end of the stream ends the answer.
    let exchange = |stream: &mut UnixStream| -> io::Result<String> {
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: announcer\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    let text = exchange(&mut stream).map_err(|source| ControlError::Broken { socket: owned(), source })?;
    let unreadable = |message: String| ControlError::Unreadable { socket: owned(), message };
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| unreadable("no HTTP answer".to_owned()))?;
    let code = head.split_whitespace().nth(1).unwrap_or_default();
    match code {
        "200" => serde_json::from_str(body).map_err(|error| unreadable(error.to_string())),
        "404" => Err(unreadable(format!("it does not know {path}"))),
        _ => Err(ControlError::Refused { socket: owned(), message: body.trim().to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::mpsc;

    use super::*;
    use crate::observe::{
        health::Health,
        metrics::Metrics,
        status::{Status, VipStatus},
    };

    fn observer(queries: mpsc::Sender<Query>) -> Observer {
        Observer { queries, health: Arc::new(Health::default()), metrics: Arc::new(Metrics::default()) }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_command_gets_the_loops_answer() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("control.sock");
        let (sender, mut queries) = mpsc::channel(1);
        tokio::spawn(serve(&socket, observer(sender)).unwrap());
        tokio::spawn(async move {
            while let Some(query) = queries.recv().await {
                if let Query::Status(answer) = query {
                    drop(answer.send(Status { node: "n1".to_owned(), ..Status::default() }));
                }
            }
        });
        let path = socket.clone();
        let status = tokio::task::spawn_blocking(move || ask::<Status>(&path, path::STATUS)).await.unwrap().unwrap();
        assert_eq!(status.node, "n1");
        // A question that the loop drops is answered with a reason, not left hanging.
        let refused = tokio::task::spawn_blocking(move || ask::<Vec<VipStatus>>(&socket, path::VIPS)).await.unwrap();
        assert!(matches!(refused, Err(ControlError::Refused { .. })), "{refused:?}");
    }

    #[tokio::test]
    async fn a_socket_that_a_dead_agent_left_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("control.sock");
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        let (sender, _queries) = mpsc::channel(1);
        assert!(serve(&socket, observer(sender)).is_ok());
    }

    #[test]
    fn without_an_agent_the_message_names_the_socket_and_the_remedy() {
        let error = ask::<Status>(Path::new("/nowhere/control.sock"), path::STATUS).unwrap_err().to_string();
        assert!(error.contains("/nowhere/control.sock") && error.contains("--run-dir"), "{error}");
    }
}
