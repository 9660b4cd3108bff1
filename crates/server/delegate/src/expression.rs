//! CEL in configuration files: one variable, compiled once, evaluated within a budget.
use skiff_cel::{Budget, EvalError, Program, Scope, Value, from_json};
use skiff_json::Value as Json;

/// Upstream's bill for one evaluation.
const COST: u64 = 1_000_000;

#[derive(Debug)]
pub(crate) struct Expression {
    pub source: String,
    program: Program,
    variable: &'static str,
}

struct One<'a>(&'static str, &'a Json);

impl Scope for One<'_> {
    fn variable(&self, name: &str, _: &mut Budget) -> Option<Result<Value, EvalError>> {
        (name == self.0).then(|| Ok(from_json(self.1)))
    }
}

impl Expression {
    pub fn compile(source: &str, variable: &'static str) -> Result<Self, String> {
        let program = Program::compile_with(source, &[variable]).map_err(|e| format!("compilation failed: {e}"))?;
        Ok(Self { source: source.to_owned(), program, variable })
    }
    pub fn evaluate(&self, over: &Json) -> Result<Value, String> {
        let mut budget = Budget::new(COST);
        self.program.evaluate(&One(self.variable, over), &mut budget).map_err(|e| format!("expression '{}' resulted in error: {e}", self.source))
    }
    pub fn holds(&self, over: &Json) -> Result<bool, String> {
        match self.evaluate(over)? {
            Value::Bool(b) => Ok(b),
            _ => Err(format!("expression '{}' must evaluate to bool", self.source)),
        }
    }
    pub fn names(&self, text: &str) -> bool {
        self.source.contains(text)
    }
}
