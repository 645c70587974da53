//! Somebody who is logged in to the dashboard, and a program with a token: what they ask for and what they are answered.

use reqwest::{Method, Response, StatusCode};
use serde_json::Value;
use sqlx::PgPool;
use unread::clock::Clock;
use unread::control::{logins, tokens};
use unread::db;
use unread::db::tokens::TokenInsert;
use unread::domain::access::{AccountLimit, Permission, Rights};
use unread::hashing;

use chrono::TimeDelta;

use crate::access::document::{document, keeps_to};

/// A person with a session.
pub struct Person {
    pub id: i64,
    pub name: String,
    pub cookie: String,
    http: reqwest::Client,
    web: String,
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    pub async fn of(response: Response) -> Self {
        Self {
            status: response.status(),
            headers: response.headers().clone(),
            text: response.text().await.unwrap(),
        }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// Where it leads on.
    pub fn location(&self) -> &str {
        self.headers["location"].to_str().unwrap()
    }
}

impl Person {
    /// Adds a person with these rights, who is logged in without having had to.
    pub async fn new(
        pool: &PgPool,
        clock: &Clock,
        http: &reqwest::Client,
        web: &str,
        rights: &Rights,
    ) -> Self {
        let role = rights.role();
        let name = format!("{role}{}", rand::random::<u32>());
        let now = clock.now();
        let mut conn = pool.acquire().await.unwrap();
        let id = db::users::add(&mut conn, &name, role, None, now).await;
        let id = id.unwrap().unwrap();
        db::users::set_rights(&mut conn, id, rights).await.unwrap();
        drop(conn);
        let lasts = TimeDelta::hours(12);
        let token = logins::open_session(pool, id, (None, ""), lasts, now).await;
        Self {
            id,
            name,
            cookie: format!("unread={}", token.unwrap().expose()),
            http: http.clone(),
            web: web.to_owned(),
        }
    }

    /// A request as this person's browser makes it on a page of ours.
    pub fn ask(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.web))
            .header("cookie", &self.cookie)
            .header("sec-fetch-site", "same-origin")
    }

    pub async fn get(&self, path: &str) -> Answer {
        Answer::of(self.ask(Method::GET, path).send().await.unwrap()).await
    }

    /// The word that this person's forms carry.
    pub async fn csrf(&self) -> String {
        let page = self.get("/activity").await.text;
        let (_, rest) = page.split_once("name=\"csrf\" content=\"").expect("a page");
        rest.split('"').next().unwrap().to_owned()
    }

    /// Sends a form of a page.
    pub async fn form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let csrf = self.csrf().await;
        let mut fields = fields.to_vec();
        fields.push(("csrf", &csrf));
        let sent = self.ask(Method::POST, path).form(&fields).send().await;
        Answer::of(sent.unwrap()).await
    }

    /// Calls the config API as a script of a page does.
    pub async fn api(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let mut ask = self.ask(method.clone(), &format!("/api/v1{path}"));
        ask = ask.header("x-csrf-token", self.csrf().await);
        if let Some(body) = body {
            ask = ask.json(body);
        }
        let answer = Answer::of(ask.send().await.unwrap()).await;
        keeps_to(
            document(&self.http, &self.web).await,
            &method,
            path,
            &answer,
        );
        answer
    }
}

/// A program with a token.
pub struct Program {
    pub id: i64,
    pub token: String,
    http: reqwest::Client,
    web: String,
}

impl Program {
    pub async fn new(
        pool: &PgPool,
        clock: &Clock,
        http: &reqwest::Client,
        web: &str,
        scopes: &[Permission],
    ) -> Self {
        let name = format!("program {}", rand::random::<u32>());
        let token = format!("{}{}", tokens::PREFIX, hashing::token());
        // Nobody's, as those made before tokens belonged to people: its scopes alone count.
        let new = TokenInsert {
            name: &name,
            token_hash: &hashing::digest(&token),
            scopes,
            accounts: &AccountLimit::NONE,
            created_by: "test",
            owner: None,
            expires_at: None,
        };
        let mut conn = pool.acquire().await.unwrap();
        let id = db::tokens::add(&mut conn, &new, clock.now()).await;
        Self {
            id: id.unwrap().unwrap(),
            token,
            http: http.clone(),
            web: web.to_owned(),
        }
    }

    pub fn ask(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http
            .request(method, format!("{}/api/v1{path}", self.web))
            .bearer_auth(&self.token)
    }

    pub async fn get(&self, path: &str) -> Answer {
        let sent = self.ask(Method::GET, path).send().await;
        self.read(&Method::GET, path, sent.unwrap()).await
    }

    pub async fn send(&self, method: Method, path: &str, body: &Value) -> Answer {
        let sent = self.ask(method.clone(), path).json(body).send().await;
        self.read(&method, path, sent.unwrap()).await
    }

    async fn read(&self, method: &Method, path: &str, sent: Response) -> Answer {
        let answer = Answer::of(sent).await;
        keeps_to(document(&self.http, &self.web).await, method, path, &answer);
        answer
    }
}
