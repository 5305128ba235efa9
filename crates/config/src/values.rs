//! From text to value. Each refusal says what the value is not; the caller adds the name and the cure.

use ipnet::IpNet;
use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use url::Url;

type Read<T> = Result<T, String>;

/// The parts between commas, without surrounding blanks; empty parts are dropped.
pub(crate) fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

fn each<T>(text: &str, read: impl Fn(&str) -> Read<T>) -> Read<Vec<T>> {
    parts(text)
        .map(|part| read(part).map_err(|fault| format!("has {part:?}, which {fault}")))
        .collect()
}

pub(crate) fn boolean(text: &str) -> Read<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("is neither true nor false".into()),
    }
}

pub(crate) fn integer(text: &str, min: u64, max: u64) -> Read<u64> {
    let number: u64 = text.replace('_', "").parse().map_err(|_| "is not a whole number".to_owned())?;
    if (min..=max).contains(&number) {
        Ok(number)
    } else {
        Err(format!("is not between {min} and {max}"))
    }
}

pub(crate) fn share(text: &str) -> Read<f64> {
    text.parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| "is not a number from 0 to 1".into())
}

pub(crate) fn duration(text: &str) -> Read<Duration> {
    let wrong = || "is not a duration".to_owned();
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(|| "has no unit".to_owned())?;
        let (number, after) = rest.split_at(digits);
        let unit = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let milliseconds: u64 = match unit.trim() {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            _ => return Err(wrong()),
        };
        let part = number.parse::<u64>().map_err(|_| wrong())?.checked_mul(milliseconds);
        total = part
            .and_then(|part| total.checked_add(Duration::from_millis(part)))
            // A hundred years: beyond it, sums with the clock could overflow.
            .filter(|total| total.as_secs() <= 3_155_760_000)
            .ok_or_else(|| "is too long".to_owned())?;
        rest = after.trim_start();
    }
    Ok(total)
}

pub(crate) fn durations(text: &str) -> Read<Vec<Duration>> {
    let list = each(text, duration)?;
    match list.iter().any(Duration::is_zero) {
        _ if list.is_empty() => Err("is an empty list".into()),
        true => Err("has a wait of zero".into()),
        false => Ok(list),
    }
}

pub(crate) fn address(text: &str) -> Read<SocketAddr> {
    text.parse().map_err(|_| {
        if text.parse::<IpAddr>().is_ok() {
            "has no port".to_owned()
        } else {
            "is not an IP address with a port".to_owned()
        }
    })
}

pub(crate) fn addresses(text: &str) -> Read<Vec<SocketAddr>> {
    each(text, address)
}

pub(crate) fn name_servers(text: &str) -> Read<Vec<SocketAddr>> {
    each(text, |part| {
        let bare = part.trim_start_matches('[').trim_end_matches(']');
        match bare.parse::<IpAddr>() {
            Ok(ip) => Ok(SocketAddr::new(ip, 53)),
            Err(_) => address(part),
        }
    })
}

pub(crate) fn networks(text: &str) -> Read<Vec<IpNet>> {
    each(text, |part| {
        if let Ok(ip) = part.parse::<IpAddr>() {
            return Ok(IpNet::from(ip));
        }
        let network: IpNet = part.parse().map_err(|_| "is not a network such as 10.0.0.0/8".to_owned())?;
        if network.addr() == network.network() {
            Ok(network)
        } else {
            Err(format!("has bits set beyond its prefix (did you mean {}?)", network.trunc()))
        }
    })
}

/// A URL with a host. The refusal never repeats the text, which may hold a password.
pub(crate) fn url(text: &str, schemes: &[&str]) -> Read<Url> {
    let url = Url::parse(text).map_err(|error| format!("is not a URL ({error})"))?;
    if schemes.contains(&url.scheme()) {
        Ok(url)
    } else {
        Err(format!(
            "does not begin with {}",
            schemes.iter().map(|scheme| format!("{scheme}:")).collect::<Vec<_>>().join(" or ")
        ))
    }
}

/// An address for people or programs over HTTP: no user, query or fragment; the path without its last slash.
pub(crate) fn web_address(text: &str, schemes: &[&str]) -> Read<Url> {
    let mut url = url(text, schemes)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user or password".into());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("has a query or a fragment".into());
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

pub(crate) fn origins(text: &str) -> Read<Vec<String>> {
    each(text, |part| {
        if part == "*" {
            return Err("would open the interface to every site".into());
        }
        let url = web_address(part, &["http", "https"])?;
        if url.path() == "/" {
            Ok(url.origin().ascii_serialization())
        } else {
            Err("has a path".into())
        }
    })
}

/// A domain name in ASCII, lower-cased: what may stand after EHLO (RFC 5321 §4.1.2), so nothing can be smuggled into the dialogue.
pub(crate) fn hostname(text: &str) -> Read<String> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() <= 253 && name.split('.').all(label) && name.parse::<IpAddr>().is_err() {
        Ok(name)
    } else {
        Err("is not a domain name".into())
    }
}

/// Enough to catch a slip; the mail itself decides whether the address works.
pub(crate) fn email(text: &str) -> Read<String> {
    let well_formed = text
        .rsplit_once('@')
        .is_some_and(|(local, domain)| (1..=64).contains(&local.len()) && (text.len() <= 254) && !domain.is_empty())
        && !text
            .chars()
            .any(|c| c.is_control() || c.is_whitespace() || matches!(c, '<' | '>' | ','));
    if well_formed {
        Ok(text.to_owned())
    } else {
        Err("is not a mail address".into())
    }
}

/// `name=value,…`, values percent-decoded. The refusal never repeats the text, which may hold a token.
pub(crate) fn pairs(text: &str) -> Read<Vec<(String, String)>> {
    parts(text)
        .map(|part| {
            let (name, value) = part.split_once('=').ok_or("has a part without `=`")?;
            let value = crate::relay::decode(value.trim())?;
            if name.trim().is_empty() {
                return Err("has a part without a name".to_owned());
            }
            Ok((name.trim().to_owned(), value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        let table = [
            ("500ms", 500),
            ("30s", 30_000),
            ("1m", 60_000),
            ("2h", 7_200_000),
            ("5d", 432_000_000),
            ("1h30m", 5_400_000),
            ("1w", 604_800_000),
        ];
        for (text, milliseconds) in table {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in [
            "",
            "5",
            "d",
            "5x",
            "-1s",
            "1.5h",
            "99999999999999999999s",
            "999999w",
            "1s2",
            "5 d x",
        ] {
            assert!(duration(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_schedule_is_neither_empty_nor_without_wait() {
        assert_eq!(durations("1s, 2s").map(|list| list.len()), Ok(2));
        assert!(durations(",").is_err());
        assert!(durations("1s,0s").is_err());
    }

    #[test]
    fn networks_are_written_exactly() {
        assert_eq!(networks("10.0.0.0/8, ::1").map(|list| list.len()), Ok(2));
        assert!(networks("10.0.0.1/8").is_err_and(|fault| fault.contains("10.0.0.0/8")));
        assert!(networks("private").is_err());
    }

    #[test]
    fn name_servers_may_leave_out_port_53() {
        let servers = name_servers("192.0.2.1,[2001:db8::1],127.0.0.1:5353,[::1]:5300").unwrap_or_default();
        assert_eq!(servers.iter().map(SocketAddr::port).collect::<Vec<_>>(), [53, 53, 5353, 5300]);
    }

    #[test]
    fn a_hostname_cannot_carry_anything_else() {
        assert_eq!(hostname("MX.Example.Org."), Ok("mx.example.org".into()));
        let long = "a".repeat(64);
        for text in [
            "",
            ".",
            "a..b",
            "a b",
            "a\r\nQUIT",
            "-a.b",
            "a-.b",
            "127.0.0.1",
            "[::1]",
            "ä.example",
            long.as_str(),
            "a_b.c",
        ] {
            assert!(hostname(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_origin_is_not_a_page() {
        assert_eq!(
            origins("https://App.example, http://x.test:8080/"),
            Ok(vec!["https://app.example".into(), "http://x.test:8080".into()])
        );
        for text in ["*", "https://a/b", "app.example", "ftp://a"] {
            assert!(origins(text).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_keep_their_bounds() {
        assert_eq!(integer("1_000", 1, 2_000), Ok(1_000));
        for text in ["0", "2001", "-1", "1e3", "", "99999999999999999999999"] {
            assert!(integer(text, 1, 2_000).is_err(), "{text}");
        }
        assert!(share("NaN").is_err() && share("1.1").is_err() && share("0.25").is_ok());
    }
}
