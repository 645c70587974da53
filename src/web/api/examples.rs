//! Examples for every operation of the document: of its parameters, of what is sent, and of each answer.
//!
//! They are made from the schemas, so that a new field needs nothing here. `examples.json` has what a schema cannot know: values that a
//! reader takes for real ones, by the field's name (`skill`) or the schema's and the field's (`Due.reason`), and whole bodies where
//! fields exclude each other.

use std::sync::LazyLock;

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

/// Schemas within schemas that are followed. Deeper ones refer to themselves.
const DEEPEST: usize = 12;

static KNOWN: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("examples.json")).expect("examples.json is JSON")
});

/// Adds the examples to the document.
pub fn add(document: &mut Value) {
    let schemas = document["components"]["schemas"].take();
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    let operations = paths.flat_map(|(_, item)| item.as_object_mut().into_iter().flatten());
    for (_, operation) in operations {
        complete(operation, &schemas);
    }
    document["components"]["schemas"] = schemas;
}

fn complete(operation: &mut Value, schemas: &Value) {
    let id = operation["operationId"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let parameters = operation.get_mut("parameters");
    let parameters = parameters.and_then(Value::as_array_mut);
    for parameter in parameters.into_iter().flatten() {
        let example = of_parameter(parameter, schemas);
        parameter["example"] = example;
    }
    if let Some(body) = operation.get_mut("requestBody") {
        fill(body, &id, schemas, None);
    }
    let answers = operation.get_mut("responses");
    let answers = answers.and_then(Value::as_object_mut);
    for (status, answer) in answers.into_iter().flatten() {
        fill(answer, &id, schemas, status.parse().ok());
    }
}

/// Gives an example to each kind of content.
fn fill(described: &mut Value, id: &str, schemas: &Value, status: Option<u16>) {
    let what = described["description"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let Some(content) = described.get_mut("content").and_then(Value::as_object_mut) else {
        return;
    };
    for (kind, content) in content {
        content["example"] = match (kind.as_str(), status) {
            ("application/problem+json", Some(status)) => problem(status, &what, schemas),
            (kind, _) if kind.ends_with("json") => {
                of_schema(&content["schema"], "", "", schemas, 0)
            }
            _ => KNOWN["texts"]
                .get(id)
                .cloned()
                .unwrap_or_else(|| json!("text")),
        };
    }
}

fn problem(status: u16, what: &str, schemas: &Value) -> Value {
    let title = StatusCode::from_u16(status).ok();
    let title = title.and_then(|status| status.canonical_reason());
    let mut problem = json!({
        "type": "about:blank",
        "title": title.unwrap_or_default(),
        "status": status,
        "detail": what,
    });
    if matches!(status, 400 | 422) {
        problem["errors"] = json!([of_schema(
            &schemas["InputFault"],
            "",
            "InputFault",
            schemas,
            0
        )]);
    }
    problem
}

fn of_parameter(parameter: &Value, schemas: &Value) -> Value {
    let name = parameter["name"].as_str().unwrap_or_default();
    let schema = &parameter["schema"];
    let known = match parameter["in"].as_str() {
        Some("path") => KNOWN["paths"].get(name),
        _ => None,
    };
    match known.filter(|value| fits(schema, value)) {
        Some(value) => value.clone(),
        None => of_schema(schema, name, "", schemas, 0),
    }
}

/// An example of a schema that is the field `name` of the schema `owner`.
fn of_schema(schema: &Value, name: &str, owner: &str, schemas: &Value, depth: usize) -> Value {
    if let Some(example) = schema.get("example") {
        return example.clone();
    }
    if depth > DEEPEST {
        return Value::Null;
    }
    let down = |schema: &Value, name: &str, owner: &str| {
        of_schema(schema, name, owner, schemas, depth + 1)
    };
    if let Some(target) = schema["$ref"].as_str() {
        let target = target.rsplit('/').next().unwrap_or_default();
        if let Some(whole) = KNOWN["schemas"].get(target) {
            return whole.clone();
        }
        let here = &schemas[target];
        let is_object = here.get("properties").is_some();
        return match known(here, name, owner).filter(|_| !is_object) {
            Some(value) => value,
            // What a page lists stands within it.
            None => down(here, name, target.trim_start_matches("Page_")),
        };
    }
    if let Some(value) = known(schema, name, owner) {
        return value;
    }
    if let Some(kinds) = schema["oneOf"].as_array().or(schema["anyOf"].as_array()) {
        let is_null = |kind: &&Value| kind["type"] == "null";
        return kinds
            .iter()
            .find(|kind| !is_null(kind))
            .map_or(Value::Null, |kind| down(kind, name, owner));
    }
    if let Some(parts) = schema["allOf"].as_array() {
        let objects = parts.iter().map(|part| down(part, name, owner));
        return objects
            .filter_map(|part| part.as_object().cloned())
            .flatten()
            .collect();
    }
    if let Some(one) = schema["enum"].get(0).or(schema.get("const")) {
        return one.clone();
    }
    match type_of(schema) {
        Some("object") => object(schema, owner, down),
        Some("array") => json!([down(&schema["items"], name, owner)]),
        Some("string") => string(schema),
        Some("integer") => json!(least(schema).max(1)),
        Some("number") => json!(0.5),
        Some("boolean") => json!(true),
        _ => Value::Null,
    }
}

fn object(schema: &Value, owner: &str, down: impl Fn(&Value, &str, &str) -> Value) -> Value {
    let fields = schema["properties"].as_object().into_iter().flatten();
    let mut object: Map<String, Value> = fields
        .map(|(name, field)| (name.clone(), down(field, name, owner)))
        .collect();
    if let Some(other) = schema
        .get("additionalProperties")
        .filter(|other| other.is_object())
    {
        object.insert(key(schema), down(other, "", owner));
    }
    Value::Object(object)
}

/// A key of a map: the first of those that the schema allows. Where it allows all, the map is one of languages.
fn key(schema: &Value) -> String {
    schema["propertyNames"]["enum"][0]
        .as_str()
        .unwrap_or("en")
        .to_owned()
}

fn string(schema: &Value) -> Value {
    match schema["format"].as_str() {
        Some("date-time") => KNOWN["times"].clone(),
        _ => json!("text"),
    }
}

fn least(schema: &Value) -> i64 {
    schema["minimum"].as_i64().unwrap_or_default()
}

/// What the table has for a field, if it is of the schema's kind.
fn known(schema: &Value, name: &str, owner: &str) -> Option<Value> {
    let fields = &KNOWN["fields"];
    let value = fields
        .get(format!("{owner}.{name}"))
        .or_else(|| fields.get(name))?;
    fits(schema, value).then(|| value.clone())
}

/// Whether a value is of a kind that the schema allows. A schema without a type allows all.
fn fits(schema: &Value, value: &Value) -> bool {
    if let Some(words) = schema["enum"].as_array() {
        return words.contains(value);
    }
    let allows = |kind: &str| match kind {
        "null" => value.is_null(),
        "string" => value.is_string() && schema["format"] != "date-time",
        "integer" => value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object() && schema.get("properties").is_none(),
        _ => false,
    };
    match &schema["type"] {
        Value::String(kind) => allows(kind),
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).any(allows),
        _ => schema.get("oneOf").is_none() && schema.get("$ref").is_none(),
    }
}

/// The type of a schema; of several the one that is not null.
fn type_of(schema: &Value) -> Option<&str> {
    match &schema["type"] {
        Value::String(kind) => Some(kind),
        Value::Array(kinds) => kinds
            .iter()
            .filter_map(Value::as_str)
            .find(|kind| *kind != "null"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schemas() -> Value {
        json!({
            "Channel": { "type": "string", "enum": ["email", "sms"] },
            "Inner": { "type": "object", "properties": { "at": { "type": "string", "format": "date-time" } } },
            "Again": { "type": "object", "properties": { "again": { "$ref": "#/components/schemas/Again" } } },
        })
    }

    #[test]
    fn an_example_is_of_the_schema_s_kind() {
        for (schema, name, expected) in [
            (
                json!({ "type": "string" }),
                "brand",
                json!("The Example Shop"),
            ),
            (
                json!({ "type": "string" }),
                "nobody_knows_it",
                json!("text"),
            ),
            // The table has a text for it, which a number is not.
            (
                json!({ "type": "integer", "minimum": 3 }),
                "brand",
                json!(3),
            ),
            (
                json!({ "type": ["integer", "null"] }),
                "skill",
                json!(1_234_567),
            ),
            (
                json!({ "type": ["string", "null"], "format": "date-time" }),
                "since",
                json!("2026-03-02T09:30:00Z"),
            ),
            (
                json!({ "type": "string", "example": "its own" }),
                "brand",
                json!("its own"),
            ),
            (
                json!({ "$ref": "#/components/schemas/Channel" }),
                "channel",
                json!("email"),
            ),
            (
                json!({ "oneOf": [{ "type": "null" }, { "$ref": "#/components/schemas/Inner" }] }),
                "inner",
                json!({ "at": "2026-03-02T09:30:00Z" }),
            ),
            (
                json!({ "type": "array", "items": { "type": "boolean" } }),
                "many",
                json!([true]),
            ),
            (
                json!({ "type": "object", "additionalProperties": { "type": "number" } }),
                "map",
                json!({ "en": 0.5 }),
            ),
            (
                json!({ "type": "object", "propertyNames": { "type": "string", "enum": ["sms", "email"] }, "additionalProperties": { "type": "boolean" } }),
                "map",
                json!({ "sms": true }),
            ),
        ] {
            assert_eq!(
                of_schema(&schema, name, "", &schemas(), 0),
                expected,
                "{schema}"
            );
        }
    }

    #[test]
    fn a_schema_that_has_itself_in_it_ends() {
        let schema = json!({ "$ref": "#/components/schemas/Again" });
        assert!(of_schema(&schema, "", "", &schemas(), 0).is_object());
    }

    #[test]
    fn a_problem_names_its_status_and_only_faults_of_the_input_name_fields() {
        let schemas = json!({ "InputFault": { "type": "object", "properties": { "detail": { "type": "string" } } } });
        let problem = |status| problem(status, "What went wrong", &schemas);
        assert_eq!(problem(404)["title"], "Not Found");
        assert!(problem(404).get("errors").is_none());
        assert_eq!(
            problem(422)["errors"][0]["detail"],
            "Must be between 1 and 129600."
        );
    }
}
