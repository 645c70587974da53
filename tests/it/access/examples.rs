//! The document is for programs that make clients of it: its defaults and examples are what its own schemas say, and every body that it
//! shows is one that is understood.

use reqwest::Method;
use serde_json::Value;
use unread::domain::access::{Permission, Role};

use super::document::document;
use crate::harness::run_test;

/// Where a value is not what its schema says. As much of JSON Schema as the document uses.
fn misfit(schemas: &Value, schema: &Value, value: &Value) -> Option<String> {
    let wrong = |what: &str| Some(format!("{value} is not {what}: {schema}"));
    if let Some(target) = schema["$ref"].as_str() {
        let name = target.rsplit('/').next().unwrap();
        return misfit(schemas, &schemas[name], value);
    }
    if let Some(kinds) = schema["oneOf"].as_array() {
        let fitting = kinds
            .iter()
            .filter(|kind| misfit(schemas, kind, value).is_none());
        return if fitting.count() == 1 {
            None
        } else {
            wrong("one of the kinds")
        };
    }
    if let Some(parts) = schema["allOf"].as_array() {
        return parts.iter().find_map(|part| misfit(schemas, part, value));
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        return wrong("one of the words");
    }
    let is = |kind: &str| match kind {
        "null" => value.is_null(),
        "string" => value.is_string(),
        "integer" => value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("no type {other}"),
    };
    let typed = match &schema["type"] {
        Value::String(kind) => is(kind),
        Value::Array(kinds) => kinds.iter().any(|kind| is(kind.as_str().unwrap())),
        _ => true,
    };
    if !typed {
        return wrong("of the type");
    }
    match value {
        Value::Number(number) => {
            let number = number.as_f64().unwrap();
            let least = schema["minimum"].as_f64().unwrap_or(f64::MIN);
            let most = schema["maximum"].as_f64().unwrap_or(f64::MAX);
            (!(least..=most).contains(&number)).then(|| wrong("within the bounds"))?
        }
        Value::String(text) => {
            let length = u64::try_from(text.chars().count()).unwrap();
            let least = schema["minLength"].as_u64().unwrap_or(0);
            let most = schema["maxLength"].as_u64().unwrap_or(u64::MAX);
            let moment = schema["format"] != "date-time"
                || chrono::DateTime::parse_from_rfc3339(text).is_ok();
            (!moment || !(least..=most).contains(&length)).then(|| wrong("of the shape"))?
        }
        Value::Array(items) => items
            .iter()
            .find_map(|item| misfit(schemas, &schema["items"], item)),
        Value::Object(fields) => {
            let required = schema["required"].as_array().into_iter().flatten();
            for name in required {
                if !fields.contains_key(name.as_str().unwrap()) {
                    return wrong(&format!("complete without {name}"));
                }
            }
            fields.iter().find_map(|(name, field)| {
                match (
                    schema["properties"].get(name),
                    &schema["additionalProperties"],
                ) {
                    (Some(known), _) => misfit(schemas, known, field),
                    (None, Value::Bool(false)) => wrong(&format!("allowed to have {name}")),
                    (None, other) if other.is_object() => misfit(schemas, other, field),
                    (None, _) => None,
                }
            })
        }
        Value::Bool(_) | Value::Null => None,
    }
}

/// Every schema of the document with a default or an example, wherever it stands.
fn told<'v>(place: &str, value: &'v Value, found: &mut Vec<(String, &'v Value, &'v Value)>) {
    match value {
        Value::Object(fields) => {
            let is_schema = fields.contains_key("type") || fields.contains_key("$ref");
            for word in ["default", "example"] {
                if let Some(told) = fields.get(word).filter(|_| is_schema) {
                    found.push((format!("{place}: {word}"), value, told));
                }
            }
            for (name, field) in fields.iter().filter(|(name, _)| *name != "example") {
                told(&format!("{place}/{name}"), field, found);
            }
        }
        Value::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                told(&format!("{place}/{n}"), item, found);
            }
        }
        _ => {}
    }
}

#[tokio::test]
async fn every_default_and_every_example_is_what_its_schema_says() {
    run_test(async |t| {
        let document = document(&t.http, &t.web).await;
        let schemas = &document["components"]["schemas"];
        let mut found = Vec::new();
        told("", schemas, &mut found);
        let defaults = found
            .iter()
            .filter(|(place, ..)| place.ends_with("default"));
        assert!(defaults.count() > 5, "{found:?}");
        for (place, schema, value) in found {
            assert_eq!(misfit(schemas, schema, value), None, "{place}");
        }
        let mut missing = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let parameters = operation["parameters"].as_array().into_iter().flatten();
                let mut shown: Vec<(String, &Value)> = parameters
                    .map(|p| (format!("{method} {path} {}", p["name"]), p))
                    .collect();
                let answers = operation["responses"].as_object().unwrap();
                let bodies = answers
                    .iter()
                    .map(|(status, answer)| (status.as_str(), answer));
                for (what, body) in bodies.chain([("body", &operation["requestBody"])]) {
                    let contents = body["content"].as_object().into_iter().flatten();
                    shown.extend(contents.map(|(_, c)| (format!("{method} {path} {what}"), c)));
                }
                for (place, shown) in shown {
                    match shown.get("example") {
                        None => missing.push(place),
                        Some(example) => {
                            assert_eq!(misfit(schemas, &shown["schema"], example), None, "{place}");
                        }
                    }
                }
            }
        }
        assert!(missing.is_empty(), "without an example: {missing:?}");
    })
    .await;
}

/// That something is not there, or not in the right state, is no fault of the example.
#[tokio::test]
async fn every_body_that_the_document_shows_is_understood() {
    run_test(async |t| {
        let document = document(&t.http, &t.web).await;
        let boss = t.person(Role::Administrator).await;
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                // The code of a message that was never sent is wrong, whichever it is.
                if operation["operationId"] == "enter_code" {
                    continue;
                }
                let Some(content) = operation["requestBody"]["content"].as_object() else {
                    continue;
                };
                let method: Method = method.to_uppercase().parse().unwrap();
                let of_people = operation.pointer("/security/0/token").is_none();
                let mut asked = path.strip_prefix("/api/v1").unwrap().to_owned();
                for p in operation["parameters"].as_array().into_iter().flatten() {
                    let example = &p["example"];
                    let example = example
                        .as_str()
                        .map_or_else(|| example.to_string(), str::to_owned);
                    asked =
                        asked.replace(&format!("{{{}}}", p["name"].as_str().unwrap()), &example);
                }
                let body = &content["application/json"]["example"];
                let answer = if of_people {
                    boss.api(method.clone(), &asked, Some(body)).await
                } else {
                    // Anew for every operation: it is not the limit that is tried here.
                    let program = t.program(&Permission::ALL).await;
                    let ask = program
                        .ask(method.clone(), &asked)
                        .header("if-match", "\"v0-d0\"");
                    crate::person::Answer::of(ask.json(body).send().await.unwrap()).await
                };
                assert!(
                    !matches!(answer.status.as_u16(), 400 | 415 | 422)
                        && !answer.status.is_server_error(),
                    "{method} {asked} {body}: {answer:?}"
                );
            }
        }
        // The test message that one of the examples asks for.
        t.settle().await;
        assert_eq!(t.mails().len() + t.texts().len(), 1);
    })
    .await;
}
