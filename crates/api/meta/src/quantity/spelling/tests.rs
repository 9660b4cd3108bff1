use super::*;
use crate::Quantity;

fn of(text: &str) -> String {
    spelled(text).map_or_else(|e| e.to_string().split(' ').take(3).collect::<Vec<_>>().join(" "), Cow::into_owned)
}

/// What upstream's server answers for each.
#[test]
fn amounts_are_written_as_upstream_writes_them() {
    for (text, want) in [
        ("0", "0"),
        ("00", "0"),
        ("-0", "0"),
        ("0.0", "0"),
        ("0Ki", "0"),
        ("0e5", "0"),
        ("1.", "1."),
        (".5", "500m"),
        ("00.5", "500m"),
        ("+1", "+1"),
        ("01", "01"),
        ("1.500", "1.500"),
        ("1.50", "1500m"),
        ("1.5000", "1500m"),
        ("1.000", "1"),
        ("10.00", "10"),
        ("1000", "1k"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("1E3", "1E3"),
        ("1e+3", "1e+3"),
        ("1e0", "1e0"),
        ("12e5", "1200e3"),
        ("100e3", "100e3"),
        ("1000e3", "1e6"),
        ("1e4294967299", "1e4294967299"),
        ("1e-9", "1e-9"),
        ("1e-10", "1e-9"),
        ("0.1n", "1n"),
        ("1.0000000001", "1000000001n"),
        ("-1.0000000001", "-1000000001n"),
        ("0.9999999999", "1"),
        ("10E", "10E"),
        ("1e19", "10e18"),
        ("1e100", "10e99"),
        ("10.5E", "10500P"),
        ("1000E", "1000E"),
        ("9223372036854775808", "9223372036854775808"),
        ("123456789012345678901234567890.123456789012", "123456789012345678901234567890123456790n"),
        ("-10E", "-10E"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("1023Ki", "1023Ki"),
        ("1024Ki", "1Mi"),
        ("0.5Ki", "512"),
        ("1.3Ki", "1331200m"),
        ("01Ki", "01Ki"),
        ("8Ki", "8Ki"),
        ("7Ei", "7Ei"),
        ("8Ei", "9223372036854775807"),
        ("-9Ei", "-9223372036854775807"),
        ("1000000000000000000000Ki", "9223372036854775807"),
        ("0.0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000001Ei", "1n"),
        (".", "0"),
        ("-", "0"),
        ("k", "0"),
        ("Ti", "0"),
        ("e5", "0"),
        ("Pi", "unable to parse"),
        ("e-10", "unable to parse"),
        ("", "quantities must match"),
        ("abc", "quantities must match"),
        ("1.2.3", "quantities must match"),
        ("1 ", "quantities must match"),
        ("--1", "unable to parse"),
        ("1kk", "unable to parse"),
        ("1e", "unable to parse"),
        ("1E+", "unable to parse"),
        ("1e99999999999999999999", "unable to parse"),
        ("1m1", "unable to parse"),
    ] {
        assert_eq!(of(text), want, "{text}");
    }
}

#[test]
fn lists_of_resources_know_thousandths() {
    for (text, want) in [
        ("1u", "1m"),
        ("1500u", "2m"),
        ("1.500100", "1501m"),
        ("1.500", "1.500"),
        ("1e-9", "1e-3"),
        ("-1n", "-1m"),
        ("5e-5", "1e-3"),
        ("0.0001Ki", "103m"),
        ("9.9999", "10"),
    ] {
        assert_eq!(spelled_in_milli(text).as_deref(), Ok(want), "{text}");
    }
}

/// Whatever is kept or shortened is the same amount.
#[test]
fn spellings_keep_the_amount() {
    let numbers = ["1", "7", "8", "1023", "1024", "999", "1.5", "0.001", "123456.789", "1000000", "3.1415926535", "18446744073709551616"];
    for (number, suffix) in
        numbers.iter().flat_map(|n| ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "e3", "E-3", "e1"].map(|s| (n, s)))
    {
        for text in [format!("{number}{suffix}"), format!("-{number}{suffix}")] {
            let (amount, spelling): (Quantity, _) = (text.parse().unwrap(), of(&text));
            assert_eq!(spelling.parse::<Quantity>(), Ok(amount), "{text} {spelling}");
            assert_eq!(amount.to_string(), of(&amount.to_string()), "{text}");
        }
    }
}
