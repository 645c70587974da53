//! The table of routes: every page, form and API route with what it needs, and from the same rows the API's document.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get, post};
use utoipa::openapi::RefOr;
use utoipa::openapi::path::{HttpMethod, Paths};
use utoipa::openapi::schema::Schema;
use utoipa_axum::router::UtoipaMethodRouter;

use super::described::complete;
use super::guard::{self, Guard};
use crate::domain::access::Permission;
use crate::web::{AppState, MAX_BODY};

/// Where the config API begins.
pub const API_ROOT: &str = "/api/v1";

/// What a route needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteAccess {
    /// Nobody has to be logged in: the login itself, scripts and styles.
    Nothing,
    /// A person who is logged in and may do this.
    Person(Permission),
    /// A person, or a program with a token of this scope.
    Caller(Permission),
    /// A person who is logged in and may do this, at the config API: it gives access, so no token will do.
    Session(Permission),
}

/// A row of the table.
#[derive(Clone, Debug)]
pub struct Route {
    pub method: Method,
    pub path: String,
    pub needs: RouteAccess,
}

/// Routes in the making.
pub struct RouteTable {
    state: AppState,
    router: Router<AppState>,
    rows: Vec<Route>,
    /// The API's part of them, for its document.
    pub paths: Paths,
    pub schemas: Vec<(String, RefOr<Schema>)>,
}

impl RouteTable {
    pub fn new(state: AppState) -> Self {
        Self {
            state,
            router: Router::new(),
            rows: Vec::new(),
            paths: Paths::new(),
            schemas: Vec::new(),
        }
    }

    /// A page that a person who may do this can look at.
    pub fn page<H, T>(&mut self, needs: Permission, path: &str, handler: H)
    where
        H: Handler<T, AppState>,
        T: 'static,
    {
        self.person(needs, MAX_BODY, Method::GET, path, get(handler));
    }

    /// A form of a page, which posts to `path`.
    pub fn form<H, T>(&mut self, needs: Permission, path: &str, handler: H)
    where
        H: Handler<T, AppState>,
        T: 'static,
    {
        self.long_form(needs, MAX_BODY, path, handler);
    }

    /// A form whose body may have `most` bytes.
    pub fn long_form<H, T>(&mut self, needs: Permission, most: usize, path: &str, handler: H)
    where
        H: Handler<T, AppState>,
        T: 'static,
    {
        self.person(needs, most, Method::POST, path, post(handler));
    }

    fn person(
        &mut self,
        needs: Permission,
        most: usize,
        method: Method,
        path: &str,
        handler: MethodRouter<AppState>,
    ) {
        let guard = self.guard(needs, most);
        let guarded = handler
            .layer(DefaultBodyLimit::max(most))
            .route_layer(from_fn_with_state(guard, guard::page));
        self.add(method, path.to_owned(), RouteAccess::Person(needs), guarded);
    }

    /// A page or a form that needs nobody to be logged in. It says of nobody anything.
    pub fn open(&mut self, method: Method, path: &str, handler: MethodRouter<AppState>) {
        let guarded = handler.route_layer(from_fn_with_state(self.state.clone(), guard::open));
        self.add(method, path.to_owned(), RouteAccess::Nothing, guarded);
    }

    /// Handlers of the config API, below [`API_ROOT`], as `routes!(…)` collects them with their descriptions. The name of a
    /// handler is its operation's id, so it is unique among all.
    pub fn api(&mut self, needs: Permission, routes: UtoipaMethodRouter<AppState>) {
        self.long_api(needs, MAX_BODY, routes);
    }

    /// A handler of the config API that changes nothing, though it is posted to because what is asked does not belong into an address.
    pub fn api_question(&mut self, needs: Permission, routes: UtoipaMethodRouter<AppState>) {
        let guard = Guard {
            changes: false,
            ..self.guard(needs, MAX_BODY)
        };
        self.api_behind(guard, routes);
    }

    /// A handler of the config API that gives somebody access: people, passwords, tokens. Programs are refused, whatever their
    /// scopes: else a token that is lost or expires has long made another way in.
    pub fn api_of_people(&mut self, needs: Permission, routes: UtoipaMethodRouter<AppState>) {
        let guard = Guard {
            people_only: true,
            ..self.guard(needs, MAX_BODY)
        };
        self.api_behind(guard, routes);
    }

    /// A handler as of [`RouteTable::api`], with bodies of up to `most` bytes.
    pub fn long_api(
        &mut self,
        needs: Permission,
        most: usize,
        routes: UtoipaMethodRouter<AppState>,
    ) {
        self.api_behind(self.guard(needs, most), routes);
    }

    fn api_behind(
        &mut self,
        guard: Guard,
        (schemas, paths, handler): UtoipaMethodRouter<AppState>,
    ) {
        let changes = guard.changes;
        let needs = if guard.people_only {
            RouteAccess::Session(guard.needs)
        } else {
            RouteAccess::Caller(guard.needs)
        };
        self.schemas.extend(schemas);
        let mut handler = Some(
            handler
                .layer(DefaultBodyLimit::max(guard.most))
                .route_layer(from_fn_with_state(guard, guard::api)),
        );
        for (path, mut item) in paths.paths {
            let path = format!("{API_ROOT}{path}");
            for method in complete(&mut item, &path, needs, changes) {
                let row = Route {
                    method: method_of(&method),
                    path: path.clone(),
                    needs,
                };
                self.rows.push(row);
            }
            if let Some(handler) = handler.take() {
                let router = std::mem::take(&mut self.router);
                self.router = router.route(&path, handler);
            }
            match self.paths.paths.get_mut(&path) {
                Some(there) => there.merge_operations(item),
                None => {
                    self.paths.paths.insert(path, item);
                }
            }
        }
    }

    fn guard(&self, needs: Permission, most: usize) -> Guard {
        Guard {
            state: self.state.clone(),
            needs,
            changes: true,
            people_only: false,
            most,
        }
    }

    fn add(
        &mut self,
        method: Method,
        path: String,
        needs: RouteAccess,
        handler: MethodRouter<AppState>,
    ) {
        let router = std::mem::take(&mut self.router);
        self.router = router.route(&path, handler);
        self.rows.push(Route {
            method,
            path,
            needs,
        });
    }

    pub fn finish(self) -> (Router<AppState>, Vec<Route>) {
        (self.router, self.rows)
    }
}

fn method_of(method: &HttpMethod) -> Method {
    match method {
        HttpMethod::Get => Method::GET,
        HttpMethod::Post => Method::POST,
        HttpMethod::Put => Method::PUT,
        HttpMethod::Delete => Method::DELETE,
        HttpMethod::Patch => Method::PATCH,
        HttpMethod::Head => Method::HEAD,
        HttpMethod::Options => Method::OPTIONS,
        HttpMethod::Trace => Method::TRACE,
    }
}
