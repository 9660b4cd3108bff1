//! Columns that a definition adds.
use crate::{definition::Column, jsonpath::JsonPath};
use skiff_json::{Value, json};
use skiff_meta::Timestamp;
use skiff_registry::print::{self, Columns, human};

/// Name, then the definition's columns; without any the age.
pub fn of(own: &[Column]) -> Columns {
    if own.is_empty() {
        return Columns::name_and_age_dated();
    }
    let mut columns = vec![print::Column {
        name: "Name".into(),
        kind: "string".into(),
        format: "name".into(),
        priority: 0,
        description: "The name, unique within its namespace.".into(),
    }];
    let mut cells: Vec<(Option<JsonPath>, String)> = Vec::new();
    for c in own {
        let description =
            if c.description.is_empty() { format!("Custom resource definition column (in JSONPath format): {}", c.path) } else { c.description.clone() };
        columns.push(print::Column {
            name: c.name.clone().into(),
            kind: c.kind.clone().into(),
            format: c.format.clone().into(),
            priority: c.priority,
            description: description.into(),
        });
        cells.push((JsonPath::parse(&c.path).ok(), c.kind.clone()));
    }
    Columns::new(columns, move |v, now| {
        let mut row = vec![v["metadata"]["name"].clone()];
        row.extend(cells.iter().map(|(path, kind)| path.as_ref().and_then(|p| p.first(v)).map_or(Value::Null, |x| cell(x, kind, now))));
        row
    })
}

fn cell(x: &Value, kind: &str, now: Timestamp) -> Value {
    match (kind, x) {
        ("string", Value::String(s)) => s.as_str().into(),
        ("string", Value::Null) => Value::Null,
        ("string", other) => other.to_string().into(),
        ("integer", Value::Number(n)) => n.as_i64().or_else(|| n.as_f64().map(|f| f as i64)).map_or(Value::Null, Value::from),
        ("number", Value::Number(n)) => n.as_f64().map_or(Value::Null, |f| json!(f)),
        ("boolean", Value::Bool(b)) => (*b).into(),
        ("date", Value::String(s)) => match s.parse::<Timestamp>() {
            Ok(t) => human(now.0 - t.0).into(),
            Err(_) => "<invalid>".into(),
        },
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn cells_have_the_type_of_their_column() {
        let now: Timestamp = "2024-01-01T00:10:00Z".parse().unwrap();
        for (value, kind, want) in [
            (json!("x"), "string", json!("x")),
            (json!({"a": 1}), "string", json!("{\"a\":1}")),
            (json!(7), "string", json!("7")),
            (json!(7.9), "integer", json!(7)),
            (json!("7"), "integer", json!(null)),
            (json!("2024-01-01T00:00:00Z"), "date", json!("10m")),
            (json!("soon"), "date", json!("<invalid>")),
        ] {
            assert_eq!(cell(&value, kind, now), want, "{value} as {kind}");
        }
    }
}
