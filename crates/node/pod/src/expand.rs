//! `$(NAME)` in commands, arguments and values of variables. `$$` is a dollar; what is unknown stays as written.
//! <https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/>

pub fn expand<'a>(input: &str, lookup: impl Fn(&str) -> Option<&'a str>) -> String {
    let mut out = String::with_capacity(input.len());
    let mut rest = input;
    while let Some(at) = rest.find('$') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let tail = &from[1..];
        if let Some(after) = tail.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = tail.strip_prefix('(').and_then(|t| t.split_once(')')) {
            match lookup(name) {
                Some(value) => out.push_str(value),
                None => out.extend(["$(", name, ")"]),
            }
            rest = after;
        } else {
            out.push('$');
            rest = tail;
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn references() {
        for (input, want) in [
            ("a$(X)b", "a1b"),
            ("$$(X)", "$(X)"),
            ("$$$(X)", "$1"),
            ("$(NOPE)", "$(NOPE)"),
            ("$(X", "$(X"),
            ("cost: $5 $", "cost: $5 $"),
            ("$(X)$(X)", "11"),
            ("", ""),
        ] {
            assert_eq!(expand(input, |n| (n == "X").then_some("1")), want, "{input}");
        }
    }
}
