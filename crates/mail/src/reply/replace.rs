//! Finding what must not show in a text, and what to put in its place.
//!
//! A text is looked at word by word. A word that may hold something is spelled out first ([`Plain`]); what is found there is replaced in
//! the word as it was written.

use std::borrow::Cow;

use memchr::memmem::Finder;

use super::Scrub;
use super::plain::Plain;
use crate::address::{Address, Host};

/// What stands where something was taken out.
pub(super) const REMOVED: &str = "[removed]";

/// What to look for and what to put there, prepared once for a message.
pub(super) struct Replacements {
    /// Private host names in every spelling, address literals with their brackets.
    hosts: Vec<Finder<'static>>,
    /// The reverse address in every spelling, and as it stands in return paths (`local=host`).
    reverses: Vec<Finder<'static>>,
    /// Local parts and hosts of the private addresses.
    private: Vec<(String, String)>,
    /// Hosts at and below which names are no secret.
    visible: Vec<String>,
    alias: String,
    alias_host: String,
    correspondent: String,
    shortest: usize,
    breaks: Finder<'static>,
}

/// Octets of a word, as it was written, and what takes their place.
struct Edit {
    from: usize,
    to: usize,
    with: String,
}

impl Replacements {
    pub(super) fn new(scrub: &Scrub<'_>) -> Self {
        let finder = |text: &String| Finder::new(text.as_bytes()).into_owned();
        let mut private = Vec::new();
        let mut hosts = Vec::new();
        for address in scrub.private {
            for host in spellings(address.host()) {
                private.push((address.local_part().to_lowercase(), host.clone()));
                hosts.push(host);
            }
        }
        hosts.sort_unstable();
        hosts.dedup();
        let local_part = scrub.reverse.local_part().to_lowercase();
        let reverses: Vec<String> = spellings(scrub.reverse.host())
            .iter()
            .flat_map(|host| [format!("{local_part}@{host}"), format!("{local_part}={host}")])
            .collect();
        Self {
            shortest: hosts.iter().chain(&reverses).map(String::len).min().unwrap_or(0),
            hosts: hosts.iter().map(finder).collect(),
            reverses: reverses.iter().map(finder).collect(),
            private,
            visible: [scrub.alias, scrub.correspondent]
                .iter()
                .flat_map(|address| spellings(address.host()))
                .collect(),
            alias: scrub.alias.to_string(),
            alias_host: scrub.alias.host().to_string(),
            correspondent: scrub.correspondent.to_string(),
            breaks: Finder::new("<wbr"),
        }
    }

    /// The text with everything replaced; borrowed when there was nothing.
    pub(super) fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut replaced = String::new();
        let mut copied = 0;
        let mut lower = Vec::new();
        let mut start = 0;
        for word in text.split(|character: char| character.is_ascii_whitespace()) {
            let at = start;
            start += word.len() + 1;
            if !self.may_hold_something(word, &mut lower) {
                continue;
            }
            let plain = Plain::of(word);
            for edit in self.edits(&plain) {
                replaced.push_str(&text[copied..at + edit.from]);
                replaced.push_str(&edit.with);
                copied = at + edit.to;
            }
        }
        if copied == 0 {
            return Cow::Borrowed(text);
        }
        replaced.push_str(&text[copied..]);
        Cow::Owned(replaced)
    }

    /// A content id as it stands between its angle brackets: replaced as `cid:` links to it are.
    pub(super) fn content_id(&self, id: &str) -> Option<String> {
        let link = format!("cid:{id}");
        match self.text(&link) {
            Cow::Borrowed(_) => None,
            Cow::Owned(replaced) => Some(replaced.strip_prefix("cid:").unwrap_or(&replaced).to_owned()),
        }
    }

    /// The address that is to stand in place of one in an address field: itself, the alias or the correspondent. `None`: no address at all.
    pub(super) fn address(&self, address: &Address) -> Option<String> {
        let written = address.to_string();
        match self.text(&written) {
            Cow::Borrowed(_) => Some(written),
            Cow::Owned(replaced) => [&self.alias, &self.correspondent]
                .into_iter()
                .find(|known| **known == replaced)
                .cloned(),
        }
    }

    /// Most words end here.
    fn may_hold_something(&self, word: &str, lower: &mut Vec<u8>) -> bool {
        if word.len() < self.shortest {
            return false;
        }
        if !word.is_ascii() || memchr::memchr2(b'%', b'&', word.as_bytes()).is_some() {
            return true;
        }
        lower.clear();
        lower.extend(word.bytes().map(|byte| byte.to_ascii_lowercase()));
        self.breaks.find(lower).is_some() || self.hosts.iter().chain(&self.reverses).any(|finder| finder.find(lower).is_some())
    }

    fn edits(&self, plain: &Plain) -> Vec<Edit> {
        let mut found: Vec<(usize, usize, bool)> = Vec::new();
        for (finders, is_reverse) in [(&self.reverses, true), (&self.hosts, false)] {
            for finder in finders {
                found.extend(
                    finder
                        .find_iter(plain.text.as_bytes())
                        .map(|at| (at, at + finder.needle().len(), is_reverse)),
                );
            }
        }
        found.sort_unstable_by_key(|(from, to, is_reverse)| (*from, std::cmp::Reverse(*to), !is_reverse));
        let mut edits: Vec<Edit> = Vec::new();
        // Everything before is decided. No occurrence looks back beyond it, which keeps the whole in proportion to the text.
        let mut floor = 0;
        for (from, to, is_reverse) in found {
            if to <= floor {
                continue;
            }
            let (from, with) = if is_reverse && from >= floor && plain.text.as_bytes()[from..to].contains(&b'@') {
                (from, Some(self.correspondent.clone()))
            } else if is_reverse || from < floor {
                (from.max(floor), Some(REMOVED.to_owned()))
            } else if let Some(decided) = self.host_at(&plain.text, floor, from, to) {
                decided
            } else {
                continue;
            };
            floor = to;
            if let Some(with) = with {
                let source = plain.from[from]..plain.to[to - 1];
                let with = if plain.escaped(from, to) { escape(&with) } else { with };
                edits.push(Edit {
                    from: source.start,
                    to: source.end,
                    with,
                });
            }
        }
        edits
    }

    /// What to do about a private host name at `from..to`. `None`: it is another name that only contains this one. `Some((_, None))`:
    /// it may stay.
    fn host_at(&self, text: &str, floor: usize, from: usize, to: usize) -> Option<(usize, Option<String>)> {
        let bytes = text.as_bytes();
        let before = &bytes[floor..from];
        let continued = match before {
            [.., letter, b'-'] => letter.is_ascii_alphanumeric(),
            [.., last] => last.is_ascii_alphanumeric(),
            [] => false,
        };
        if continued || bytes.get(to).is_some_and(u8::is_ascii_alphanumeric) {
            return None;
        }
        let labels = trailing(before, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
        let host = text[from - labels..to].trim_start_matches(['.', '-', '_']);
        let host_from = to - host.len();
        let visible = self.visible.iter().any(|known| {
            host.strip_suffix(known.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        });
        let alone = Some((host_from, (!visible).then(|| REMOVED.to_owned())));
        let left = &bytes[floor..host_from];
        let Some((separator, left)) = left.split_last() else { return alone };
        let is_address = *separator == b'@';
        if !is_address && *separator != b'=' {
            return alone;
        }
        // In a return path, `list-local=host@…`, only what is known for a local part is one, and it may follow anything but its own kind.
        let begins = |rest: &[u8]| match rest.last() {
            Some(byte) if is_address => !in_local_part(*byte),
            Some(byte) => !byte.is_ascii_alphanumeric() && *byte != b'.',
            None => true,
        };
        let known = self.private.iter().find_map(|(local_part, private_host)| {
            let rest = left.strip_suffix(local_part.as_bytes())?;
            (private_host == host && begins(rest)).then_some(floor + rest.len())
        });
        if let Some(start) = known {
            let with = if is_address { &self.alias } else { REMOVED };
            return Some((start, Some(with.to_owned())));
        }
        if !is_address {
            return alone;
        }
        let start = floor + left.len() - trailing(left, in_local_part);
        let local_part = &text[start..floor + left.len()];
        // A detail after a plus is the same mailbox.
        let base = |local_part: &str| local_part.split('+').next().map(str::to_owned);
        let same = |(known, private_host): &(String, String)| private_host == host && base(known) == base(local_part);
        let with = if !local_part.is_empty() && self.private.iter().any(same) {
            Some(self.alias.clone())
        } else if visible {
            None
        } else if text[..start].ends_with("cid:") {
            Some(format!("{local_part}@{}", self.alias_host))
        } else {
            Some(REMOVED.to_owned())
        };
        Some((start, with))
    }
}

/// How many octets at the end are of a kind.
fn trailing(bytes: &[u8], kind: impl Fn(u8) -> bool) -> usize {
    bytes.iter().rev().take_while(|byte| kind(**byte)).count()
}

/// What a local part is taken to consist of: less than it may, because in links and lists `/`, `=`, `?` and `&` end something else.
fn in_local_part(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || !byte.is_ascii() || b".!#$'*+-^_`{|}~".contains(&byte)
}

/// A host as people write it in an address: A-labels, U-labels, or a literal.
fn spellings(host: &Host) -> Vec<String> {
    match host {
        Host::Domain(domain) => {
            let mut spellings = vec![domain.as_str().to_owned()];
            let unicode = domain.to_unicode().to_lowercase();
            if unicode != spellings[0] {
                spellings.push(unicode);
            }
            spellings
        }
        Host::Literal(_) => vec![host.to_string().to_lowercase()],
    }
}

/// For a place where the `@` was a percent escape, too.
fn escape(text: &str) -> String {
    text.replace('%', "%25").replace('@', "%40").replace('+', "%2B")
}

#[cfg(test)]
mod tests;
