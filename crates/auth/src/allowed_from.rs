//! The senders a credential may be limited to: `address@domain`, or `@domain` for every address of a domain.

/// The entry is neither `address@domain` nor `@domain`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither an address (user@example.org) nor a domain with an @ before it (@example.org)")]
pub struct InvalidEntry(pub String);

/// Reads an entry into the form that is stored and compared: lower case, the domain in A-labels.
///
/// # Errors
/// [`InvalidEntry`].
pub fn parse(text: &str) -> Result<String, InvalidEntry> {
    normalise(text.trim()).ok_or_else(|| InvalidEntry(text.chars().take(320).collect()))
}

fn normalise(text: &str) -> Option<String> {
    let (local, domain) = text.rsplit_once('@')?;
    let domain = idna::domain_to_ascii_strict(domain).ok()?;
    let fine = local.len() <= 64
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..")
        && local
            .chars()
            .all(|c| !c.is_control() && !c.is_whitespace() && !"@<>()[],;:\\\"".contains(c))
        && !domain.is_empty()
        && domain.len() <= 253
        && !domain.ends_with('.');
    fine.then(|| format!("{}@{domain}", local.to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_addresses_or_domains() {
        for (text, stored) in [
            ("a@b.test", Some("a@b.test")),
            ("@B.Test", Some("@b.test")),
            (" Shop+x@Bücher.test ", Some("shop+x@xn--bcher-kva.test")),
            ("b.test", None),
            ("", None),
            ("@", None),
            ("a@", None),
            ("a@b@c.test", None),
            ("a b@c.test", None),
            ("<a@c.test>", None),
            ("a@c.test>", None),
            ("a\r\n@c.test", None),
            ("a@c..test", None),
            ("a@-c.test", None),
            ("@c.test\0", None),
        ] {
            assert_eq!(parse(text).ok().as_deref(), stored, "{text:?}");
        }
    }
}
