//! Only the dashboard changes anything with a session cookie.
//!
//! A change needs the header `X-Fanfare-CSRF`, which no other site can make a browser send without asking us first,
//! and we never say yes (there is no CORS here). What the browser tells of itself must agree: `Sec-Fetch-Site` is
//! `same-origin`, `Origin` is ours. Sign-in and sign-up are held to it too, so that nobody is signed in unawares.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use fanfare_api::server::ApiProblem;
use fanfare_core::{ErrorCode, Problem};
use http::{HeaderMap, HeaderName, Method, Uri, header};

use crate::state::Control;

/// The header that the dashboard sends with every change.
pub(crate) const X_FANFARE_CSRF: HeaderName = HeaderName::from_static("x-fanfare-csrf");

/// The origins that the dashboard is opened at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origins(Vec<String>);

impl Origins {
    /// The origin of the public URL. One on this very machine goes by all its names, with the same port.
    pub(crate) fn of(public_url: &Uri) -> Self {
        let scheme = public_url.scheme_str().unwrap_or("http");
        let host = public_url.host().unwrap_or("localhost");
        let default = if scheme == "https" { 443 } else { 80 };
        let port = public_url.port_u16().filter(|port| *port != default).map(|port| format!(":{port}"));
        let port = port.unwrap_or_default();
        const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];
        let hosts = if LOCAL.contains(&host) { LOCAL.to_vec() } else { vec![host] };
        Self(hosts.into_iter().map(|host| format!("{scheme}://{}{port}", host.to_ascii_lowercase())).collect())
    }

    fn contains(&self, origin: &str) -> bool {
        self.0.iter().any(|own| own == origin)
    }
}

/// The origins at which a dashboard with this public URL is opened.
#[must_use]
pub fn dashboard_origins(public_url: &Uri) -> Vec<String> {
    Origins::of(public_url).0
}

/// Refuses changes that did not come from the dashboard.
pub(crate) async fn guard(State(control): State<Control>, request: Request, next: Next) -> Response {
    match check(request.method(), request.headers(), control.origins()) {
        Ok(()) => next.run(request).await,
        Err(why) => ApiProblem::from(Problem::new(ErrorCode::CsrfRefused, why)).into_response(),
    }
}

fn check(method: &Method, headers: &HeaderMap, own: &Origins) -> Result<(), &'static str> {
    if method.is_safe() {
        return Ok(());
    }
    if headers.get(X_FANFARE_CSRF).is_none_or(|value| value != "1") {
        return Err("Changes need the header `X-Fanfare-CSRF: 1`.");
    }
    let all = |name: HeaderName, good: &dyn Fn(&str) -> bool| {
        headers.get_all(name).iter().all(|value| value.to_str().is_ok_and(good))
    };
    if !all(HeaderName::from_static("sec-fetch-site"), &|site| site == "same-origin") {
        return Err("The browser says that another site asks for this change.");
    }
    if !all(header::ORIGIN, &|origin| own.contains(origin)) {
        return Err("The origin is not that of the dashboard. Is its public URL configured as it is opened?");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn passes(method: Method, headers: &[(&'static str, &'static str)]) -> bool {
        let own = Origins::of(&Uri::from_static("https://fan.example.com"));
        let headers =
            headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        check(&method, &headers.collect(), &own).is_ok()
    }

    const CSRF: (&str, &str) = ("x-fanfare-csrf", "1");

    #[test]
    fn only_our_own_page_changes_anything() {
        let ours = ("origin", "https://fan.example.com");
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            assert!(passes(method.clone(), &[CSRF, ours, ("sec-fetch-site", "same-origin")]));
            assert!(passes(method.clone(), &[CSRF, ours]));
            assert!(passes(method.clone(), &[CSRF]), "no browser: nothing is sent by itself");
            assert!(!passes(method.clone(), &[]));
            assert!(!passes(method.clone(), &[ours, ("sec-fetch-site", "same-origin")]), "a form has no header");
            assert!(!passes(method, &[("x-fanfare-csrf", "0"), ours]));
        }
    }

    #[test]
    fn other_origins_and_sites_are_refused() {
        for origin in [
            "null",
            "",
            "http://fan.example.com",
            "https://fan.example.com:8443",
            "https://fan.example.com.evil.test",
            "https://evil-fan.example.com",
            "https://example.com",
            "https://fan.example.com@evil.test",
            "https://FAN.example.com",
            "https://fan.example.com/",
            "https://fan.example.com https://evil.test",
        ] {
            assert!(!passes(Method::POST, &[CSRF, ("origin", origin)]), "{origin}");
        }
        for site in ["cross-site", "same-site", "none", "", "Same-Origin"] {
            assert!(!passes(Method::POST, &[CSRF, ("sec-fetch-site", site)]), "{site}");
        }
        let two = [CSRF, ("origin", "https://fan.example.com"), ("origin", "https://evil.test")];
        let mut headers = HeaderMap::new();
        for (name, value) in two {
            headers.append(name, HeaderValue::from_static(value));
        }
        assert!(check(&Method::POST, &headers, &Origins::of(&Uri::from_static("https://fan.example.com"))).is_err());
    }

    #[test]
    fn reading_needs_nothing() {
        for method in [Method::GET, Method::HEAD] {
            assert!(passes(method, &[("origin", "https://evil.test"), ("sec-fetch-site", "cross-site")]));
        }
    }

    #[test]
    fn a_dashboard_on_this_machine_goes_by_all_its_names() {
        let own = Origins::of(&Uri::from_static("http://localhost:8001"));
        for origin in ["http://localhost:8001", "http://127.0.0.1:8001", "http://[::1]:8001"] {
            assert!(own.contains(origin), "{origin}");
        }
        for origin in ["http://localhost", "https://localhost:8001", "http://localhost:8000", "http://127.0.0.2:8001"] {
            assert!(!own.contains(origin), "{origin}");
        }
        assert!(Origins::of(&Uri::from_static("https://a.example:443")).contains("https://a.example"));
    }
}
