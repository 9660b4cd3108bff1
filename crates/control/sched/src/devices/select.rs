//! The CEL of device classes and requests: `device.driver`, `device.attributes[domain].name`, `device.capacity[domain].name`.
use k8s_openapi::api::resource::v1::{Device, DeviceAttribute, DeviceSelector};
use parking_lot::Mutex;
use skiff_cel::{Budget, Program, Value, Variables, map_of};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// Upstream's limit for one selector.
const BUDGET: u64 = 1_000_000;
/// So many expressions are kept compiled.
const KEPT: usize = 500;

/// An expression with the domains that it may ask a device for: one that the device doesn't have is an empty map.
struct Compiled {
    program: Program,
    domains: Vec<String>,
}

/// Expressions, compiled once.
#[derive(Default)]
pub struct Selectors(Mutex<HashMap<String, Arc<Result<Compiled, String>>>>);

impl Selectors {
    fn compiled(&self, expression: &str) -> Arc<Result<Compiled, String>> {
        if let Some(known) = self.0.lock().get(expression) {
            return known.clone();
        }
        let compiled = Program::compile_with(expression, &["cel", "device"])
            .map(|program| Compiled { domains: program.texts().into_iter().collect(), program })
            .map_err(|e| e.to_string());
        let compiled = Arc::new(compiled);
        let mut all = self.0.lock();
        if all.len() >= KEPT {
            all.clear();
        }
        all.insert(expression.to_owned(), compiled.clone());
        compiled
    }

    /// Whether the device fulfils all of the selectors. The error says which of them is wrong, in upstream's words.
    pub(super) fn hold<'s>(&self, selectors: impl Iterator<Item = &'s DeviceSelector>, driver: &str, device: &Device) -> Result<bool, String> {
        for (i, selector) in selectors.enumerate() {
            let Some(cel) = &selector.cel else { return Err(format!("selector #{i}: unsupported")) };
            let compiled = self.compiled(&cel.expression);
            let c = compiled.as_ref().as_ref().map_err(|why| format!("selector #{i}: CEL compile error: {why}"))?;
            let scope = Variables(HashMap::from([("device".to_owned(), view(driver, device, &c.domains))]));
            match c.program.evaluate(&scope, &mut Budget::new(BUDGET)) {
                Ok(Value::Bool(true)) => {}
                Ok(Value::Bool(false)) => return Ok(false),
                Ok(_) => return Err(format!("selector #{i}: CEL expression did not return a boolean")),
                Err(why) => return Err(format!("selector #{i}: CEL runtime error: {why}")),
            }
        }
        Ok(true)
    }
}

fn attribute(a: &DeviceAttribute) -> Option<Value> {
    let text = |s: &String| Value::String(Arc::new(s.clone()));
    let list = |all: Vec<Value>| Value::List(Arc::new(all));
    if let Some(v) = &a.version {
        return skiff_cel::semver(v);
    }
    let scalar = a.bool.map(Value::Bool).or_else(|| a.int.map(Value::Int)).or_else(|| a.string.as_ref().map(text));
    let lists = || a.bools.as_ref().map(|l| list(l.iter().copied().map(Value::Bool).collect()));
    let ints = || a.ints.as_ref().map(|l| list(l.iter().copied().map(Value::Int).collect()));
    let strings = || a.strings.as_ref().map(|l| list(l.iter().map(text).collect()));
    let versions = || a.versions.as_ref().map(|l| list(l.iter().filter_map(|v| skiff_cel::semver(v)).collect()));
    scalar.or_else(lists).or_else(ints).or_else(strings).or_else(versions)
}

/// A name of the driver's own is in the driver's domain.
fn qualified<'a>(name: &'a str, driver: &'a str) -> (&'a str, &'a str) {
    name.split_once('/').unwrap_or((driver, name))
}

fn by_domain(all: impl Iterator<Item = (String, Option<Value>)>, driver: &str, domains: &[String]) -> Value {
    let mut out: BTreeMap<String, Vec<(String, Value)>> = domains.iter().map(|d| (d.clone(), Vec::new())).collect();
    for (name, value) in all {
        let (domain, id) = qualified(&name, driver);
        if let Some(v) = value {
            out.entry(domain.to_owned()).or_default().push((id.to_owned(), v));
        }
    }
    map_of(out.into_iter().map(|(domain, members)| (domain, map_of(members))))
}

fn view(driver: &str, device: &Device, domains: &[String]) -> Value {
    let attributes = device.attributes.iter().flatten().map(|(n, a)| (n.clone(), attribute(a)));
    let capacity = device.capacity.iter().flatten().map(|(n, c)| (n.clone(), skiff_cel::quantity(&c.value.0)));
    map_of([
        ("driver".to_owned(), Value::String(Arc::new(driver.to_owned()))),
        ("allowMultipleAllocations".to_owned(), Value::Bool(device.allow_multiple_allocations == Some(true))),
        ("attributes".to_owned(), by_domain(attributes, driver, domains)),
        ("capacity".to_owned(), by_domain(capacity, driver, domains)),
    ])
}

/// The attribute of that full name, for constraints.
pub(super) fn attribute_of<'d>(device: &'d Device, driver: &str, name: &str) -> Option<&'d DeviceAttribute> {
    let all = device.attributes.as_ref()?;
    let (domain, id) = name.split_once('/')?;
    all.get(name).or_else(|| all.get(id).filter(|_| domain == driver))
}
