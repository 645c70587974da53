//! Where requests of the web listener come in: page views of brands' websites go straight to the badge, all else through the table
//! of routes.
//!
//! A look-up in the table copies the path's parts and boxes what it finds, for each request; that would be a tenth of what an
//! answer from memory costs.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use tower_service::Service;

use super::State;
use super::badge::{PageView, express};

#[derive(Clone)]
pub struct Entrance {
    state: State,
    routes: Router,
}

impl Entrance {
    pub fn new(state: State) -> Self {
        let routes = super::router(state.clone());
        Self { state, routes }
    }
}

impl Service<Request> for Entrance {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match PageView::of(&request) {
            Some(view) => {
                let state = self.state.clone();
                Box::pin(async move { Ok(express(&state, view, request).await) })
            }
            None => Box::pin(self.routes.call(request)),
        }
    }
}
