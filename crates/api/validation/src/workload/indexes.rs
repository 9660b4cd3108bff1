//! Indexes of Jobs as text: `1,3-5,7`.

/// How many indexes the text has; each below `completions` and each greater than the one before.
pub(crate) fn count(text: &str, completions: i64) -> Result<i64, String> {
    let (mut total, mut last) = (0, None);
    if text.is_empty() {
        return Ok(0);
    }
    for part in text.split(',') {
        let (x, y) = interval(part, completions)?;
        if let Some(last) = last.filter(|l| *l >= x) {
            return Err(format!("non-increasing order, previous: {last}, current: {x}"));
        }
        total += y - x + 1;
        last = Some(y);
    }
    Ok(total)
}

fn interval(text: &str, completions: i64) -> Result<(i64, i64), String> {
    let number = |s: &str| -> Result<i64, String> {
        let n: i64 = s.parse().map_err(|_| format!("cannot convert string to integer for index: {s:?}"))?;
        if n >= completions { Err(format!("too large index: {s:?}")) } else { Ok(n) }
    };
    let parts: Vec<&str> = text.split('-').collect();
    match parts[..] {
        [x] => number(x).map(|n| (n, n)),
        [x, y] => match (number(x)?, number(y)?) {
            (x, y) if x >= y => Err(format!("non-increasing order, previous: {x}, current: {y}")),
            pair => Ok(pair),
        },
        _ => Err(format!("the fragment {text:?} violates the requirement that an index interval can have at most two parts separated by '-'")),
    }
}

/// The first index that is in both texts; what cannot be read is passed over.
pub(crate) fn overlap(a: &str, b: &str, completions: i64) -> Option<i64> {
    let all =
        |text: &str| -> Vec<(i64, i64)> { if text.is_empty() { Vec::new() } else { text.split(',').filter_map(|p| interval(p, completions).ok()).collect() } };
    let (a, b) = (all(a), all(b));
    let (mut i, mut j) = (0, 0);
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        if x.0 <= y.1 && y.0 <= x.1 {
            return Some(x.0.max(y.0));
        }
        if x.0 <= y.0 { i += 1 } else { j += 1 }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals() {
        assert_eq!(count("0,2-4,7", 8), Ok(5));
        assert_eq!(count("", 0), Ok(0));
        assert_eq!(count("3-1", 8), Err("non-increasing order, previous: 3, current: 1".into()));
        assert_eq!(count("1,8", 8), Err("too large index: \"8\"".into()));
        assert_eq!(count("x", 8), Err("cannot convert string to integer for index: \"x\"".into()));
        assert_eq!(overlap("0-2,5", "3,5-6", 10), Some(5));
        assert_eq!(overlap("0-2", "3", 10), None);
    }
}
