//! Values of types that only functions make.
use crate::{Budget, Program, Value, Variables};
use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

fn made(by: &Result<Program, crate::CompileError>, text: &str) -> Option<Value> {
    let scope = Variables(HashMap::from([("text".to_owned(), Value::String(Arc::new(text.to_owned())))]));
    by.as_ref().ok()?.evaluate(&scope, &mut Budget::new(1000)).ok()
}

/// `1Gi` as expressions know quantities; None for what is none.
pub fn quantity(text: &str) -> Option<Value> {
    static MAKE: LazyLock<Result<Program, crate::CompileError>> = LazyLock::new(|| Program::compile("quantity(text)"));
    made(&MAKE, text)
}

/// `1.2.3` as expressions know versions.
pub fn semver(text: &str) -> Option<Value> {
    static MAKE: LazyLock<Result<Program, crate::CompileError>> = LazyLock::new(|| Program::compile("semver(text)"));
    made(&MAKE, text)
}
