//! Checks that several resources share. Every wrong place is collected, so that a form can show them all at once.

use fanfare_core::{ErrorCode, Problem};

use crate::error::ControlError;

const NAME_CHARS_MAX: usize = 100;
const EMAIL_BYTES_MAX: usize = 254;

/// Collects wrong places.
#[derive(Default)]
pub(crate) struct Checks(Option<Problem>);

impl Checks {
    /// Notes a wrong place.
    pub(crate) fn wrong(&mut self, pointer: impl Into<String>, detail: impl Into<String>) {
        let problem = self.0.take().unwrap_or_else(|| {
            Problem::new(ErrorCode::InvalidRequest, "The request is not valid; `errors` lists each wrong place.")
        });
        self.0 = Some(problem.at(pointer, detail));
    }

    /// A name without the spaces around it.
    pub(crate) fn name(&mut self, pointer: &str, name: &str) -> String {
        let name = name.trim();
        if !(1..=NAME_CHARS_MAX).contains(&name.chars().count()) || name.chars().any(char::is_control) {
            self.wrong(pointer, "use 1 to 100 characters, none of them a control character");
        }
        name.to_owned()
    }

    /// An address without the spaces around it.
    pub(crate) fn email(&mut self, pointer: &str, email: &str) -> String {
        let email = email.trim();
        if !is_email(email) {
            self.wrong(pointer, "use an e-mail address such as ann@example.com");
        }
        email.to_owned()
    }

    /// Fails when something was wrong.
    pub(crate) fn finish(self) -> Result<(), ControlError> {
        self.0.map_or(Ok(()), |problem| Err(problem.into()))
    }
}

/// Whether it looks like an address. Whether it is one, only a mail to it can tell.
pub(crate) fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let plain = text.chars().all(|letter| !letter.is_control() && !letter.is_whitespace());
    let label = |label: &str| {
        !label.is_empty()
            && label.chars().all(|letter| letter.is_alphanumeric() || letter == '-')
            && !label.starts_with('-')
    };
    plain
        && text.len() <= EMAIL_BYTES_MAX
        && (1..=64).contains(&local.len())
        && !local.contains(['@', '"', '<', '>', '(', ')', ',', ';', ':', '\\'])
        && domain.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_other_texts() {
        for good in ["ann@example.com", "ann+x@a.b-c.example", "o'neil@example.ie", "me@localhost", "jürgen@münchen.de"]
        {
            assert!(is_email(good), "{good}");
        }
        let long = format!("{}@example.com", "a".repeat(65));
        for bad in [
            "",
            "ann",
            "@example.com",
            "ann@",
            "ann@@example.com",
            "a b@example.com",
            "ann@exa mple.com",
            "ann@.com",
            "ann@example..com",
            "ann@-x.com",
            "ann\0@example.com",
            "<ann@example.com>",
            "ann@example.com\r\nBcc: x@y.z",
            &long,
        ] {
            assert!(!is_email(bad), "{bad:?}");
        }
    }

    #[test]
    fn every_wrong_place_is_told() {
        let mut checks = Checks::default();
        assert_eq!(checks.name("/name", " Acme "), "Acme");
        checks.name("/a", "  ");
        checks.name("/b", "a\u{0}b");
        checks.name("/c", &"x".repeat(101));
        let Err(ControlError::Refused(problem)) = checks.finish() else { panic!("three places are wrong") };
        let places: Vec<&str> = problem.errors.iter().map(|error| &*error.pointer).collect();
        assert_eq!(places, ["/a", "/b", "/c"]);
    }
}
