//! Text compared without regard to case.

/// A form in which two spellings that differ only by case are the same: each character upper, then lower case, so that `ß` is `ss`
/// and both small sigmas are one. Nothing else is levelled: accents count, and composed and decomposed forms differ.
pub(crate) fn fold(text: &str) -> String {
    if text.is_ascii() {
        text.to_ascii_lowercase()
    } else {
        text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::fold;

    #[test]
    fn spellings_that_differ_by_case_are_the_same() {
        for (one, other) in [
            ("Winner", "WINNER"),
            ("Straße", "STRASSE"),
            ("ΟΔΟΣ", "οδος"),
            ("ÅNGSTRÖM", "ångström"),
            ("ПРИВЕТ", "привет"),
        ] {
            assert_eq!(fold(one), fold(other));
        }
        assert_ne!(fold("cafe"), fold("café"));
    }
}
