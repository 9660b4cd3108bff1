//! What Go's parser of regular expressions refuses, and how it says so.
//! <https://pkg.go.dev/regexp/syntax#ErrorCode>
use regex_syntax::ast::{Ast, ErrorKind, Position, RepetitionKind, RepetitionRange, Span, parse::ParserBuilder};

/// Groups within groups.
pub const DEPTH: u32 = 100;
/// The most that repetitions within each other may come to.
const REPEATS: u32 = 1000;

/// None: nothing is wrong. `text` is as it was written, `ours` the same in our dialect.
pub fn find(text: &str, ours: &str) -> Option<String> {
    match ParserBuilder::new().nest_limit(DEPTH).build().parse(ours) {
        Ok(ast) => repeats(&ast, ours).err().or_else(|| nested(&ast, ours)),
        Err(e) => Some(say(e.kind(), e.span(), ours, text)),
    }
}

fn part(text: &str, from: Position, to: Position) -> &str {
    text.get(from.offset..to.offset).unwrap_or_default()
}

/// `whole` is the expression as it was written.
fn say(kind: &ErrorKind, span: &Span, text: &str, whole: &str) -> String {
    let own = part(text, span.start, span.end);
    let rest = text.get(span.start.offset..).unwrap_or_default();
    let (what, shown) = match kind {
        ErrorKind::ClassRangeInvalid | ErrorKind::ClassRangeLiteral | ErrorKind::UnicodeClassInvalid => ("invalid character class range", own),
        ErrorKind::ClassUnclosed => ("missing closing ]", rest),
        ErrorKind::EscapeUnexpectedEof => ("trailing backslash at end of expression", ""),
        ErrorKind::GroupUnclosed => ("missing closing )", whole),
        ErrorKind::GroupUnopened => ("unexpected )", whole),
        ErrorKind::RepetitionMissing => ("missing argument to repetition operator", rest.get(..1).unwrap_or_default()),
        ErrorKind::RepetitionCountInvalid | ErrorKind::DecimalInvalid => ("invalid repeat count", own),
        ErrorKind::GroupNameEmpty | ErrorKind::GroupNameInvalid | ErrorKind::GroupNameUnexpectedEof | ErrorKind::GroupNameDuplicate { .. } => {
            ("invalid named capture", own)
        }
        ErrorKind::UnsupportedLookAround if rest.starts_with("(?<") => ("invalid named capture", rest),
        ErrorKind::UnsupportedLookAround => ("invalid or unsupported Perl syntax", own),
        ErrorKind::FlagDanglingNegation
        | ErrorKind::FlagDuplicate { .. }
        | ErrorKind::FlagRepeatedNegation { .. }
        | ErrorKind::FlagUnexpectedEof
        | ErrorKind::FlagUnrecognized => ("invalid or unsupported Perl syntax", text.get(group(text, span)..span.end.offset).unwrap_or(own)),
        ErrorKind::CaptureLimitExceeded => return "expression too large".into(),
        ErrorKind::NestLimitExceeded(_) => return format!("expression nests too deeply: `{whole}`"),
        _ => ("invalid escape sequence", own),
    };
    format!("{what}: `{shown}`")
}

/// Where the group opens whose flags are wrong.
fn group(text: &str, span: &Span) -> usize {
    text.get(..span.start.offset).and_then(|before| before.rfind("(?")).unwrap_or(span.start.offset)
}

/// How often the repetitions within each other repeat at the most; the error names the one that is too many.
fn repeats(ast: &Ast, text: &str) -> Result<u32, String> {
    let mut most = 1;
    for child in children(ast) {
        most = most.max(repeats(child, text)?);
    }
    let Ast::Repetition(r) = ast else { return Ok(most) };
    let count = match &r.op.kind {
        RepetitionKind::Range(RepetitionRange::Exactly(n) | RepetitionRange::AtLeast(n) | RepetitionRange::Bounded(_, n)) => (*n).max(1),
        _ => 1,
    };
    let all = most.saturating_mul(count);
    if all > REPEATS { Err(format!("invalid repeat count: `{}`", part(text, r.op.span.start, r.op.span.end).trim_end_matches('?'))) } else { Ok(all) }
}

/// A repetition of what is a repetition already, without a group between.
fn nested(ast: &Ast, text: &str) -> Option<String> {
    if let Ast::Repetition(r) = ast
        && let Ast::Repetition(inner) = &*r.ast
    {
        return Some(format!("invalid nested repetition operator: `{}`", part(text, inner.op.span.start, r.op.span.end)));
    }
    children(ast).into_iter().find_map(|c| nested(c, text))
}

fn children(ast: &Ast) -> Vec<&Ast> {
    match ast {
        Ast::Repetition(r) => vec![&r.ast],
        Ast::Group(g) => vec![&g.ast],
        Ast::Alternation(a) => a.asts.iter().collect(),
        Ast::Concat(c) => c.asts.iter().collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::compile;
    #[test]
    fn go_says() {
        for (pattern, want) in [
            ("(", "missing closing ): `(`"),
            ("a)", "unexpected ): `a)`"),
            ("^(?!a)b$", "invalid or unsupported Perl syntax: `(?!`"),
            ("(a{1000}){1000}", "invalid repeat count: `{1000}`"),
            ("a{2000}", "invalid repeat count: `{2000}`"),
            ("[z-a]", "invalid character class range: `z-a`"),
            (r"\y", r"invalid escape sequence: `\y`"),
            (r"\pZ[[:alpha:]]\Q.\E\C", r"invalid escape sequence: `\C`"),
            ("**", "missing argument to repetition operator: `*`"),
            ("a**", "invalid nested repetition operator: `**`"),
            ("[a", "missing closing ]: `[a`"),
            (r"a\", "trailing backslash at end of expression: ``"),
        ] {
            assert_eq!(compile(pattern).unwrap_err(), format!("error parsing regexp: {want}"), "{pattern}");
        }
        for fine in ["a{1000}", "(a{10}){100}", "(a*)*", "a*?", r"\p{Greek}+$"] {
            assert!(compile(fine).is_ok(), "{fine}");
        }
    }
}
