//! What a peer may ask of a monitor.

use super::{Clause, clauses};
use basalt_net::message::monitor::AdminCommand;

/// In ascending order: who may do more may do all of what is below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    #[default]
    Nothing,
    /// Hear of maps, see what there is.
    Show,
    Change,
    /// Also decide who may do what.
    Rule,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct MonitorCaps {
    pub level: Level,
    /// May say that the OSDs whose keys it has are up, and how they are.
    pub is_osd: bool,
    /// May fence off clients whose work it takes over.
    may_fence: bool,
    /// May make the S3 gateway's own pools.
    may_make_s3_pools: bool,
}

/// What the pools of the S3 gateway are called.
pub(super) const S3_POOLS: &str = "s3.";

impl MonitorCaps {
    pub fn parse(text: &str) -> Result<MonitorCaps, String> {
        clauses(text)?.iter().try_fold(MonitorCaps::default(), |caps, clause| caps.with(clause))
    }

    fn with(mut self, clause: &Clause<'_>) -> Result<MonitorCaps, String> {
        if clause.pool.is_some() || clause.prefix.is_some() {
            return Err(
                "a capability for monitors is for the whole cluster: pool= and prefix= are for those of OSDs".into()
            );
        }
        let level = match (clause.is_profile, clause.what) {
            (false, "r") => Level::Show,
            (false, "rw" | "rwx") => Level::Change,
            (false, "*" | "all") | (true, "mon") => Level::Rule,
            (true, "osd") => {
                self.is_osd = true;
                Level::Show
            }
            (true, "rbd" | "nbd") => {
                self.may_fence = true;
                Level::Show
            }
            (true, "s3") => {
                self.may_make_s3_pools = true;
                Level::Show
            }
            (true, "read-only") => Level::Show,
            (false, what) => {
                return Err(format!("monitors know no 'allow {}'; there are r, rw and *", what.escape_debug()));
            }
            (true, what) => {
                let what = what.escape_debug();
                return Err(format!(
                    "monitors know no 'profile {what}'; there are mon, osd, rbd, nbd, s3 and read-only"
                ));
            }
        };
        self.level = self.level.max(level);
        Ok(self)
    }

    pub fn permits(&self, command: &AdminCommand) -> bool {
        self.level >= level_of(command)
            || match command {
                AdminCommand::BlocklistAdd { .. } => self.may_fence,
                AdminCommand::PoolCreate { name, .. } => self.may_make_s3_pools && name.starts_with(S3_POOLS),
                _ => false,
            }
    }
}

/// What a command takes.
pub(crate) fn level_of(command: &AdminCommand) -> Level {
    match command {
        AdminCommand::Auth(_) => Level::Rule,
        command if command.only_looks() => Level::Show,
        _ => Level::Change,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use basalt_net::message::monitor::AuthCommand;

    fn pool(name: &str) -> AdminCommand {
        AdminCommand::PoolCreate { name: name.into(), pg_num: None, rule: None, size: None }
    }

    #[test]
    fn each_level_permits_what_is_below_it() {
        let auth = AdminCommand::Auth(AuthCommand::Ls);
        let (show, change, fence) = (AdminCommand::Status, pool("x"), AdminCommand::BlocklistAdd { client: 1 });
        for (caps, permitted) in [
            ("", [false, false, false, false]),
            ("allow r", [true, false, false, false]),
            ("allow rw", [true, true, true, false]),
            ("allow *", [true, true, true, true]),
            ("profile mon", [true, true, true, true]),
            ("profile osd", [true, false, false, false]),
            ("profile rbd", [true, false, true, false]),
            ("profile s3", [true, false, false, false]),
            ("profile read-only, allow rw", [true, true, true, false]),
        ] {
            let parsed = MonitorCaps::parse(caps).unwrap();
            assert_eq!([&show, &change, &fence, &auth].map(|command| parsed.permits(command)), permitted, "{caps}");
        }
        assert!(MonitorCaps::parse("profile s3").unwrap().permits(&pool("s3.data")));
        assert!(MonitorCaps::parse("profile osd").unwrap().is_osd && !MonitorCaps::parse("allow *").unwrap().is_osd);
    }

    #[test]
    fn words_that_nobody_knows_are_refused() {
        for wrong in ["r", "allow", "allow x", "allow rwz", "profile boss", "allow r pool=a", "allow r b", "deny r"] {
            assert!(MonitorCaps::parse(wrong).is_err(), "{wrong}");
        }
    }
}
