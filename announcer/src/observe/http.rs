//! `/metrics`, `/healthz` and `/readyz` of `--listen`.

use std::{future::Future, net::SocketAddr};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::net::TcpListener;

use super::{Observer, Query};

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {listen} for metrics and health: {source}; choose another address with --listen")]
pub struct ListenError {
    listen: SocketAddr,
    source: std::io::Error,
}

/// Listens on `listen` and gives the server to be run.
///
/// # Errors
/// The address is taken or not this machine's.
pub async fn serve(
    listen: SocketAddr,
    observer: Observer,
) -> Result<impl Future<Output = std::io::Result<()>>, ListenError> {
    let socket = TcpListener::bind(listen).await.map_err(|source| ListenError { listen, source })?;
    let app = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|State(o): State<Observer>| async move { verdict(o.health.alive()) }))
        .route("/readyz", get(|State(o): State<Observer>| async move { verdict(o.health.ready()) }))
        .with_state(observer);
    Ok(axum::serve(socket, app).into_future())
}

async fn metrics(State(observer): State<Observer>) -> Response {
    let readings = match observer.ask(Query::Readings).await {
        Ok(readings) => readings,
        Err(error) => return unavailable(&error),
    };
    match observer.metrics.encode(readings) {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => unavailable(&error),
    }
}

fn verdict(verdict: Result<(), String>) -> Response {
    match verdict {
        Ok(()) => "ok\n".into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

fn unavailable(error: &dyn std::error::Error) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response()
}
