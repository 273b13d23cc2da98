//! Holds an answer against its schema: as much of JSON Schema as the API's shapes use.

use serde_json::Value;

/// What is wrong with `value`, and where; empty if nothing is.
pub(super) fn mistakes(shape: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(shape, value, "", &mut found);
    found
}

fn check(shape: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    if let Some(options) = shape["oneOf"].as_array() {
        let fits: Vec<Vec<String>> = options.iter().map(|option| mistakes(option, value)).collect();
        if fits.iter().filter(|mistakes| mistakes.is_empty()).count() != 1 {
            found.push(format!("{at}: {fits:?}"));
        }
        return;
    }
    if shape["const"] != Value::Null && shape["const"] != *value {
        found.push(format!("{at} is {value} rather than {}", shape["const"]));
    }
    let kinds: Vec<&str> = match &shape["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !kinds.is_empty() && !kinds.iter().any(|kind| is(kind, value)) {
        found.push(format!("{at} is {value} rather than {kinds:?}"));
    }
    if shape["minimum"].as_i64().is_some_and(|least| value.as_i64().is_some_and(|value| value < least)) {
        found.push(format!("{at} is too small: {value}"));
    }
    if let (Some(required), Some(object)) = (shape["required"].as_array(), value.as_object()) {
        let missing = required.iter().filter_map(Value::as_str).filter(|name| !object.contains_key(*name));
        found.extend(missing.map(|name| format!("{at}.{name} is missing")));
    }
    for (name, member) in value.as_object().into_iter().flatten() {
        let known = &shape["properties"][name];
        let shape = if known.is_null() { &shape["additionalProperties"] } else { known };
        check(shape, member, &format!("{at}.{name}"), found);
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        check(&shape["items"], item, &format!("{at}[{index}]"), found);
    }
}

fn is(kind: &str, value: &Value) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => false,
    }
}

#[test]
fn a_shape_finds_what_is_missing_and_what_is_of_another_kind() {
    let shape = super::super::schema::vhost();
    let right = serde_json::json!({"code": 0, "server": "", "service": "", "pid": "", "vhost": {"id": "", "name": "",
        "enabled": true, "clients": 0, "streams": 1, "send_bytes": 0, "recv_bytes": 0, "kbps": {"recv_30s": 1, "send_30s": 1},
        "hls": {"enabled": false}}});
    assert_eq!(mistakes(&shape, &right), [""; 0]);
    let failed = serde_json::json!({"code": 2014, "server": "", "service": "", "pid": ""});
    assert_eq!(mistakes(&shape, &failed), [""; 0]);
    for (pointer, value) in [("/code", 1.into()), ("/vhost/hls", Value::Null), ("/vhost/kbps", "".into()), ("/pid", 1.into())] {
        let mut wrong = right.clone();
        *wrong.pointer_mut(pointer).unwrap() = value;
        // An answer with a code of failure needs nothing else.
        assert_eq!(mistakes(&shape, &wrong).is_empty(), pointer == "/code", "{pointer}");
    }
}
