//! Where requests of the web listener come in: page views of brands' websites go straight to the badge, all else through the table
//! of routes.
//!
//! A look-up in the table copies the path's parts and boxes what it finds, for each request; that would be a tenth of what an
//! answer from memory costs. For the same reason who is at the other end is known to the connection and not put into each request,
//! and what memory knows is answered without a future of its own.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use axum::serve::{IncomingStream, Listener};
use futures_util::future::Either;
use tower_service::Service;

use super::State;
use super::badge::{PageView, express, from_memory};

/// Lets connections in.
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

impl<L: Listener<Addr = SocketAddr>> Service<IncomingStream<'_, L>> for Entrance {
    type Response = Visit;
    type Error = Infallible;
    type Future = Ready<Result<Visit, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, connection: IncomingStream<'_, L>) -> Self::Future {
        ready(Ok(Visit {
            entrance: self.clone(),
            peer: *connection.remote_addr(),
        }))
    }
}

/// A connection: answers its requests.
#[derive(Clone)]
pub struct Visit {
    entrance: Entrance,
    peer: SocketAddr,
}

type Later = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

impl Service<Request> for Visit {
    type Response = Response;
    type Error = Infallible;
    type Future = Either<Ready<Result<Response, Infallible>>, Later>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let (state, peer) = (&self.entrance.state, self.peer);
        let Some(view) = PageView::of(&request) else {
            request.extensions_mut().insert(ConnectInfo(peer));
            return Either::Right(Box::pin(self.entrance.routes.call(request)));
        };
        if let Some(response) = from_memory(state, view, peer.ip(), &request) {
            return Either::Left(ready(Ok(response)));
        }
        let state = state.clone();
        Either::Right(Box::pin(async move {
            Ok(express(&state, view, peer.ip(), request).await)
        }))
    }
}
