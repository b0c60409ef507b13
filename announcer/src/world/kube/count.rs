//! Counts the requests to the API server where all of them pass.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use axum::http::{Method, Request, Response, StatusCode};
use futures::{FutureExt, future::BoxFuture};
use tower_service::Service;

/// Told of each request when its answer begins: the method, and the answer's code; None: there was no answer.
pub type Count = Arc<dyn Fn(&Method, Option<StatusCode>) + Send + Sync>;

/// A client's stack with a counter on top.
#[derive(Clone)]
pub(super) struct Counted<S> {
    pub(super) inner: S,
    pub(super) count: Count,
}

impl<S> fmt::Debug for Counted<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counted").finish_non_exhaustive()
    }
}

impl<S, A, B> Service<Request<A>> for Counted<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let (method, count) = (request.method().clone(), Arc::clone(&self.count));
        let answer = self.inner.call(request);
        answer.inspect(move |answer| count(&method, answer.as_ref().ok().map(Response::status))).boxed()
    }
}
