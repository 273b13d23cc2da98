//! The OpenAPI document of the API, made from the table of its routes.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

use super::{
    guard::Access,
    routes::{Body, ROUTES, Route},
    schema,
};
use crate::router::AppState;

pub(super) async fn document(State(state): State<AppState>) -> Response {
    let mut document = paths();
    let basic = state.config().api.basic.is_some();
    let mut schemes = json!({"token": {"type": "http", "scheme": "bearer"}});
    if basic {
        schemes["password"] = json!({"type": "http", "scheme": "basic"});
    }
    document["components"] = json!({"schemas": {"Problem": schema::problem()}, "securitySchemes": schemes});
    Json(document).into_response()
}

/// The document but for what depends on the configuration.
pub(super) fn paths() -> Value {
    let mut paths = Map::<String, Value>::new();
    for route in ROUTES {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.verb.name()] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Weir's HTTP API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "SRS's management API, and what stands beside it. Failures of SRS's kind are 200 with a code.",
        },
        "paths": paths,
    })
}

fn operation(route: &Route) -> Value {
    let in_path = route.path.contains("{id}").then(
        || json!({"name": "id", "in": "path", "required": true, "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]+$"}}),
    );
    let in_query = route.query.iter().map(|(name, meaning)| {
        json!({"name": name, "in": "query", "required": false, "description": meaning, "schema": {"type": "string"}})
    });
    let parameters: Vec<Value> = in_path.into_iter().chain(in_query).collect();
    let mut responses = Map::new();
    let (status, good) = match route.body {
        Body::Json(shape) => (200, json!({"description": "as asked", "content": {"application/json": {"schema": shape()}}})),
        Body::Text(kind) => (200, json!({"description": "as asked", "content": {kind: {"schema": {"type": "string"}}}})),
        Body::Only(status @ 300..400) => (status, json!({"description": "elsewhere"})),
        Body::Only(status) => (status, problem("not built")),
    };
    responses.insert(status.to_string(), good);
    responses.insert("default".to_owned(), problem("refused"));
    let mut operation = json!({
        "operationId": name(route),
        "summary": route.summary,
        "parameters": parameters,
        "responses": responses,
    });
    if route.access != Access::Open {
        operation["description"] = json!(match route.access {
            Access::Operate =>
                "Wants the role operate, or a program of the server's own machine where no credentials are configured.",
            _ => "Wants the role read where credentials are configured.",
        });
    }
    operation
}

fn problem(description: &str) -> Value {
    let shape = json!({"$ref": "#/components/schemas/Problem"});
    json!({"description": description, "content": {"application/problem+json": {"schema": shape}}})
}

/// `get_api_v1_clients_id`.
fn name(route: &Route) -> String {
    let words: Vec<&str> =
        route.path.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty()).collect();
    format!("{}_{}", route.verb.name(), if words.is_empty() { "root".to_owned() } else { words.join("_") })
}
