//! What the page lists that shows the document: each operation with its parameters, bodies and a command that calls it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};
use url::Url;

/// The document's operations by their tags. `home` is where this installation is reached.
pub fn overview(document: &Value, home: &Url) -> Value {
    let mut groups: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let paths = document["paths"].as_object().into_iter().flatten();
    for (path, item) in paths {
        for (method, operation) in item.as_object().into_iter().flatten() {
            let tag = operation["tags"][0].as_str().unwrap_or("other");
            let operation = shown(method, path, operation, home);
            groups.entry(tag.to_owned()).or_default().push(operation);
        }
    }
    let groups = groups.into_iter();
    groups
        .map(|(name, operations)| json!({ "name": name, "operations": operations }))
        .collect()
}

fn shown(method: &str, path: &str, operation: &Value, home: &Url) -> Value {
    let (of_token, of_session) = ("/security/0/token/0", "/security/0/session/0");
    let scope = operation.pointer(of_token);
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let parameters: Vec<Value> = parameters
        .map(|p| {
            json!({
                "name": p["name"],
                "in": p["in"],
                "required": p["required"] == true,
                "about": text(&p["description"]),
                "example": plain(&p["example"]),
            })
        })
        .collect();
    let responses = operation["responses"].as_object().into_iter().flatten();
    let responses: Vec<Value> = responses
        .map(|(status, r)| {
            let body = content(r).filter(|_| status.starts_with('2'));
            json!({
                "status": status,
                "about": text(&r["description"]),
                "example": body.map(|(_, content)| pretty(&content["example"])),
            })
        })
        .collect();
    let body = content(&operation["requestBody"]);
    json!({
        "method": method.to_uppercase(),
        "path": path,
        "summary": text(&operation["summary"]),
        "about": text(&operation["description"]),
        "scope": scope.or(operation.pointer(of_session)),
        "people_only": scope.is_none(),
        "parameters": parameters,
        "body": body.map(|(kind, content)| json!({
            "kind": kind,
            "schema": schema_name(&content["schema"]),
            "example": pretty(&content["example"]),
        })),
        // No program may do what is for people only.
        "curl": scope.map(|_| curl(method, path, operation, home)),
        "responses": responses,
        "id": operation["operationId"],
    })
}

/// A command that calls the operation as its examples have it.
fn curl(method: &str, path: &str, operation: &Value, home: &Url) -> String {
    let parameters = || operation["parameters"].as_array().into_iter().flatten();
    let mut path = path.to_owned();
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    let mut headers = String::new();
    for parameter in parameters() {
        let (name, example) = (text(&parameter["name"]), plain(&parameter["example"]));
        let required = parameter["required"] == true;
        match text(&parameter["in"]) {
            "path" => path = path.replace(&format!("{{{name}}}"), &example),
            "query" if required => {
                query.append_pair(name, &example);
            }
            "header" if required => {
                let header = quoted(&format!("{name}: {example}"));
                let _ = write!(headers, " \\\n  -H {header}");
            }
            _ => {}
        }
    }
    let mut address = home.clone();
    address.set_path(&format!("{}{}", home.path().trim_end_matches('/'), path));
    let query = query.finish();
    address.set_query(Some(query.as_str()).filter(|query| !query.is_empty()));
    let mut command = "curl".to_owned();
    if method != "get" {
        let _ = write!(command, " -X {}", method.to_uppercase());
    }
    command.push_str(" -H \"Authorization: Bearer $UNREAD_TOKEN\"");
    command.push_str(&headers);
    if let Some((kind, content)) = content(&operation["requestBody"]) {
        let body = &content["example"];
        let body = body
            .as_str()
            .map_or_else(|| body.to_string(), str::to_owned);
        let _ = write!(
            command,
            " \\\n  -H {} \\\n  --data-binary {}",
            quoted(&format!("Content-Type: {kind}")),
            quoted(&body)
        );
    }
    let _ = write!(command, " \\\n  {}", quoted(address.as_str()));
    command
}

/// For a shell: nothing within means anything but itself.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The JSON of a body or an answer, else its first kind of content.
fn content(described: &Value) -> Option<(&str, &Value)> {
    let content = described["content"].as_object()?;
    let json = content.get_key_value("application/json");
    json.or_else(|| content.iter().next())
        .map(|(kind, content)| (kind.as_str(), content))
}

fn pretty(example: &Value) -> String {
    match example {
        Value::String(text) => text.clone(),
        other => format!("{other:#}"),
    }
}

/// As it stands in an address.
fn plain(example: &Value) -> String {
    match example {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn schema_name(schema: &Value) -> &str {
    text(&schema["$ref"]).rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_has_the_real_address_and_everything_that_must_be_sent() {
        let home = Url::parse("https://unread.example.com/").unwrap();
        let parameter = |name: &str, place: &str, required: bool, example: &str| json!({ "name": name, "in": place, "required": required, "example": example });
        let operation = json!({
            "parameters": [
                parameter("skill", "path", true, "-1"),
                parameter("account", "query", true, "a b"),
                parameter("limit", "query", false, "50"),
                parameter("If-Match", "header", true, "\"v4-d0\""),
                parameter("Idempotency-Key", "header", false, "x"),
            ],
            "requestBody": { "content": { "application/json": { "example": { "note": "Don't" } } } },
        });
        assert_eq!(
            curl("put", "/api/v1/rules/{skill}", &operation, &home),
            "curl -X PUT -H \"Authorization: Bearer $UNREAD_TOKEN\" \\\n  -H 'If-Match: \"v4-d0\"' \\\n  \
             -H 'Content-Type: application/json' \\\n  --data-binary '{\"note\":\"Don'\\''t\"}' \\\n  \
             'https://unread.example.com/api/v1/rules/-1?account=a+b'"
        );
        let plain = curl("get", "/api/v1/me", &json!({}), &home);
        assert_eq!(
            plain,
            "curl -H \"Authorization: Bearer $UNREAD_TOKEN\" \\\n  'https://unread.example.com/api/v1/me'"
        );
    }

    #[test]
    fn what_only_people_may_do_has_no_command() {
        let operation = json!({ "security": [{ "session": ["administer"] }], "responses": {} });
        let home = Url::parse("https://unread.example.com/").unwrap();
        let shown = shown("post", "/api/v1/tokens", &operation, &home);
        assert_eq!(
            (&shown["people_only"], &shown["curl"]),
            (&json!(true), &Value::Null)
        );
    }
}
