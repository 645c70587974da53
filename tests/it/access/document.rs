//! The config API keeps to its document: what it answers to sense is checked wherever the tests ask ([`keeps_to`]), what it
//! answers to nonsense here.

use axum::http::Method;
use serde_json::{Value, json};
use std::sync::OnceLock;
use unread::domain::access::Permission;

use crate::harness::{TestApp, run_test};
use crate::person::{Answer, Program};

static DOCUMENT: OnceLock<Value> = OnceLock::new();

/// The API's document, which is the same on every stage.
pub async fn document(http: &reqwest::Client, web: &str) -> &'static Value {
    if let Some(document) = DOCUMENT.get() {
        return document;
    }
    let answer = http.get(format!("{web}/api/v1/openapi.json")).send().await;
    let document = answer.unwrap().json().await.unwrap();
    DOCUMENT.get_or_init(|| document)
}

/// Panics if an operation's answer is not one that the document names.
pub fn keeps_to(document: &Value, method: &Method, path: &str, answer: &Answer) {
    let asked = format!("/api/v1{}", path.split('?').next().unwrap_or_default());
    let paths = document["paths"].as_object().unwrap();
    let fits = |pattern: &str| {
        let (pattern, asked) = (pattern.split('/'), asked.split('/'));
        pattern.clone().count() == asked.clone().count()
            && pattern
                .zip(asked)
                .all(|(p, a)| p == a || p.starts_with('{'))
    };
    // A word of its own goes before a parameter: `/rules/check` is not the rule "check".
    let item = paths.get(&asked).or_else(|| {
        let mut found = paths.iter().filter(|(pattern, _)| fits(pattern));
        found.next().map(|(_, item)| item)
    });
    let operation = item.map(|item| &item[method.as_str().to_lowercase()]);
    let Some(operation) = operation.filter(|operation| operation.is_object()) else {
        assert!(
            matches!(answer.status.as_u16(), 404 | 405),
            "{method} {path} is not in the document: {answer:?}"
        );
        return;
    };
    let status = answer.status.as_str();
    let described = &operation["responses"][status];
    assert!(
        described.is_object(),
        "{method} {path}: {status} is not in the document: {answer:?}"
    );
    let kind = answer.headers.get("content-type");
    let kind = kind.map(|kind| kind.to_str().unwrap().split(';').next().unwrap());
    let kinds = described["content"].as_object();
    let in_document = match kind {
        Some(kind) => kinds.is_some_and(|kinds| kinds.contains_key(kind)),
        None => kinds.is_none() && answer.text.is_empty(),
    };
    assert!(
        in_document,
        "{method} {path}: {status} as {kind:?} is not in the document: {answer:?}"
    );
}

/// Writes the document for `scripts/openapi`.
#[tokio::test]
#[ignore = "writes a file"]
async fn write_the_document() {
    run_test(async |t| {
        let document = document(&t.http, &t.web).await;
        let file = std::env::var_os("OPENAPI_FILE").expect("OPENAPI_FILE says where to");
        std::fs::write(file, document.to_string()).unwrap();
    })
    .await;
}

/// Words that fit nothing, or hardly anything.
static ODD: [&str; 9] = [
    "",
    "0",
    "-1",
    "nonsense",
    "99999999999999999999",
    "9223372036854775807",
    "%00",
    "%FF",
    "%F0%9F%90%88",
];

/// What is sent instead of a body that fits, with the kind it says it is.
static BODIES: [(&str, &str); 9] = [
    ("application/json", ""),
    ("application/json", "{"),
    ("application/json", "null"),
    ("application/json", "[]"),
    ("application/json", "7"),
    ("application/json", "{\"nonsense\":{}}"),
    ("application/json", "{\"account\":\"a\\u0000b\"}"),
    ("application/json; charset=utf-8", "\u{1F408}"),
    ("text/plain", "{}"),
];

/// The parameters of an operation that are in this place.
fn parameters<'a>(operation: &'a Value, place: &str) -> Vec<&'a str> {
    let all = operation["parameters"].as_array().into_iter().flatten();
    let here = all.filter(|parameter| parameter["in"] == place);
    here.map(|parameter| parameter["name"].as_str().unwrap())
        .collect()
}

/// The pattern with this word for each of its parameters.
fn filled(pattern: &str, word: &str) -> String {
    let pattern = pattern.strip_prefix("/api/v1").unwrap();
    let parts = pattern
        .split('/')
        .map(|part| if part.starts_with('{') { word } else { part });
    parts.collect::<Vec<_>>().join("/")
}

/// An object with every field that the body's schema has, each of another type than it says.
fn of_wrong_types(document: &Value, operation: &Value) -> Value {
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    let name = schema["$ref"].as_str().unwrap_or_default();
    let name = name.rsplit('/').next().unwrap_or_default();
    let fields = &document["components"]["schemas"][name]["properties"];
    let fields = fields.as_object().into_iter().flatten();
    fields
        .map(|(name, schema)| {
            let is_text = schema.to_string().contains("\"string\"");
            let wrong = if is_text { json!(7) } else { json!("x") };
            (name.clone(), wrong)
        })
        .collect()
}

#[tokio::test]
async fn to_nonsense_every_operation_answers_as_its_document_says() {
    run_test(async |t| {
        let document = document(&t.http, &t.web).await;
        for (pattern, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let method: Method = method.to_uppercase().parse().unwrap();
                // Anew for every operation: it is not the limit that is tried here.
                let program = t.program(&Permission::ALL).await;
                nonsense(&program, document, (&method, pattern, operation)).await;
            }
            another_method(t, pattern, item).await;
        }
    })
    .await;
}

async fn nonsense(
    program: &Program,
    document: &Value,
    (method, pattern, operation): (&Method, &str, &Value),
) {
    let ask = async |path: &str, seen: Option<&str>, body: Option<(&str, &str)>| {
        let mut ask = program.ask(method.clone(), path);
        if let Some(seen) = seen {
            ask = ask.header("if-match", seen);
        }
        if let Some((kind, body)) = body {
            ask = ask.header("content-type", kind).body(body.to_owned());
        }
        let answer = Answer::of(ask.send().await.unwrap()).await;
        keeps_to(document, method, path, &answer);
        let status = answer.status;
        assert!(!status.is_server_error(), "{method} {path}: {answer:?}");
        status.as_u16()
    };
    let is_safe = method.is_safe();
    let body = operation["requestBody"].is_object();
    let words: &[&str] = if pattern.contains('{') {
        &ODD[1..]
    } else {
        &["1"]
    };
    for word in words {
        let path = filled(pattern, word);
        let given = body.then_some(("application/json", "{}"));
        ask(&path, None, given).await;
        for seen in ["nonsense", "\"v0-d0\"", "\"v9-d9999999999\""] {
            ask(&path, Some(seen), given).await;
        }
    }
    let path = filled(pattern, "1");
    for name in parameters(operation, "query").into_iter().chain(["colour"]) {
        for word in ODD {
            let status = ask(&format!("{path}?{name}={word}"), None, None).await;
            assert!(
                name != "colour"
                    || !is_safe
                    || parameters(operation, "query").is_empty()
                    || status == 400,
                "{method} {path}: an unknown parameter is refused, not {status}"
            );
        }
    }
    if body {
        let wrong = of_wrong_types(document, operation).to_string();
        let wrong = ("application/json", wrong.as_str());
        for body in BODIES.iter().copied().chain([wrong]) {
            let status = ask(&path, Some("\"v0-d0\""), Some(body)).await;
            assert!(
                matches!(status, 400..=499),
                "{method} {path}: {body:?} is refused, not {status}"
            );
        }
    }
}

/// A method that the document does not name is not allowed, and the answer says which are.
async fn another_method(t: &TestApp, pattern: &str, item: &Value) {
    let program = t.program(&Permission::ALL).await;
    for method in [
        Method::GET,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
        Method::TRACE,
    ] {
        if item[method.as_str().to_lowercase()].is_object() {
            continue;
        }
        let answer = program.ask(method.clone(), &filled(pattern, "1")).send();
        let answer = Answer::of(answer.await.unwrap()).await;
        assert_eq!(answer.status, 405, "{method} {pattern}: {answer:?}");
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        let allowed = answer.headers["allow"].to_str().unwrap();
        for named in item.as_object().unwrap().keys() {
            let named = named.to_uppercase();
            assert!(
                allowed.split(',').any(|one| one.trim() == named),
                "{pattern}: {named} is not in {allowed}"
            );
        }
    }
}
