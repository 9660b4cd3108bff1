//! Reads the facts file (its grammar is in its first lines).

/// A field as it is written in the facts.
pub struct Field {
    pub name: String,
    pub tag: u16,
    pub ty: Expression,
    pub attributes: Vec<String>,
}

impl Field {
    pub fn has(&self, word: &str) -> bool {
        self.attributes.iter().any(|a| a == word)
    }

    pub fn value(&self, key: &str) -> Option<&str> {
        self.attributes.iter().find_map(|a| a.strip_prefix(key)?.strip_prefix('='))
    }
}

/// A type as it is written in the facts.
pub struct Type {
    pub model: String,
    pub group: String,
    pub version: String,
    pub kind: bool,
    pub atomic: bool,
    pub granular: bool,
    pub fields: Vec<Field>,
}

impl Type {
    /// The Go name, which is the kind's name for kinds.
    pub fn short(&self) -> &str {
        self.model.rsplit('.').next().unwrap_or_default()
    }
}

/// A type expression.
#[derive(Debug, Clone)]
pub struct Expression {
    pub pointer: bool,
    /// Go's name where it is not the plain one.
    pub go: String,
    /// Wrapped in a message of its own in protobuf.
    pub boxed: bool,
    pub shape: Shape,
}

#[derive(Debug, Clone)]
pub enum Shape {
    Word(String),
    Ref(String),
    List(Box<Expression>),
    /// Go's name of the key type, and the value.
    Map(String, Box<Expression>),
}

pub fn parse(text: &str) -> Result<Vec<Type>, String> {
    let mut types: Vec<Type> = Vec::new();
    let mut package = (String::new(), String::new(), String::new());
    for (number, line) in text.lines().enumerate() {
        if line.starts_with('#') || line.is_empty() {
            continue;
        }
        let bad = || format!("facts line {}: {line}", number + 1);
        if let Some(rest) = line.strip_prefix("package ") {
            let mut words = rest.split(' ').map(str::to_owned);
            let mut word = || words.next().ok_or_else(bad);
            package = (word()?, word()?.trim_matches(['"', '-']).to_owned(), word()?);
        } else if let Some(rest) = line.strip_prefix("type ") {
            types.push(type_line(rest, &package).ok_or_else(bad)?);
        } else {
            let field = field_line(line.trim_start()).ok_or_else(bad)?;
            types.last_mut().ok_or_else(bad)?.fields.push(field);
        }
    }
    types.sort_by(|a, b| a.model.cmp(&b.model));
    Ok(types)
}

fn type_line(rest: &str, package: &(String, String, String)) -> Option<Type> {
    let mut words = rest.split(' ');
    let name = words.next()?;
    let flags: Vec<&str> = words.collect();
    Some(Type {
        model: format!("{}.{name}", package.0),
        group: package.1.clone(),
        version: package.2.trim_matches('-').to_owned(),
        kind: flags.contains(&"kind"),
        atomic: flags.contains(&"atomic"),
        granular: flags.contains(&"granular"),
        fields: Vec::new(),
    })
}

fn field_line(line: &str) -> Option<Field> {
    let (head, default) = match line.split_once(" default=") {
        Some((head, default)) => (head, Some(format!("default={default}"))),
        None => (line, None),
    };
    let mut words = head.split(' ');
    let name = words.next()?.to_owned();
    let tag = words.next()?;
    let tag = if tag == "-" { 0 } else { tag.parse().ok()? };
    let ty = expression(words.next()?)?;
    let attributes = words.map(str::to_owned).chain(default).collect();
    Some(Field { name, tag, ty, attributes })
}

fn expression(text: &str) -> Option<Expression> {
    let (pointer, text) = strip(text, "*");
    let (go, text) = match text.strip_prefix('(') {
        Some(rest) => {
            let (go, rest) = rest.split_once(')')?;
            (go.to_owned(), rest)
        }
        None => (String::new(), text),
    };
    let (boxed, text) = strip(text, "box");
    if let Some(rest) = text.strip_prefix("[]") {
        let shape = Shape::List(Box::new(expression(rest)?));
        return Some(Expression { pointer, go, boxed, shape });
    }
    if let Some(rest) = text.strip_prefix("map[") {
        let (key, value) = rest.split_once(']')?;
        let key = key.split_once('=').map_or("string", |(_, go)| go).to_owned();
        let shape = Shape::Map(key, Box::new(expression(value)?));
        return Some(Expression { pointer, go, boxed, shape });
    }
    let (word, go) = text.split_once('=').unwrap_or((text, &go));
    let shape = match word.strip_prefix('&') {
        Some(model) => Shape::Ref(model.to_owned()),
        None => Shape::Word(word.to_owned()),
    };
    Some(Expression { pointer, go: go.to_owned(), boxed, shape })
}

fn strip<'a>(text: &'a str, prefix: &str) -> (bool, &'a str) {
    match text.strip_prefix(prefix) {
        Some(rest) => (true, rest),
        None => (false, text),
    }
}
