//! Bucket policies: parsed strictly when they are put, evaluated on each request.
//!
//! Resources are named as Ceph's gateway takes them: `arn:aws:s3:::bucket/key`, with anything or nothing in the fields of region and account,
//! and `*`. Principals are `*`, `arn:aws:iam::TENANT:user/UID` and `arn:aws:iam::TENANT:root`, or a bare user id.

use super::fault::{Fault, Result};
use s3s::S3ErrorCode;
use serde_json::{Map, Value};
use std::net::IpAddr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Allow,
    Deny,
    /// The policy says nothing.
    Pass,
}

#[derive(Clone, Debug)]
pub struct Policy {
    statements: Vec<Statement>,
}

#[derive(Clone, Debug)]
struct Statement {
    effect: Effect,
    principal: Names<Principal>,
    action: Names<String>,
    resource: Names<String>,
    conditions: Vec<Condition>,
}

/// Those that are named, or all but those.
#[derive(Clone, Debug)]
struct Names<T> {
    names: Vec<T>,
    is_negated: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Principal {
    Everybody,
    User(String),
    /// A part of the gateway, `logging.s3.amazonaws.com`.
    Service(String),
}

#[derive(Clone, Debug)]
struct Condition {
    operator: Operator,
    is_negated: bool,
    if_exists: bool,
    quantifier: Quantifier,
    key: String,
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quantifier {
    /// The key has one value.
    One,
    Any,
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equals,
    EqualsIgnoreCase,
    Like,
    Numeric(Order),
    Date(Order),
    Bool,
    Ip,
    Null,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What a request is, in a policy's words.
pub struct Question<'a> {
    /// `s3:GetObject`.
    pub action: &'a str,
    /// `bucket`, or `bucket/key`.
    pub resource: &'a str,
    /// `None`: anonymous.
    pub user: Option<&'a str>,
    /// The part of the gateway that acts by itself.
    pub service: Option<&'a str>,
    /// The values of a condition key, whose name is in lower case; none where it does not apply.
    pub values: &'a dyn Fn(&str) -> Vec<String>,
}

fn malformed(problem: impl Into<String>) -> Fault {
    Fault::refuse(S3ErrorCode::MalformedPolicy, problem.into())
}

impl Policy {
    /// `bucket`: its resources must be in it.
    pub fn parse(text: &str, bucket: &str) -> Result<Policy> {
        let value: Value =
            serde_json::from_str(text).map_err(|error| malformed(format!("the policy is no JSON: {error}")))?;
        let Value::Object(document) = value else { return Err(malformed("a policy is a JSON object")) };
        for (name, value) in &document {
            match (name.as_str(), value) {
                ("Version", Value::String(version)) if matches!(version.as_str(), "2012-10-17" | "2008-10-17") => {}
                ("Version", _) => return Err(malformed("Version is 2012-10-17 or 2008-10-17")),
                ("Id" | "Statement", _) => {}
                _ => return Err(malformed(format!("a policy has no {name}"))),
            }
        }
        let statements = match document.get("Statement") {
            Some(Value::Array(statements)) => statements.iter().map(|value| Statement::parse(value, bucket)).collect(),
            Some(statement @ Value::Object(_)) => Statement::parse(statement, bucket).map(|one| vec![one]),
            _ => Err(malformed("a policy has a Statement")),
        };
        Ok(Policy { statements: statements? })
    }

    /// Refuses what is no longer taken of those who set a policy. One that was set before goes on counting.
    pub fn check_new(&self) -> Result<()> {
        let lets_all_but_some =
            |statement: &Statement| statement.effect == Effect::Allow && statement.principal.is_negated;
        if self.statements.iter().any(lets_all_but_some) {
            let problem = "to allow all but some would be to allow everybody; NotPrincipal goes with Deny";
            return Err(malformed(problem));
        }
        Ok(())
    }

    pub fn judge(&self, question: &Question<'_>) -> Effect {
        let mut effect = Effect::Pass;
        for statement in self.statements.iter().filter(|statement| statement.applies(question)) {
            if statement.effect == Effect::Deny {
                return Effect::Deny;
            }
            effect = Effect::Allow;
        }
        effect
    }

    /// Whether it lets everybody in, without a condition that narrows who that is.
    pub fn is_public(&self) -> bool {
        self.statements.iter().any(|statement| {
            statement.effect == Effect::Allow
                && (statement.principal.is_negated || statement.principal.names.contains(&Principal::Everybody))
                && !statement.conditions.iter().any(Condition::narrows)
        })
    }
}

impl Statement {
    fn parse(value: &Value, bucket: &str) -> Result<Statement> {
        let Value::Object(fields) = value else { return Err(malformed("a statement is a JSON object")) };
        const KNOWN: [&str; 9] = [
            "Sid",
            "Effect",
            "Principal",
            "NotPrincipal",
            "Action",
            "NotAction",
            "Resource",
            "NotResource",
            "Condition",
        ];
        if let Some(unknown) = fields.keys().find(|name| !KNOWN.contains(&name.as_str())) {
            return Err(malformed(format!("a statement has no {unknown}")));
        }
        let effect = match fields.get("Effect").and_then(Value::as_str) {
            Some("Allow") => Effect::Allow,
            Some("Deny") => Effect::Deny,
            _ => return Err(malformed("Effect is Allow or Deny")),
        };
        let (value, is_negated) = one_of(fields, "Principal", "NotPrincipal")?;
        let principal = Names { names: principals(value)?, is_negated };
        let (value, is_negated) = one_of(fields, "Action", "NotAction")?;
        let action = Names { names: strings(value)?, is_negated };
        if let Some(unknown) = action.names.iter().find(|name| !is_action(name)) {
            return Err(malformed(format!("{unknown} is no action of S3")));
        }
        // Without either, as Ceph's gateway has it, the statement is about the whole bucket: about all but nothing.
        let nothing = Value::Array(Vec::new());
        let is_about_all = !fields.contains_key("Resource") && !fields.contains_key("NotResource");
        let (value, is_negated) =
            if is_about_all { (&nothing, true) } else { one_of(fields, "Resource", "NotResource")? };
        let names = strings(value)?;
        let names: Option<Vec<String>> = names.iter().map(|name| resource(name)).collect();
        let names = names.ok_or_else(|| malformed("a resource is named as arn:aws:s3:::bucket/key"))?;
        for name in &names {
            let named = name.split('/').next().unwrap_or_default();
            if !matches(named, bucket, false) {
                return Err(malformed(format!("the resource {name} is not in bucket {bucket}")));
            }
        }
        let resource = Names { names, is_negated };
        let conditions = match fields.get("Condition") {
            None => Vec::new(),
            Some(Value::Object(operators)) => conditions(operators)?,
            Some(_) => return Err(malformed("Condition is a JSON object")),
        };
        Ok(Statement { effect, principal, action, resource, conditions })
    }

    fn applies(&self, question: &Question<'_>) -> bool {
        let is_who = |principal: &Principal| match principal {
            // A part of the gateway is let in by its name only.
            Principal::Everybody => question.service.is_none(),
            Principal::User(uid) => question.user == Some(uid.as_str()),
            Principal::Service(name) => question.service == Some(name.as_str()),
        };
        self.principal.has(is_who)
            && self.action.has(|name| matches(name, question.action, true))
            && self.resource.has(|name| matches(name, question.resource, false))
            && self.conditions.iter().all(|condition| condition.holds(question.values))
    }
}

impl<T> Names<T> {
    fn has(&self, is_it: impl FnMut(&T) -> bool) -> bool {
        self.names.iter().any(is_it) != self.is_negated
    }
}

fn one_of<'a>(fields: &'a Map<String, Value>, name: &str, negated: &str) -> Result<(&'a Value, bool)> {
    match (fields.get(name), fields.get(negated)) {
        (Some(value), None) => Ok((value, false)),
        (None, Some(value)) => Ok((value, true)),
        _ => Err(malformed(format!("a statement has either {name} or {negated}"))),
    }
}

fn strings(value: &Value) -> Result<Vec<String>> {
    let text = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(truth) => Ok(truth.to_string()),
        Value::Number(number) => Ok(number.to_string()),
        _ => Err(malformed("a name or a list of names was expected")),
    };
    match value {
        Value::Array(values) => values.iter().map(text).collect(),
        one => Ok(vec![text(one)?]),
    }
}

fn principals(value: &Value) -> Result<Vec<Principal>> {
    match value {
        Value::String(all) if all == "*" => Ok(vec![Principal::Everybody]),
        Value::Object(kinds) => {
            let mut found = Vec::new();
            for (kind, names) in kinds {
                for name in strings(names)? {
                    found.push(match kind.as_str() {
                        "AWS" | "CanonicalUser" => principal(&name)?,
                        "Service" => Principal::Service(name),
                        _ => return Err(malformed(format!("principals of kind {kind} are not known here"))),
                    });
                }
            }
            Ok(found)
        }
        _ => Err(malformed("Principal is * or a JSON object")),
    }
}

fn principal(name: &str) -> Result<Principal> {
    if name == "*" {
        return Ok(Principal::Everybody);
    }
    let Some(rest) = name.strip_prefix("arn:") else { return Ok(Principal::User(name.to_owned())) };
    let fields: Vec<&str> = rest.splitn(5, ':').collect();
    match fields.as_slice() {
        [_, "iam", _, account, who] => match who.strip_prefix("user/") {
            Some("*") => Ok(Principal::Everybody),
            Some(uid) if !uid.is_empty() => Ok(Principal::User(uid.to_owned())),
            _ if *who == "root" && !account.is_empty() => Ok(Principal::User((*account).to_owned())),
            _ => Err(malformed(format!("{name} names no user"))),
        },
        _ => Err(malformed(format!("{name} names no user; one is named as arn:aws:iam:::user/uid"))),
    }
}

/// `bucket/key` of a resource's name.
fn resource(name: &str) -> Option<String> {
    if name == "*" {
        return Some("*".into());
    }
    let fields: Vec<&str> = name.splitn(6, ':').collect();
    match fields.as_slice() {
        ["arn", "aws" | "*", "s3" | "*", _, _, resource] if !resource.is_empty() => Some((*resource).to_owned()),
        _ => None,
    }
}

fn is_action(name: &str) -> bool {
    if name == "*" {
        return true;
    }
    let Some(pattern) = strip_prefix_ignore_case(name, "s3:") else { return false };
    pattern == "*" || ACTIONS.iter().any(|action| matches(pattern, action, true))
}

fn strip_prefix_ignore_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let begin = text.get(..prefix.len())?;
    if begin.eq_ignore_ascii_case(prefix) { text.get(prefix.len()..) } else { None }
}

const ACTIONS: [&str; 84] = [
    "GetObject",
    "GetObjectVersion",
    "PutObject",
    "GetObjectAcl",
    "GetObjectVersionAcl",
    "PutObjectAcl",
    "PutObjectVersionAcl",
    "DeleteObject",
    "DeleteObjectVersion",
    "ListMultipartUploadParts",
    "AbortMultipartUpload",
    "GetObjectTorrent",
    "GetObjectVersionTorrent",
    "RestoreObject",
    "CreateBucket",
    "DeleteBucket",
    "ListBucket",
    "ListBucketVersions",
    "ListAllMyBuckets",
    "ListBucketMultipartUploads",
    "GetAccelerateConfiguration",
    "PutAccelerateConfiguration",
    "GetBucketAcl",
    "PutBucketAcl",
    "GetBucketCORS",
    "PutBucketCORS",
    "GetBucketEncryption",
    "PutBucketEncryption",
    "GetBucketVersioning",
    "PutBucketVersioning",
    "GetBucketRequestPayment",
    "PutBucketRequestPayment",
    "GetBucketLocation",
    "GetBucketPolicy",
    "DeleteBucketPolicy",
    "PutBucketPolicy",
    "GetBucketNotification",
    "PutBucketNotification",
    "GetBucketLogging",
    "PutBucketLogging",
    "GetBucketTagging",
    "PutBucketTagging",
    "GetBucketWebsite",
    "PutBucketWebsite",
    "DeleteBucketWebsite",
    "GetLifecycleConfiguration",
    "PutLifecycleConfiguration",
    "GetReplicationConfiguration",
    "PutReplicationConfiguration",
    "DeleteReplicationConfiguration",
    "GetObjectTagging",
    "PutObjectTagging",
    "DeleteObjectTagging",
    "GetObjectVersionTagging",
    "PutObjectVersionTagging",
    "DeleteObjectVersionTagging",
    "PutBucketObjectLockConfiguration",
    "GetBucketObjectLockConfiguration",
    "PutObjectRetention",
    "GetObjectRetention",
    "PutObjectLegalHold",
    "GetObjectLegalHold",
    "BypassGovernanceRetention",
    "GetBucketPolicyStatus",
    "PutBucketPublicAccessBlock",
    "GetBucketPublicAccessBlock",
    "DeleteBucketPublicAccessBlock",
    "GetPublicAccessBlock",
    "PutPublicAccessBlock",
    "DeletePublicAccessBlock",
    "GetBucketOwnershipControls",
    "PutBucketOwnershipControls",
    "GetObjectAttributes",
    "GetObjectVersionAttributes",
    "GetAnalyticsConfiguration",
    "PutAnalyticsConfiguration",
    "GetInventoryConfiguration",
    "PutInventoryConfiguration",
    "GetMetricsConfiguration",
    "PutMetricsConfiguration",
    "ReplicateObject",
    "ReplicateDelete",
    "ReplicateTags",
    "GetObjectVersionForReplication",
];

fn conditions(operators: &Map<String, Value>) -> Result<Vec<Condition>> {
    let mut found = Vec::new();
    for (name, keys) in operators {
        let Value::Object(keys) = keys else { return Err(malformed(format!("{name} has keys with values"))) };
        let (quantifier, rest) = match name.split_once(':') {
            Some(("ForAnyValue", rest)) => (Quantifier::Any, rest),
            Some(("ForAllValues", rest)) => (Quantifier::All, rest),
            Some(_) => return Err(malformed(format!("there is no condition {name}"))),
            None => (Quantifier::One, name.as_str()),
        };
        let (rest, if_exists) = match rest.strip_suffix("IfExists") {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let Some((operator, is_negated)) = operator(rest) else {
            return Err(malformed(format!("there is no condition {name}")));
        };
        for (key, values) in keys {
            let values = strings(values)?;
            if operator == Operator::Ip && values.iter().any(|value| network(value).is_none()) {
                return Err(malformed(format!("{name} of {key} takes addresses such as 10.0.0.0/8")));
            }
            found.push(Condition { operator, is_negated, if_exists, quantifier, key: key.to_lowercase(), values });
        }
    }
    Ok(found)
}

fn operator(name: &str) -> Option<(Operator, bool)> {
    use Operator::{Bool, Date, Equals, EqualsIgnoreCase, Ip, Like, Null, Numeric};
    Some(match name {
        "StringEquals" | "ArnEquals" => (Equals, false),
        "StringNotEquals" | "ArnNotEquals" => (Equals, true),
        "StringEqualsIgnoreCase" => (EqualsIgnoreCase, false),
        "StringNotEqualsIgnoreCase" => (EqualsIgnoreCase, true),
        "StringLike" | "ArnLike" => (Like, false),
        "StringNotLike" | "ArnNotLike" => (Like, true),
        "NumericEquals" => (Numeric(Order::Equal), false),
        "NumericNotEquals" => (Numeric(Order::Equal), true),
        "NumericLessThan" => (Numeric(Order::Less), false),
        "NumericLessThanEquals" => (Numeric(Order::LessOrEqual), false),
        "NumericGreaterThan" => (Numeric(Order::Greater), false),
        "NumericGreaterThanEquals" => (Numeric(Order::GreaterOrEqual), false),
        "DateEquals" => (Date(Order::Equal), false),
        "DateNotEquals" => (Date(Order::Equal), true),
        "DateLessThan" => (Date(Order::Less), false),
        "DateLessThanEquals" => (Date(Order::LessOrEqual), false),
        "DateGreaterThan" => (Date(Order::Greater), false),
        "DateGreaterThanEquals" => (Date(Order::GreaterOrEqual), false),
        "Bool" => (Bool, false),
        "IpAddress" => (Ip, false),
        "NotIpAddress" => (Ip, true),
        "Null" => (Null, false),
        _ => return None,
    })
}

impl Condition {
    fn holds(&self, values: &dyn Fn(&str) -> Vec<String>) -> bool {
        let seen = values(&self.key);
        if self.operator == Operator::Null {
            return self.values.iter().any(|wanted| wanted.eq_ignore_ascii_case("true") == seen.is_empty());
        }
        if seen.is_empty() {
            // What is not there equals nothing.
            return self.if_exists || self.quantifier == Quantifier::All || self.is_negated;
        }
        let holds =
            |seen: &String| self.values.iter().any(|wanted| self.operator.matches(wanted, seen)) != self.is_negated;
        match self.quantifier {
            Quantifier::One | Quantifier::Any => seen.iter().any(holds),
            Quantifier::All => seen.iter().all(holds),
        }
    }

    /// Whether it holds for some callers only.
    fn narrows(&self) -> bool {
        let names_callers = matches!(
            self.key.as_str(),
            "aws:sourceip"
                | "aws:sourcevpc"
                | "aws:sourcevpce"
                | "aws:sourcearn"
                | "aws:sourceaccount"
                | "aws:userid"
                | "aws:principalarn"
        );
        names_callers
            && !self.is_negated
            && !self.values.iter().any(|value| matches!(value.as_str(), "*" | "0.0.0.0/0" | "::/0"))
    }
}

impl Operator {
    fn matches(self, wanted: &str, seen: &str) -> bool {
        match self {
            Operator::Equals => wanted == seen,
            Operator::EqualsIgnoreCase => wanted.eq_ignore_ascii_case(seen),
            Operator::Like => matches(wanted, seen, false),
            Operator::Bool => wanted.eq_ignore_ascii_case(seen),
            Operator::Ip => match (network(wanted), seen.parse::<IpAddr>()) {
                (Some((base, bits)), Ok(address)) => is_in(address, base, bits),
                _ => false,
            },
            Operator::Numeric(order) => match (wanted.parse::<f64>(), seen.parse::<f64>()) {
                (Ok(wanted), Ok(seen)) => order.holds(seen.partial_cmp(&wanted)),
                _ => false,
            },
            Operator::Date(order) => match (seconds(wanted), seconds(seen)) {
                (Some(wanted), Some(seen)) => order.holds(Some(seen.cmp(&wanted))),
                _ => false,
            },
            Operator::Null => false,
        }
    }
}

impl Order {
    fn holds(self, seen: Option<std::cmp::Ordering>) -> bool {
        let Some(seen) = seen else { return false };
        match self {
            Order::Equal => seen.is_eq(),
            Order::Less => seen.is_lt(),
            Order::LessOrEqual => seen.is_le(),
            Order::Greater => seen.is_gt(),
            Order::GreaterOrEqual => seen.is_ge(),
        }
    }
}

fn seconds(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse() {
        return Some(seconds);
    }
    let parsed = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339);
    parsed.ok().map(time::OffsetDateTime::unix_timestamp)
}

fn network(text: &str) -> Option<(IpAddr, u32)> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address.parse::<IpAddr>().ok()?, bits.parse().ok()?),
        None => {
            let address = text.parse::<IpAddr>().ok()?;
            (address, if address.is_ipv4() { 32 } else { 128 })
        }
    };
    (bits <= if address.is_ipv4() { 32 } else { 128 }).then_some((address, bits))
}

fn is_in(address: IpAddr, base: IpAddr, bits: u32) -> bool {
    match (address, base) {
        (IpAddr::V4(address), IpAddr::V4(base)) => {
            bits == 0 || (u32::from(address) ^ u32::from(base)).checked_shr(32 - bits) == Some(0)
        }
        (IpAddr::V6(address), IpAddr::V6(base)) => {
            bits == 0 || (u128::from(address) ^ u128::from(base)).checked_shr(128 - bits) == Some(0)
        }
        _ => false,
    }
}

/// `*` stands for any characters, `?` for one.
fn matches(pattern: &str, text: &str, ignore_case: bool) -> bool {
    let is_equal = |one: char, other: char| if ignore_case { one.eq_ignore_ascii_case(&other) } else { one == other };
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    // Where to go on if what follows the last `*` does not fit.
    let mut retry: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let before_text = text.clone();
        match (pattern.next(), text.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                retry = Some((pattern.clone(), before_text.clone()));
                text = before_text;
                continue;
            }
            (Some('?'), Some(_)) => continue,
            (Some(one), Some(other)) if is_equal(one, other) => continue,
            _ => {}
        }
        let Some((after_star, from)) = &mut retry else { return false };
        if from.next().is_none() {
            return false;
        }
        pattern = after_star.clone();
        text = from.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(policy: &str, action: &str, resource: &str, user: Option<&str>, ip: &str) -> Effect {
        let policy = Policy::parse(policy, "b").unwrap();
        let values = |key: &str| match key {
            "aws:sourceip" => vec![ip.to_owned()],
            "aws:securetransport" => vec!["false".to_owned()],
            _ => Vec::new(),
        };
        policy.judge(&Question { action, resource, user, service: None, values: &values })
    }

    fn statement(fields: &str) -> String {
        format!(r#"{{"Version":"2012-10-17","Statement":[{{{fields}}}]}}"#)
    }

    #[test]
    fn anonymous_read_of_objects_is_no_leave_to_list() {
        for arn in ["arn:aws:s3:::b/*", "arn:aws:s3::*:b/*", "*"] {
            let policy =
                statement(&format!(r#""Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"{arn}""#));
            assert_eq!(judge(&policy, "s3:GetObject", "b/x/y", None, "::1"), Effect::Allow, "{arn}");
            assert_eq!(judge(&policy, "s3:ListBucket", "b", None, "::1"), Effect::Pass);
            assert_eq!(judge(&policy, "s3:PutObject", "b/x", None, "::1"), Effect::Pass);
        }
    }

    #[test]
    fn nobody_lets_all_but_some_any_more() {
        let by = |effect: &str| {
            statement(&format!(
                r#""Effect":"{effect}","NotPrincipal":{{"AWS":"ann"}},"Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*""#
            ))
        };
        assert!(Policy::parse(&by("Allow"), "b").unwrap().check_new().is_err());
        assert!(Policy::parse(&by("Deny"), "b").unwrap().check_new().is_ok());
        assert_eq!(judge(&by("Allow"), "s3:GetObject", "b/x", Some("bob"), "::1"), Effect::Allow, "set long ago");
    }

    #[test]
    fn a_denial_outweighs_all_leave() {
        let policy = r#"{"Statement":[
            {"Effect":"Allow","Principal":{"AWS":["arn:aws:iam:::user/ann"]},"Action":"s3:*","Resource":["arn:aws:s3:::b","arn:aws:s3:::b/*"]},
            {"Effect":"Deny","Principal":"*","NotAction":"s3:Get*","Resource":"arn:aws:s3:::b/secret/*"}]}"#;
        assert_eq!(judge(policy, "s3:PutObject", "b/x", Some("ann"), "::1"), Effect::Allow);
        assert_eq!(judge(policy, "s3:PutObject", "b/secret/x", Some("ann"), "::1"), Effect::Deny);
        assert_eq!(judge(policy, "s3:GetObject", "b/secret/x", Some("ann"), "::1"), Effect::Allow);
        assert_eq!(judge(policy, "s3:GetObject", "b/secret/x", Some("bob"), "::1"), Effect::Pass);
    }

    #[test]
    fn conditions_hold_for_those_they_name() {
        let policy = statement(
            r#""Effect":"Allow","Principal":"*","Action":"*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":["10.1.0.0/16","::1"]}}"#,
        );
        for (ip, expected) in
            [("10.1.2.3", Effect::Allow), ("10.2.2.3", Effect::Pass), ("::1", Effect::Allow), ("x", Effect::Pass)]
        {
            assert_eq!(judge(&policy, "s3:GetObject", "b/x", None, ip), expected, "{ip}");
        }
        let secure = statement(
            r#""Effect":"Deny","Principal":"*","Action":"*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":false}}"#,
        );
        assert_eq!(judge(&secure, "s3:GetObject", "b/x", None, "::1"), Effect::Deny);
        assert!(!Policy::parse(&policy, "b").unwrap().is_public());
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"Statement":[],"Extra":1}"#,
            &statement(r#""Effect":"allow","Principal":"*","Action":"s3:GetObject","Resource":"*""#),
            &statement(r#""Effect":"Allow","Action":"s3:GetObject","Resource":"*""#),
            &statement(r#""Effect":"Allow","Principal":"*","Action":"s3:Fly","Resource":"*""#),
            &statement(r#""Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::other/*""#),
            &statement(r#""Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"b/*""#),
            &statement(
                r#""Effect":"Allow","Principal":"*","Action":"*","Resource":"*","Condition":{"Feels":{"a":"b"}}"#,
            ),
        ] {
            assert!(Policy::parse(text, "b").is_err(), "{text}");
        }
    }

    #[test]
    fn patterns_match_as_a_naive_matcher_does() {
        fn naive(pattern: &[char], text: &[char]) -> bool {
            match (pattern, text) {
                ([], []) => true,
                (['*', rest @ ..], _) => naive(rest, text) || (!text.is_empty() && naive(pattern, &text[1..])),
                (['?', rest @ ..], [_, behind @ ..]) => naive(rest, behind),
                ([one, rest @ ..], [other, behind @ ..]) => one == other && naive(rest, behind),
                _ => false,
            }
        }
        let letters = ['a', 'b', '*', '?'];
        let words = |length: u32, letters: &[char]| -> Vec<String> {
            let count = letters.len().pow(length);
            (0..count)
                .map(|word| (0..length).map(|at| letters[word / letters.len().pow(at) % letters.len()]).collect())
                .collect()
        };
        for pattern in (0..5).flat_map(|length| words(length, &letters)) {
            for text in (0..5).flat_map(|length| words(length, &letters[..2])) {
                let (p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
                assert_eq!(matches(&pattern, &text, false), naive(&p, &t), "{pattern} {text}");
            }
        }
    }
}
