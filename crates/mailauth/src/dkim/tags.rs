//! Tag lists, `name=value; name=value` (RFC 6376 §3.2): of signatures, keys and DMARC records.

/// The tags of a list in order, blanks around names and values removed; `None` when it is malformed or names a tag twice.
pub(crate) fn parse(text: &str) -> Option<Vec<(&str, &str)>> {
    let is_blank = |c: char| matches!(c, ' ' | '\t' | '\r' | '\n');
    let mut tags: Vec<(&str, &str)> = Vec::new();
    let mut specs = text.split(';').peekable();
    while let Some(spec) = specs.next() {
        let spec = spec.trim_matches(is_blank);
        if spec.is_empty() && specs.peek().is_none() {
            break; // one semicolon may end the list
        }
        let (name, value) = spec.split_once('=')?;
        let (name, value) = (name.trim_end_matches(is_blank), value.trim_start_matches(is_blank));
        let fine = name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !fine || tags.iter().any(|(known, _)| *known == name) || tags.len() >= 64 {
            return None;
        }
        tags.push((name, value));
    }
    Some(tags)
}

/// The value of a tag.
pub(crate) fn value<'a>(tags: &[(&str, &'a str)], name: &str) -> Option<&'a str> {
    tags.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_malformed_ones_are_not() {
        assert_eq!(
            parse(" v=1;\r\n\ta = rsa-sha256 ; b=x y= ;c=;").unwrap(),
            [("v", "1"), ("a", "rsa-sha256"), ("b", "x y="), ("c", "")]
        );
        assert_eq!(value(&parse("a=1; A=2").unwrap(), "A"), Some("2"));
        for text in ["v", "v=1; v=2", "v=1;;a=2", "=1", "1a=2", "a b=1"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse("").unwrap(), []);
    }
}
