//! Enhanced status codes (RFC 3463): `5.1.1`.

use std::fmt;
use std::str::FromStr;

/// An enhanced status code: class, subject, detail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EnhancedCode(pub u8, pub u16, pub u16);

/// The text is not `class.subject.detail` with class 2, 4 or 5 and at most three digits each in the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an enhanced status code")]
pub struct NotAnEnhancedCode;

impl EnhancedCode {
    /// Reads a code that is the whole text.
    ///
    /// # Errors
    /// [`NotAnEnhancedCode`].
    pub fn parse(text: &str) -> Result<Self, NotAnEnhancedCode> {
        let mut parts = text.split('.');
        let (Some(class), Some(subject), Some(detail), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(NotAnEnhancedCode);
        };
        let class = match class {
            "2" => 2,
            "4" => 4,
            "5" => 5,
            _ => return Err(NotAnEnhancedCode),
        };
        Ok(Self(class, number(subject)?, number(detail)?))
    }

    /// The code with which a text begins, as the text of a reply does, and the rest of the text.
    #[must_use]
    pub fn leading(text: &str) -> Option<(Self, &str)> {
        let end = text
            .find(|character: char| !(character.is_ascii_digit() || character == '.'))
            .unwrap_or(text.len());
        let (head, rest) = text.split_at(end);
        if !(rest.is_empty() || rest.starts_with([' ', '\t'])) {
            return None;
        }
        Some((Self::parse(head).ok()?, rest.trim_start()))
    }

    /// The first code anywhere in a text that stands apart from its neighbours: `host said: 550 5.1.1 <a@b>… (#5.1.1)`.
    #[must_use]
    pub fn find(text: &str) -> Option<Self> {
        text.split(|character: char| !(character.is_ascii_alphanumeric() || matches!(character, '.' | ':' | '@' | '_')))
            .filter_map(|word| Self::parse(word.trim_matches([':', '.'])).ok())
            // No subject above 7 is registered: `Exim 4.92.3` is a program's version.
            .find(|code| code.1 <= 7)
    }

    /// 2: delivered.
    #[must_use]
    pub fn is_success(self) -> bool {
        self.0 == 2
    }

    /// 4: may succeed when tried again.
    #[must_use]
    pub fn is_transient(self) -> bool {
        self.0 == 4
    }

    /// 5: will not succeed.
    #[must_use]
    pub fn is_permanent(self) -> bool {
        self.0 == 5
    }
}

fn number(text: &str) -> Result<u16, NotAnEnhancedCode> {
    if matches!(text.len(), 1..=3) && text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().map_err(|_| NotAnEnhancedCode)
    } else {
        Err(NotAnEnhancedCode)
    }
}

impl fmt::Display for EnhancedCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl FromStr for EnhancedCode {
    type Err = NotAnEnhancedCode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_whole_leading_or_anywhere() {
        assert_eq!(EnhancedCode::parse("5.1.10"), Ok(EnhancedCode(5, 1, 10)));
        for wrong in ["", "5", "5.1", "5.1.1.1", "3.1.1", "5.1.1000", "5..1", "5.1.+1", "x.1.1"] {
            assert_eq!(EnhancedCode::parse(wrong), Err(NotAnEnhancedCode), "{wrong}");
        }
        assert_eq!(
            EnhancedCode::leading("5.1.1 no such user"),
            Some((EnhancedCode(5, 1, 1), "no such user"))
        );
        assert_eq!(EnhancedCode::leading("5.1.1x"), None);
        assert_eq!(EnhancedCode::leading("hello"), None);
        assert_eq!(EnhancedCode::find("550 5.7.1: refused"), Some(EnhancedCode(5, 7, 1)));
        assert_eq!(EnhancedCode::find("Sorry. (#5.1.1)"), Some(EnhancedCode(5, 1, 1)));
        assert_eq!(EnhancedCode::find("from 10.5.1.1 we heard nothing"), None);
        assert_eq!(EnhancedCode::find("Exim 4.92.3 says 4.7.1"), Some(EnhancedCode(4, 7, 1)));
        assert_eq!(EnhancedCode(4, 4, 7).to_string(), "4.4.7");
    }
}
