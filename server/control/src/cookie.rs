//! The session cookie.
//!
//! `__Host-` makes browsers accept it only from this very host, over https and for all paths, so that no neighbour can
//! plant another. Over plain http browsers refuse the prefix, and the cookie does without. `SameSite=Strict` costs
//! nothing here: the page itself needs no session, only what it fetches does.

use axum_extra::extract::CookieJar;
use fanfare_store::Token;
use http::{HeaderMap, HeaderValue};

use crate::state::Control;

const fn name(https: bool) -> &'static str {
    if https { "__Host-fanfare" } else { "fanfare" }
}

/// The token in a request's cookie.
pub(crate) fn read(control: &Control, headers: &HeaderMap) -> Option<Token> {
    Token::parse(CookieJar::from_headers(headers).get(name(control.is_https()))?.value())
}

/// `Set-Cookie` for a session that was opened.
pub(crate) fn opened(control: &Control, token: &Token) -> HeaderValue {
    set(control.is_https(), token.expose(), control.options().session_absolute_s)
}

/// `Set-Cookie` for a session that is over.
pub(crate) fn closed(control: &Control) -> HeaderValue {
    set(control.is_https(), "", 0)
}

fn set(https: bool, value: &str, age_s: u32) -> HeaderValue {
    let secure = if https { "; Secure" } else { "" };
    let text = format!("{}={value}; Path=/; Max-Age={age_s}; HttpOnly; SameSite=Strict{secure}", name(https));
    let mut value = HeaderValue::try_from(text).expect("tokens are base64url");
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_bound_as_tightly_as_its_transport_allows() {
        assert_eq!(set(true, "t", 60), "__Host-fanfare=t; Path=/; Max-Age=60; HttpOnly; SameSite=Strict; Secure");
        assert_eq!(set(false, "", 0), "fanfare=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict");
    }
}
