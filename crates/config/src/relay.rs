//! The upstream server of relay mode, written as a URL.

use secrecy::SecretString;
use url::Url;

/// What is asked of TLS on the way to the upstream server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelayTls {
    /// TLS with a certificate that holds for the name, or no delivery.
    Required,
    /// STARTTLS when offered, whatever the certificate.
    Opportunistic,
    /// Never.
    Never,
}

/// An upstream server: `smtp://user:pass@host:587` or `smtps://…`.
#[derive(Debug, Clone)]
pub struct Relay {
    /// Name or address.
    pub host: String,
    /// 587 for `smtp:`, 465 for `smtps:` unless given.
    pub port: u16,
    /// TLS from the first octet (`smtps:`).
    pub implicit_tls: bool,
    /// See [`RelayTls`]; never less than required when a password would travel, unless the operator says so.
    pub tls: RelayTls,
    /// User and password for AUTH, percent-decoded.
    pub login: Option<(String, SecretString)>,
}

impl Relay {
    /// Reads the URL. The answer says what is wrong without repeating the text, which may hold a password.
    pub(crate) fn parse(text: &str, tls: Option<RelayTls>) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("is not a URL ({error})"))?;
        let implicit_tls = match url.scheme() {
            "smtp" => false,
            "smtps" => true,
            _ => return Err("does not begin with smtp:// or smtps://".into()),
        };
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or("names no host")?;
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err("has something after the port".into());
        }
        let user = decode(url.username())?;
        let login = match (user.is_empty(), url.password()) {
            (true, None) => None,
            (false, Some(password)) if !password.is_empty() => Some((user, SecretString::from(decode(password)?))),
            _ => return Err("needs both a user and a password, or neither".into()),
        };
        let safe = if implicit_tls || login.is_some() {
            RelayTls::Required
        } else {
            RelayTls::Opportunistic
        };
        Ok(Self {
            host: host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase(),
            port: url.port().unwrap_or(if implicit_tls { 465 } else { 587 }),
            implicit_tls,
            tls: tls.unwrap_or(safe),
            login,
        })
    }
}

pub(crate) fn decode(text: &str) -> Result<String, String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        if octet == b'%' {
            let digits = [rest.next(), rest.next()].map(|digit| digit.and_then(|digit| char::from(digit).to_digit(16)));
            let [Some(high), Some(low)] = digits else {
                return Err("has a `%` that is not followed by two hexadecimal digits (write `%25` for a percent sign)".into());
            };
            octets.extend(u8::try_from(high * 16 + low));
        } else {
            octets.push(octet);
        }
    }
    let text = String::from_utf8(octets).map_err(|_| "has a user or password that is not UTF-8".to_owned())?;
    if text.chars().any(char::is_control) {
        return Err("has a control character in its user or password".into());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn user_and_password_are_percent_decoded() {
        let relay = Relay::parse("smtp://me%40x.test:p%2Fw@up.test", None).unwrap();
        let (user, password) = relay.login.unwrap();
        assert_eq!((user.as_str(), password.expose_secret()), ("me@x.test", "p/w"));
        assert_eq!((relay.port, relay.tls, relay.implicit_tls), (587, RelayTls::Required, false));
    }

    #[test]
    fn without_a_password_starttls_is_opportunistic() {
        let relay = Relay::parse("smtp://[2001:db8::1]:2525", None).unwrap();
        assert_eq!(
            (relay.host.as_str(), relay.port, relay.tls),
            ("2001:db8::1", 2525, RelayTls::Opportunistic)
        );
    }

    #[test]
    fn refusals_do_not_repeat_the_password() {
        for text in [
            "http://u:hunter2@x",
            "smtp://u:hunter2@x/path",
            "smtp://u:hunter2%0a@x",
            "smtp://:hunter2@x",
            "hunter2",
        ] {
            let refusal = Relay::parse(text, None).unwrap_err();
            assert!(!refusal.contains("hunter2"), "{refusal}");
        }
    }
}
