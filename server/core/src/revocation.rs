//! Tokens that are refused before their time.
//!
//! A revocation covers the tokens it names that were issued until a moment; whoever signs in again after it gets a token
//! that works. It ends when no token can live any more that it covers and that says when it was issued. One that does not
//! say so may have been signed long before it can first be used, so what has ended is kept for as long as there is room.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{KeyId, RevocationId};
use crate::permission::{ClientSubject, Signer};

/// The most revocations of one app, those that have ended included: these go when there is no room for another, the
/// first that ended before the others.
pub const REVOCATIONS_MAX: u32 = 5_000;
/// How long a revocation is in force after the moment it speaks of: a token lives for a day at most, and clocks may
/// differ by a minute.
pub const KEPT_FOR_MS: u64 = (24 * 3_600 + 60) * 1_000;

/// Which tokens a revocation names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Revoked {
    /// The one with this `jti`.
    Token(Box<str>),
    /// Those of this `sub`.
    User(Box<str>),
    /// Those that carry this label.
    Label(Box<str>),
    /// Those that this key signed.
    Key(KeyId),
    /// All of the app.
    All,
}

/// A revocation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// Its id.
    pub id: RevocationId,
    /// Which tokens.
    pub revoked: Revoked,
    /// Of these, the ones that were issued until then, by the clock of whoever signed them. Unix milliseconds.
    pub issued_until_ms: u64,
}

impl Revocation {
    /// When no token that it covers can live any more, but one that does not say when it was issued.
    #[must_use]
    pub const fn ends_ms(&self) -> u64 {
        self.issued_until_ms.saturating_add(KEPT_FOR_MS)
    }
}

/// The revocations of one app. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub struct Revocations(Option<Arc<Index>>);

#[derive(Debug, Default)]
struct Index {
    /// In the order of their ids.
    all: Vec<Revocation>,
    /// For each of the tokens named, until when: how ever many there are, a token is looked up a few times.
    until: HashMap<Revoked, (u64, RevocationId)>,
}

impl Revocations {
    /// These.
    #[must_use]
    pub fn new(mut all: Vec<Revocation>) -> Self {
        if all.is_empty() {
            return Self(None);
        }
        all.sort_unstable_by_key(|one| one.id);
        let until = all.iter().map(|one| (one.revoked.clone(), (one.issued_until_ms, one.id))).collect();
        Self(Some(Arc::new(Index { all, until })))
    }

    /// These and another, which takes the place of one of the same tokens.
    #[must_use]
    pub fn with(&self, revocation: Revocation) -> Self {
        let others = self.iter().filter(|one| one.revoked != revocation.revoked).cloned();
        Self::new(others.chain([revocation.clone()]).collect())
    }

    /// These without the ones that have ended.
    #[must_use]
    pub fn without(&self, ended: impl Fn(RevocationId) -> bool) -> Self {
        Self::new(self.iter().filter(|one| !ended(one.id)).cloned().collect())
    }

    /// Those that cover tokens which the others do not.
    pub fn beyond<'a>(&'a self, others: &'a Self) -> impl Iterator<Item = &'a Revocation> {
        self.iter().filter(|one| !others.cover(one))
    }

    /// Whether they cover every token that this one does.
    #[must_use]
    pub fn cover(&self, revocation: &Revocation) -> bool {
        let known = self.0.as_ref().and_then(|index| index.until.get(&revocation.revoked));
        known.is_some_and(|(until_ms, _)| *until_ms >= revocation.issued_until_ms)
    }

    /// In the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Revocation> {
        self.0.iter().flat_map(|index| &index.all)
    }

    /// The revocation that covers the token a client came with. Without a token there is nothing to revoke, and one that
    /// does not say when it was issued is covered by every one that names it.
    #[must_use]
    pub fn of(&self, client: &ClientSubject) -> Option<RevocationId> {
        let (index, ceiling) = (self.0.as_ref()?, client.ceiling.as_ref()?);
        let key = match ceiling.signer {
            Signer::Key(key) => Some(Revoked::Key(key)),
            Signer::Issuer(_) => None,
        };
        let (marks, issued_ms) = (&client.marks, client.marks.issued_ms.unwrap_or(0));
        let named =
            [Some(Revoked::All), client.sub.clone().map(Revoked::User), marks.id.clone().map(Revoked::Token), key];
        named
            .into_iter()
            .flatten()
            .chain(marks.labels.iter().cloned().map(Revoked::Label))
            .filter_map(|name| index.until.get(&name))
            .find_map(|(until_ms, id)| (issued_ms <= *until_ms).then_some(*id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::Capabilities;
    use crate::permission::{Ceiling, Marks};

    fn revocation(number: u64, revoked: Revoked, issued_until_ms: u64) -> Revocation {
        Revocation { id: RevocationId::new(number, 0), revoked, issued_until_ms }
    }

    fn client(issued_ms: Option<u64>) -> ClientSubject {
        ClientSubject {
            sub: Some("ann".into()),
            ceiling: Some(Ceiling { signer: Signer::Key(KeyId::new(1, 1)), capabilities: Capabilities::everything() }),
            marks: Marks { id: Some("t-1".into()), issued_ms, labels: ["web".into(), "eu".into()].into() },
            ..ClientSubject::default()
        }
    }

    #[test]
    fn a_revocation_covers_what_it_names_and_was_issued_until_then() {
        for revoked in [
            Revoked::Token("t-1".into()),
            Revoked::User("ann".into()),
            Revoked::Label("eu".into()),
            Revoked::Key(KeyId::new(1, 1)),
            Revoked::All,
        ] {
            let all = Revocations::new(vec![revocation(7, revoked.clone(), 1_000)]);
            let of = |issued_ms| all.of(&client(issued_ms)).is_some();
            assert!(of(Some(1_000)) && of(Some(0)) && of(None) && !of(Some(1_001)), "{revoked:?}");
            assert!(all.of(&ClientSubject::default()).is_none(), "nothing is revoked without a token: {revoked:?}");
        }
        for other in [
            Revoked::Token("ann".into()),
            Revoked::User("bob".into()),
            Revoked::Label("ann".into()),
            Revoked::Key(KeyId::new(1, 2)),
        ] {
            assert!(Revocations::new(vec![revocation(7, other, u64::MAX)]).of(&client(None)).is_none());
        }
    }

    #[test]
    fn a_later_revocation_of_the_same_takes_the_place_of_the_earlier() {
        let ann = || Revoked::User("ann".into());
        let first = Revocations::default().with(revocation(1, ann(), 1_000)).with(revocation(2, Revoked::All, 5));
        let second = first.with(revocation(3, ann(), 2_000));
        let ids = |all: &Revocations| all.iter().map(|one| one.id.unix_ms()).collect::<Vec<_>>();
        assert_eq!((ids(&first), ids(&second)), (vec![1, 2], vec![2, 3]));
        assert_eq!(second.of(&client(Some(1_500))), Some(RevocationId::new(3, 0)));
        assert_eq!(ids(&second.without(|id| id == RevocationId::new(3, 0))), [2]);
        let beyond = |one: &Revocations, other: &Revocations| one.beyond(other).count();
        assert_eq!((beyond(&second, &first), beyond(&first, &second), beyond(&first, &first)), (1, 0, 0));
        assert_eq!(beyond(&first, &Revocations::default()), 2);
    }
}
