//! Who may do what with a bucket or an object, as S3 had it before policies: grants.

use super::fault::{Fault, Result};
use s3s::S3ErrorCode;
use serde::{Deserialize, Serialize};

pub const ALL_USERS: &str = "http://acs.amazonaws.com/groups/global/AllUsers";
pub const AUTHENTICATED_USERS: &str = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers";

#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    #[serde(rename = "READ")]
    Read,
    #[serde(rename = "WRITE")]
    Write,
    #[serde(rename = "READ_ACP")]
    ReadAcp,
    #[serde(rename = "WRITE_ACP")]
    WriteAcp,
    #[serde(rename = "FULL_CONTROL")]
    FullControl,
}

impl Permission {
    pub fn parse(word: &str) -> Option<Permission> {
        Some(match word {
            "READ" => Permission::Read,
            "WRITE" => Permission::Write,
            "READ_ACP" => Permission::ReadAcp,
            "WRITE_ACP" => Permission::WriteAcp,
            "FULL_CONTROL" => Permission::FullControl,
            _ => return None,
        })
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Permission::Read => "READ",
            Permission::Write => "WRITE",
            Permission::ReadAcp => "READ_ACP",
            Permission::WriteAcp => "WRITE_ACP",
            Permission::FullControl => "FULL_CONTROL",
        }
    }

    fn includes(self, wanted: Permission) -> bool {
        self == wanted || self == Permission::FullControl
    }
}

#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub enum Grantee {
    #[serde(rename = "user")]
    User { id: String, name: String },
    #[serde(rename = "all")]
    AllUsers,
    #[serde(rename = "authenticated")]
    AuthenticatedUsers,
}

impl Grantee {
    /// `None` of a group.
    pub fn user_id(&self) -> Option<&str> {
        match self {
            Grantee::User { id, .. } => Some(id),
            Grantee::AllUsers | Grantee::AuthenticatedUsers => None,
        }
    }

    pub fn group(uri: &str) -> Option<Grantee> {
        match uri {
            ALL_USERS => Some(Grantee::AllUsers),
            AUTHENTICATED_USERS => Some(Grantee::AuthenticatedUsers),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Grant {
    pub grantee: Grantee,
    pub permission: Permission,
}

/// Empty: the owner has full control, and nobody else anything.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct Acl {
    /// `None` where it is private.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grants: Option<Vec<Grant>>,
}

/// Whose id and name an ACL speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub id: String,
    pub name: String,
}

impl Acl {
    pub fn is_empty(&self) -> bool {
        self.grants.is_none()
    }

    /// What there is in full, the owner's own grant too.
    pub fn grants(&self, owner: &Owner) -> Vec<Grant> {
        self.grants.clone().unwrap_or_else(|| vec![full_control(owner)])
    }

    pub fn allows(&self, owner: &str, user: Option<&str>, wanted: Permission) -> bool {
        let Some(grants) = &self.grants else { return user == Some(owner) };
        // Who owns it can't lock himself out.
        if user == Some(owner) && matches!(wanted, Permission::ReadAcp | Permission::WriteAcp) {
            return true;
        }
        grants.iter().any(|grant| {
            grant.permission.includes(wanted)
                && match &grant.grantee {
                    Grantee::User { id, .. } => user == Some(id.as_str()),
                    Grantee::AllUsers => true,
                    Grantee::AuthenticatedUsers => user.is_some(),
                }
        })
    }

    /// `private`, `public-read` and their like. `bucket_owner`: of the bucket that the object is in.
    pub fn canned(name: &str, owner: &Owner, bucket_owner: &Owner) -> Result<Acl> {
        let with = |more: &[(Grantee, Permission)]| {
            let mut grants = vec![full_control(owner)];
            grants.extend(
                more.iter().map(|(grantee, permission)| Grant { grantee: grantee.clone(), permission: *permission }),
            );
            Acl { grants: Some(grants) }
        };
        let bucket_owner_gets = |permission| {
            if owner.id == bucket_owner.id {
                return Acl::default();
            }
            let grantee = Grantee::User { id: bucket_owner.id.clone(), name: bucket_owner.name.clone() };
            with(&[(grantee, permission)])
        };
        Ok(match name {
            "private" => Acl::default(),
            "public-read" => with(&[(Grantee::AllUsers, Permission::Read)]),
            "public-read-write" => {
                with(&[(Grantee::AllUsers, Permission::Read), (Grantee::AllUsers, Permission::Write)])
            }
            "authenticated-read" => with(&[(Grantee::AuthenticatedUsers, Permission::Read)]),
            "bucket-owner-read" => bucket_owner_gets(Permission::Read),
            "bucket-owner-full-control" => bucket_owner_gets(Permission::FullControl),
            _ => return Err(Fault::refuse(S3ErrorCode::InvalidArgument, format!("{name} is no canned ACL"))),
        })
    }

    /// Whether anybody at all may do something.
    pub fn is_public(&self) -> bool {
        let public = |grant: &Grant| matches!(grant.grantee, Grantee::AllUsers | Grantee::AuthenticatedUsers);
        self.grants.as_ref().is_some_and(|grants| grants.iter().any(public))
    }
}

fn full_control(owner: &Owner) -> Grant {
    let grantee = Grantee::User { id: owner.id.clone(), name: owner.name.clone() };
    Grant { grantee, permission: Permission::FullControl }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(id: &str) -> Owner {
        Owner { id: id.into(), name: id.to_uppercase() }
    }

    #[test]
    fn canned_acls_allow_what_their_names_say() {
        for (name, anonymous, other, bucket_owner) in [
            ("private", "", "", ""),
            ("public-read", "r", "r", "r"),
            ("public-read-write", "rw", "rw", "rw"),
            ("authenticated-read", "", "r", "r"),
            ("bucket-owner-read", "", "", "r"),
            ("bucket-owner-full-control", "", "", "rw"),
        ] {
            let acl = Acl::canned(name, &owner("o"), &owner("b")).unwrap();
            let seen = |user: Option<&str>| {
                let may = |permission| acl.allows("o", user, permission);
                format!(
                    "{}{}",
                    if may(Permission::Read) { "r" } else { "" },
                    if may(Permission::Write) { "w" } else { "" }
                )
            };
            assert_eq!([seen(None), seen(Some("x")), seen(Some("b"))], [anonymous, other, bucket_owner], "{name}");
            assert_eq!(seen(Some("o")), "rw", "{name}");
        }
        assert!(Acl::canned("public", &owner("o"), &owner("o")).is_err());
    }
}
