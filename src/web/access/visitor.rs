//! Whoever comes to log in: where from, and with which browser.

use std::convert::Infallible;
use std::net::IpAddr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};

use super::{Access, AppState, session};
use crate::control::known;
use crate::domain::device;
use crate::hashing;
use crate::web::client::ClientAddress;

/// A request of somebody who wants to come in, or to show once more who they are.
pub struct Visitor {
    pub from: IpAddr,
    pub headers: HeaderMap,
}

impl FromRequestParts<AppState> for Visitor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Infallible> {
        let ClientAddress(from) = ClientAddress::from_request_parts(parts, state).await?;
        let headers = parts.headers.clone();
        Ok(Self { from, headers })
    }
}

impl Visitor {
    /// The browser in plain words.
    pub fn browser(&self) -> String {
        let agent = self.headers.get(header::USER_AGENT);
        device::device(
            agent
                .and_then(|agent| agent.to_str().ok())
                .unwrap_or_default(),
        )
    }

    /// The hash of the token by which this browser is known to the person of this name, if there is one.
    pub fn device(&self, access: &Access, name: &str) -> Option<[u8; 32]> {
        session::cookie(&self.headers, &cookie_name(access, name)).map(hashing::digest)
    }
}

/// One cookie for each person, so that people who share a browser do not take it from each other. It lets nobody in.
fn cookie_name(access: &Access, name: &str) -> String {
    let prefix = if access.secure { "__Host-" } else { "" };
    let [a, b, c, d, ..] = hashing::digest(&format!("device {name}"));
    let person = u32::from_be_bytes([a, b, c, d]);
    format!("{prefix}unread-device-{person:08x}")
}

/// `Set-Cookie` for a device that is known from now on.
pub fn set_device(access: &Access, name: &str, token: &str) -> HeaderValue {
    let age = u32::try_from(known::DEVICE_FOR.num_seconds()).ok();
    session::header_of(access, &cookie_name(access, name), token, age)
}
