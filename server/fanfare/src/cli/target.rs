//! Which app a client command speaks to, and with which key.

use anyhow::{Context as _, Result, bail};
use clap::Args;
use fanfare_core::id::AppId;
use fanfare_core::secret::PrintedKey;

/// The app's URL, as `serve` and the dashboard print it.
#[derive(Debug, Args)]
pub(super) struct Url {
    /// The app's URL: http://localhost:8000/v1/apps/app_…
    #[arg(id = "url", long = "url", env = "FANFARE_URL", value_name = "URL")]
    text: Option<String>,
}

impl Url {
    /// The URL without a slash at its end.
    ///
    /// # Errors
    /// When it is missing or is not the URL of an app.
    pub(super) fn get(&self) -> Result<String> {
        let text = self.text.as_deref().context(
            "which app? Set FANFARE_URL to its URL, as the dashboard and `fanfare serve` show it, or pass --url",
        )?;
        let text = text.trim_end_matches('/');
        let is_app = text.rsplit_once("/v1/apps/").is_some_and(|(host, app)| {
            (host.starts_with("http://") || host.starts_with("https://")) && app.parse::<AppId>().is_ok()
        });
        if !is_app {
            bail!("`{text}` is not the URL of an app: it reads http://localhost:8000/v1/apps/app_…");
        }
        Ok(text.to_owned())
    }
}

/// A key of the app.
#[derive(Debug, Args)]
pub(super) struct Key {
    /// A key of the app: key_…:ffs_…. Prefer the variable: arguments are seen by every user of the machine.
    #[arg(id = "key", long = "key", env = "FANFARE_KEY", value_name = "KEY", hide_env_values = true)]
    text: Option<String>,
}

impl Key {
    /// The key, where one was given.
    ///
    /// # Errors
    /// When what was given is none, mistyped or cut off.
    pub(super) fn optional(&self) -> Result<Option<PrintedKey>> {
        self.text.as_deref().map(parse).transpose()
    }

    /// The key.
    ///
    /// # Errors
    /// When it is missing, mistyped or cut off.
    pub(super) fn get(&self) -> Result<PrintedKey> {
        self.optional()?.context(
            "a key is needed: set FANFARE_KEY to key_…:ffs_…, as the dashboard shows it once when it makes one",
        )
    }
}

fn parse(text: &str) -> Result<PrintedKey> {
    PrintedKey::parse(text.trim()).with_context(|| {
        let why = match text.split_once(':') {
            None => "it has no colon: both halves are needed, key_…:ffs_…",
            Some((id, _)) if id.parse::<fanfare_core::id::KeyId>().is_err() => {
                "its first half is not key_ and 26 characters"
            }
            Some(_) => "the secret's checksum does not fit: it is mistyped or cut off",
        };
        format!("the key is not valid: {why}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_url_of_an_app_is_taken() {
        let app = AppId::new(1, 1);
        let get = |text: &str| Url { text: Some(text.to_owned()) }.get();
        let url = format!("http://localhost:8000/v1/apps/{app}");
        assert_eq!(get(&format!("{url}/")).expect("valid"), url);
        for wrong in [
            "",
            "localhost",
            "http://localhost:8000",
            "http://localhost:8000/v1/apps/app_1",
            &format!("ftp://h/v1/apps/{app}"),
        ] {
            assert!(get(wrong).is_err(), "{wrong}");
        }
        assert!(Url { text: None }.get().expect_err("missing").to_string().contains("FANFARE_URL"));
    }

    #[test]
    fn a_wrong_key_is_told_what_is_wrong_without_being_shown() {
        for (text, why) in [
            ("abc", "no colon"),
            ("abc:ffs_x", "first half"),
            ("key_00000000000000000000000001:ffs_secret", "checksum"),
        ] {
            let said = format!("{:#}", parse(text).expect_err(text));
            assert!(said.contains(why) && !said.contains("ffs_secret"), "{said}");
        }
    }
}
