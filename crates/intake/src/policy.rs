//! Who may send as whom: pure decisions.

use mail::Address;

/// Whether a credential's list lets it send as `address`. The list holds addresses (`a@b.example`) and domains (`@b.example`);
/// an empty list leaves the decision to the ownership of the domain.
#[must_use]
pub fn may_send_as(allowed_from: &[String], address: &Address) -> bool {
    if allowed_from.is_empty() {
        return true;
    }
    let folded = address.folded();
    allowed_from
        .iter()
        .map(|allowed| allowed.to_lowercase())
        .any(|allowed| match allowed.strip_prefix('@') {
            Some(domain) => address.host().to_string().eq_ignore_ascii_case(domain),
            None => folded == allowed,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allow_list_names_addresses_or_whole_domains() {
        let address = Address::parse("App@Sender.Test").unwrap();
        for (list, allowed) in [
            (&[][..], true),
            (&["app@sender.test"], true),
            (&["@sender.test"], true),
            (&["@SENDER.test"], true),
            (&["other@sender.test"], false),
            (&["@other.test"], false),
            (&["@ender.test"], false),
            (&["sender.test"], false),
        ] {
            let list: Vec<String> = list.iter().map(|entry| (*entry).to_owned()).collect();
            assert_eq!(may_send_as(&list, &address), allowed, "{list:?}");
        }
    }
}
