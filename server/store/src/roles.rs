//! The database roles the store works as, and the check that each is as little as it must be.
//!
//! One login, that of the database URL, is a member of all of them; each pool takes its role on when it connects. Rights
//! are the roles': what a bug in a statement can reach is bounded by Postgres and not by this code.

use sqlx::PgConnection;

use crate::StoreError;

/// A role a pool takes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DatabaseRole {
    /// Requests of members.
    App,
    /// What happens before anybody is known.
    Auth,
    /// Snapshots for the data plane.
    Feed,
}

impl DatabaseRole {
    pub(crate) const ALL: [Self; 3] = [Self::App, Self::Auth, Self::Feed];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::App => "fanfare_app",
            Self::Auth => "fanfare_auth",
            Self::Feed => "fanfare_feed",
        }
    }
}

/// Who owns the tables and functions.
const OWNER: &str = "fanfare_owner";

#[derive(sqlx::FromRow)]
struct Standing {
    is_superuser: bool,
    bypasses: bool,
    owns: bool,
    reaches_more: bool,
    can_be_taken_on: bool,
}

/// Refuses roles that may more than they should: row-level security would hold nobody back.
pub(crate) async fn check(connection: &mut PgConnection) -> Result<(), StoreError> {
    let owner = standing(connection, OWNER).await?;
    refuse(OWNER, owner.is_superuser.then_some("is a superuser").or(owner.bypasses.then_some("has BYPASSRLS")))?;
    for role in DatabaseRole::ALL {
        refuse(role.as_str(), standing(connection, role.as_str()).await?.problem())?;
    }
    Ok(())
}

fn refuse(role: &'static str, problem: Option<&'static str>) -> Result<(), StoreError> {
    problem.map_or(Ok(()), |problem| Err(StoreError::Role { role, problem }))
}

impl Standing {
    /// What is wrong with a role that a pool takes on.
    fn problem(&self) -> Option<&'static str> {
        let problems = [
            (self.is_superuser, "is a superuser, for whom row-level security does not hold"),
            (self.bypasses, "has BYPASSRLS, so row-level security does not hold for it"),
            (self.reaches_more, "is a member of fanfare_owner, of a superuser or of a role with BYPASSRLS"),
            (self.owns, "owns something, but everything must belong to fanfare_owner"),
            (!self.can_be_taken_on, "cannot be taken on by the login of the database URL: grant it to that login"),
        ];
        problems.into_iter().find_map(|(wrong, problem)| wrong.then_some(problem))
    }
}

async fn standing(connection: &mut PgConnection, role: &'static str) -> Result<Standing, StoreError> {
    sqlx::query_as(
        "SELECT role.rolsuper AS is_superuser, role.rolbypassrls AS bypasses,
            EXISTS (
                SELECT FROM pg_shdepend
                WHERE refclassid = 'pg_authid'::regclass AND refobjid = role.oid AND deptype = 'o'
            ) AS owns,
            EXISTS (
                SELECT FROM pg_roles more
                WHERE more.oid <> role.oid AND (more.rolsuper OR more.rolbypassrls OR more.rolname = $2)
                    AND pg_has_role(role.oid, more.oid, 'MEMBER')
            ) AS reaches_more,
            pg_has_role(session_user, role.oid,
                CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END
            ) AS can_be_taken_on
         FROM pg_roles role WHERE role.rolname = $1",
    )
    .bind(role)
    .bind(OWNER)
    .fetch_optional(connection)
    .await?
    .ok_or(StoreError::Role { role, problem: "does not exist: run `fanfare migrate`" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_that_may_more_than_it_should_is_refused() {
        const fn fine() -> Standing {
            Standing { is_superuser: false, bypasses: false, owns: false, reaches_more: false, can_be_taken_on: true }
        }
        assert_eq!(fine().problem(), None);
        for wrong in [
            Standing { is_superuser: true, ..fine() },
            Standing { bypasses: true, ..fine() },
            Standing { owns: true, ..fine() },
            Standing { reaches_more: true, ..fine() },
            Standing { can_be_taken_on: false, ..fine() },
        ] {
            assert!(
                refuse("fanfare_app", wrong.problem()).is_err_and(|error| error.to_string().contains("fanfare_app"))
            );
        }
    }
}
