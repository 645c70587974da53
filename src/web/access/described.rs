//! What the guards do for every operation of the config API, in the words of its document.

use utoipa::openapi::path::{
    HttpMethod, Operation, Parameter, ParameterBuilder, ParameterIn, PathItem,
};
use utoipa::openapi::schema::Type;
use utoipa::openapi::{
    ContentBuilder, ObjectBuilder, Ref, RefOr, Required, Response, ResponseBuilder,
    SecurityRequirement,
};

use super::RouteAccess;
use crate::domain::access::Permission;

/// Adds to each operation of an item what the frame does for it: the scope it needs and the problems it can answer. Returns the
/// methods.
///
/// `repeats`: whether an `Idempotency-Key` does anything for its posts.
pub fn complete(
    item: &mut PathItem,
    path: &str,
    needs: RouteAccess,
    repeats: bool,
) -> Vec<HttpMethod> {
    let mut methods = Vec::new();
    for (method, operation) in operations(item) {
        let Some(operation) = operation else { continue };
        operation.security = Some(security(needs));
        if method == HttpMethod::Post && repeats {
            let parameters = operation.parameters.get_or_insert_default();
            parameters.push(idempotency_key());
        }
        for (status, what) in problems(&method, operation, path) {
            let responses = &mut operation.responses.responses;
            responses
                .entry(status.to_owned())
                .or_insert_with(|| RefOr::T(problem(what)));
        }
        // A handler says what a problem of its own means; what it looks like is the same for all.
        for (status, response) in &mut operation.responses.responses {
            if let RefOr::T(response) = response
                && status.starts_with(['4', '5'])
            {
                response.content = problem("").content;
            }
        }
        methods.push(method);
    }
    methods
}

fn security(needs: RouteAccess) -> Vec<SecurityRequirement> {
    let of = |scheme: &str, permission: Permission| {
        SecurityRequirement::new(scheme, [permission.as_str()])
    };
    match needs {
        RouteAccess::Nothing => Vec::new(),
        RouteAccess::Person(permission) | RouteAccess::Session(permission) => {
            vec![of("session", permission)]
        }
        RouteAccess::Caller(permission) => vec![of("token", permission), of("session", permission)],
    }
}

fn operations(item: &mut PathItem) -> [(HttpMethod, &mut Option<Operation>); 5] {
    [
        (HttpMethod::Get, &mut item.get),
        (HttpMethod::Post, &mut item.post),
        (HttpMethod::Put, &mut item.put),
        (HttpMethod::Patch, &mut item.patch),
        (HttpMethod::Delete, &mut item.delete),
    ]
}

/// What can go wrong with any operation of this shape.
fn problems(
    method: &HttpMethod,
    operation: &Operation,
    path: &str,
) -> Vec<(&'static str, &'static str)> {
    let parameters = operation.parameters.iter().flatten();
    let has_parameters = parameters.clone().next().is_some();
    let has_version = parameters
        .clone()
        .any(|p| p.parameter_in == ParameterIn::Header && p.name.eq_ignore_ascii_case("if-match"));
    let mut problems = vec![
        ("401", "Not logged in, and no valid token"),
        ("403", "The caller may not do this"),
        (
            "429",
            "Too many requests; `Retry-After` says when to continue",
        ),
        ("500", "Something went wrong on our side"),
        ("503", "A service that is needed does not respond"),
    ];
    if has_parameters {
        problems.push(("400", "A parameter is not valid"));
    }
    if *method == HttpMethod::Post {
        problems.extend([
            ("409", "Its state does not allow it, or a request with this `Idempotency-Key` is in progress"),
            ("413", "The body is too long"),
            ("422", "The `Idempotency-Key` belongs to another request, or the input has errors"),
        ]);
    }
    if path.contains('{') {
        problems.push(("404", "Not found"));
    }
    if operation.request_body.is_some() {
        problems.extend([
            ("400", "The body is not valid"),
            ("413", "The body is too long"),
            ("415", "The body has the wrong media type"),
            ("422", "The input has errors; each is listed"),
        ]);
    }
    if has_version {
        problems.extend([
            (
                "412",
                "Someone else has changed it in the meantime; nothing was overwritten",
            ),
            ("428", "`If-Match` is missing"),
        ]);
    }
    problems
}

fn idempotency_key() -> Parameter {
    let words = ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(200))
        .pattern(Some("^[!-~]+$"))
        .build();
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some("Sent again with the same key within a day, the request is not repeated: the first answer is returned again"))
        .schema(Some(words))
        .build()
}

fn problem(what: &str) -> Response {
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Problem")))
        .build();
    ResponseBuilder::new()
        .description(what)
        .content("application/problem+json", content)
        .build()
}
