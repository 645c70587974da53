//! Where requests of the web listener come in: page views of brands' websites go straight to the badge, all else through the table
//! of routes.
//!
//! A look-up in the table copies the path's parts and boxes what it finds, for each request; that would be a tenth of what an
//! answer from memory costs. For the same reason who is at the other end is known to the connection and not put into each request,
//! and what memory knows is answered without a future of its own.

use std::future::ready;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use futures_util::future::Either;
use tower_service::Service as _;

use super::AppState;
use super::badge::{PageView, express, from_memory};
use super::connections::{Door, ResponseFuture};

/// Answers what is asked on the web listener.
#[derive(Clone)]
pub struct FastPath {
    state: AppState,
    routes: Router,
}

impl FastPath {
    pub fn new(state: AppState) -> Self {
        let routes = super::router(state.clone());
        Self { state, routes }
    }
}

impl Door for FastPath {
    fn answer(&self, peer: SocketAddr, request: Request) -> ResponseFuture {
        let (mut parts, body) = request.into_parts();
        let Some(view) = PageView::of(&parts.method, &parts.uri) else {
            parts.extensions.insert(ConnectInfo(peer));
            let request = Request::from_parts(parts, body);
            return Either::Right(Box::pin(self.routes.clone().call(request)));
        };
        if let Some(response) = from_memory(&self.state, view, peer.ip(), &mut parts.headers) {
            return Either::Left(ready(Ok(response)));
        }
        let state = self.state.clone();
        Either::Right(Box::pin(async move {
            Ok(express(&state, peer.ip(), parts).await)
        }))
    }
}
