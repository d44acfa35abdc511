//! Every code that health can raise, with its cause and its remedy in a sentence each; `docs/HEALTH.md` has a chapter for each.

/// Lists the codes once, so that none is without an explanation.
macro_rules! codes {
    ($($code:ident $name:literal $cause:literal $remedy:literal)*) => {
        /// In the order of their names.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $($code,)*
        }

        impl Code {
            #[cfg(test)]
            pub const ALL: &[Code] = &[$(Code::$code,)*];

            /// As Ceph writes it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Code::$code => $name,)*
                }
            }

            pub fn cause(self) -> &'static str {
                match self {
                    $(Code::$code => $cause,)*
                }
            }

            pub fn remedy(self) -> &'static str {
                match self {
                    $(Code::$code => $remedy,)*
                }
            }
        }
    };
}

codes! {
    CachePoolDrainStalled "CACHE_POOL_DRAIN_STALLED"
        "A pool leaves its hot tier, and what is dirty has become no less for a while."
        "Look at what the line names: an OSD that is down or full, a flag, a disk that fails. `basalt osd tier status POOL` says what the tier does."
    CachePoolNearFull "CACHE_POOL_NEAR_FULL"
        "The hot tier of a pool has nearly reached its target, above the ratio at which it evicts."
        "Usually it passes. If it stays, raise target_max_bytes, or let more be flushed: lower cache_target_dirty_ratio."
    CachePoolNoHitSet "CACHE_POOL_NO_HIT_SET"
        "A pool is cached, and hit_set_type is none: what is read often is not known, so it can't be promoted."
        "basalt osd pool set POOL hit_set_type bloom"
    CachePoolNoHotSlice "CACHE_POOL_NO_HOT_SLICE"
        "A cached pool has copies on OSDs that have no hot slice: a write there waits for a hard disk."
        "Give those OSDs a slice of an SSD, or the pool a rule that takes OSDs with slices only."
    DaemonOldVersion "DAEMON_OLD_VERSION"
        "OSDs run an older release than the monitor, and can't do all that it can."
        "Finish the upgrade: restart the named OSDs with the release that the monitor runs."
    HostInMaintenance "HOST_IN_MAINTENANCE"
        "Somebody works on a host: its OSDs serve nobody and stay in, so what they hold has fewer copies meanwhile."
        "Once the work is done and the host's daemons run: basalt maintenance exit HOST (--all for the whole cluster)."
    ObjectMisplaced "OBJECT_MISPLACED"
        "All copies are there, but some are on OSDs where they no longer belong: they are being moved."
        "Wait. basalt status shows how far it is; the flag norebalance holds it back."
    OsdmapFlags "OSDMAP_FLAGS"
        "Somebody has set flags that hold something back, and each line says what."
        "basalt osd unset FLAG, once the work is done that it was set for."
    OsdBackfillfull "OSD_BACKFILLFULL"
        "An OSD is so full that nothing is backfilled to it any more."
        "Add OSDs, delete data, or reweight; recovery to it waits until then."
    OsdChecksumErrors "OSD_CHECKSUM_ERRORS"
        "Blocks were read that did not match their checksums. They were put right from other copies where there are any."
        "basalt osd deep-scrub ID to find the rest; a disk that does it again is failing: replace it."
    OsdDown "OSD_DOWN"
        "OSDs that should serve are down: their process, their host or their cluster network is gone."
        "Start the daemon and read its log. If the device is dead, basalt osd out ID; then replace it."
    OsdFlags "OSD_FLAGS"
        "Somebody has set flags for a host that hold something back for its OSDs."
        "basalt osd unset-group FLAG HOST, once the work is done that it was set for."
    OsdFull "OSD_FULL"
        "An OSD is full: writes to the pools that use it answer ENOSPC."
        "Delete objects (that still works), add OSDs, or move data off it by basalt osd reweight ID W."
    OsdHostDown "OSD_HOST_DOWN"
        "All OSDs of a host are down: the host itself, or its network, is gone."
        "See that the host has power and both networks; its OSDs come back by themselves."
    OsdNearfull "OSD_NEARFULL"
        "An OSD is nearly full."
        "Add OSDs or delete data before it is backfillfull (0.90) and full (0.95)."
    OsdPublicNetwork "OSD_PUBLIC_NETWORK"
        "OSDs are reached by other OSDs on the cluster network, and not by anybody on the public one."
        "Look at the host's public network: cable, address, switch, firewall."
    OsdScrubErrors "OSD_SCRUB_ERRORS"
        "Scrub found damage that could not be put right: no good copy was found, or copies differ and it can't be told which is right."
        "basalt pg repair ID settles it by the majority; or write the named objects anew."
    OsdStoreFault "OSD_STORE_FAULT"
        "A write or flush of a device failed, and the OSD took itself out of service (fenced)."
        "Replace the device; or restart the OSD, if the cause is gone (a cable, a controller)."
    OsdUpgradeFinished "OSD_UPGRADE_FINISHED"
        "All OSDs run a newer release than is required of them, so what is new in it is not used yet."
        "basalt osd require-osd-release NAME, with the release that the line names. There is no way back to the old one after that."
    PgAvailability "PG_AVAILABILITY"
        "Placement groups serve nobody: too few of the OSDs that have their data are up."
        "basalt pg query ID says which OSDs a group waits for; start those."
    PgDamaged "PG_DAMAGED"
        "Copies of a placement group differ, and it could not be told which is right."
        "basalt health detail names the objects under OSD_SCRUB_ERRORS; basalt pg repair ID settles it."
    PgDegraded "PG_DEGRADED"
        "Objects have fewer copies than their pool asks for."
        "Bring back what is down, and wait: recovery makes the missing copies anew."
    PoolBackfillfull "POOL_BACKFILLFULL"
        "An OSD that the pool uses is backfillfull."
        "As for OSD_BACKFILLFULL: add OSDs or delete data."
    PoolFull "POOL_FULL"
        "The pool takes no writes: its quota is used up, or an OSD that it uses is full."
        "Delete, or raise the quota: basalt osd pool set-quota POOL max_bytes N; or as for OSD_FULL."
    PoolNearfull "POOL_NEARFULL"
        "An OSD that the pool uses is nearly full, or its hot slices are, where it is at home there."
        "As for OSD_NEARFULL: add OSDs, or larger slices, or delete data."
    PoolNoRedundancy "POOL_NO_REDUNDANCY"
        "The pool keeps one copy of each object: a disk that fails takes data with it."
        "basalt osd pool set POOL size 3 (and min_size 2), if its data matters."
    SlowOps "SLOW_OPS"
        "Requests of clients have been under way for much longer than any should be."
        "basalt osd slow-ops ID says what they wait for; a device, a network or another OSD is likely to hang."
}

impl Code {
    /// Where all that is known of it stands.
    pub fn chapter(self) -> String {
        format!("docs/HEALTH.md#{}", self.name().to_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const CHAPTERS: &str = include_str!("../../../../docs/HEALTH.md");

    #[test]
    fn every_code_has_a_chapter_and_every_chapter_a_code() {
        let codes: BTreeSet<&str> = Code::ALL.iter().map(|code| code.name()).collect();
        let chapters: BTreeSet<&str> = CHAPTERS.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        assert_eq!(codes, chapters);
        assert_eq!(codes.len(), Code::ALL.len());
        assert!(Code::ALL.is_sorted_by_key(|code| code.name()));
    }

    #[test]
    fn every_chapter_tells_meaning_cause_and_remedy() {
        for chapter in CHAPTERS.split("\n## ").skip(1) {
            let name = chapter.lines().next().unwrap();
            for part in ["**Meaning.** ", "**Cause.** ", "**Remedy.**\n"] {
                assert!(chapter.contains(part), "{name} lacks {part}");
            }
        }
    }
}
