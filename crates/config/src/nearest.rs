//! The known name that an unknown one was probably meant to be.

/// The candidate with the fewest edits, if so few that a typing mistake is likely.
pub(crate) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name: Vec<char> = name.chars().take(200).collect();
    candidates
        .map(|candidate| (edits(&name, &candidate.chars().collect::<Vec<_>>()), candidate))
        .min_by_key(|(edits, _)| *edits)
        .filter(|(edits, candidate)| *edits <= 3.max(candidate.len() / 3))
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours (optimal string alignment).
fn edits(a: &[char], b: &[char]) -> usize {
    let (mut two_above, mut above): (Vec<usize>, Vec<usize>) = (vec![0; b.len() + 1], (0..=b.len()).collect());
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut best = (above[j] + usize::from(x != y)).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(two_above[j - 1] + 1);
            }
            row.push(best);
        }
        two_above = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_the_name_that_was_meant() {
        let known = ["POSTROAD_SMTP__LISTEN", "POSTROAD_SMTP__LISTEN_TLS", "POSTROAD_API__LISTEN"];
        let found = |name| nearest(name, known.into_iter());
        assert_eq!(found("POSTROAD_SMTP__LITSEN"), Some(known[0]));
        assert_eq!(found("POSTROAD_SMTP_LISTEN_TLS"), Some(known[1]));
        assert_eq!(found("POSTROAD_API_LISTEN"), Some(known[2]));
        assert_eq!(found("POSTROAD_SOMETHING_ELSE_ALTOGETHER"), None);
    }

    #[test]
    fn edits_are_counted() {
        let count = |a: &str, b: &str| edits(&a.chars().collect::<Vec<_>>(), &b.chars().collect::<Vec<_>>());
        assert_eq!(
            (
                count("", "abc"),
                count("kitten", "sitting"),
                count("ab", "ba"),
                count("same", "same")
            ),
            (3, 3, 1, 0)
        );
    }
}
