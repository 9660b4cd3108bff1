//! One evaluation of a MutatingAdmissionPolicy's mutation: a JSON patch, or a configuration that is laid over the object.
use super::declaration::Decides;
use crate::{
    expression::{Compiled, Facts, Names, compile},
    value,
};
use skiff_cel::{Budget, to_json};
use skiff_json::{Value, json};
use skiff_patch::PatchError;

/// What a mutating policy has of its own.
#[derive(Debug)]
pub(super) struct Mutations {
    pub each: Vec<Mutation>,
    /// `reinvocationPolicy: IfNeeded`.
    pub reinvoked: bool,
}

#[derive(Debug)]
pub(super) struct Mutation {
    applies: bool,
    expression: String,
    program: Compiled,
}

impl Decides for Mutations {
    const POLICIES: &'static str = "mutatingadmissionpolicies.admissionregistration.k8s.io";
    const BINDINGS: &'static str = "mutatingadmissionpolicybindings.admissionregistration.k8s.io";

    fn read(spec: &Value, names: Names) -> Self {
        let each = value::list(spec, "mutations").iter().map(|v| Mutation::read(v, names)).collect();
        Self { each, reinvoked: value::text(spec, "reinvocationPolicy") == "IfNeeded" }
    }
}

impl Mutation {
    fn read(v: &Value, names: Names) -> Self {
        let applies = value::text(v, "patchType") == "ApplyConfiguration";
        let expression = value::text(v, if applies { "applyConfiguration.expression" } else { "jsonPatch.expression" });
        Self { applies, expression: expression.to_owned(), program: compile(expression, names) }
    }

    /// What becomes of the object that `facts` show.
    pub fn evaluate(&self, facts: &Facts<'_>) -> Result<Value, String> {
        let program = self.program.as_ref().map_err(Clone::clone)?;
        program.check_objects().map_err(|why| format!("type mismatch: {why}"))?;
        let v = facts.run(&self.expression, &self.program, &mut Budget::new(Budget::POLICY))?;
        let object = facts.view.object.as_ref().unwrap_or(&Value::Null);
        let v = to_json(&v).map_err(|e| format!("JSONPath valueExpression evaluated to a type that could not marshal to JSON: {e}"))?;
        if self.applies { overlaid(facts, object, v) } else { patched(object, v) }
    }
}

fn overlaid(facts: &Facts<'_>, object: &Value, config: Value) -> Result<Value, String> {
    let mut config = config;
    if !config.is_object() {
        return Err(format!("unsupported return type from ApplyConfiguration expression: {config}"));
    }
    for key in ["apiVersion", "kind"] {
        config[key] = object.get(key).cloned().unwrap_or_default();
    }
    facts.a.lookup.merge(facts.a.target, &facts.view.kind, object, &config).map_err(|why| format!("error applying patch: {why}"))
}

fn patched(object: &Value, operations: Value) -> Result<Value, String> {
    let Value::Array(operations) = operations else { return Err("type mismatch: JSONPatchType.expression should evaluate to array".into()) };
    let operations: Vec<Value> = operations.iter().map(operation).collect();
    match skiff_patch::json_patch(object, json!(operations).to_string().as_bytes()) {
        Ok(v) => Ok(v),
        // A patch whose test fails is not made.
        Err(PatchError::TestFailed(_)) => Ok(object.clone()),
        Err(e) => Err(format!("JSON Patch: {e}")),
    }
}

fn operation(v: &Value) -> Value {
    let mut o = json!({"op": value::text(v, "op"), "path": value::text(v, "path")});
    if !value::text(v, "from").is_empty() {
        o["from"] = value::text(v, "from").into();
    }
    if let Some(x) = v.get("value") {
        o["value"] = x.clone();
    }
    o
}
