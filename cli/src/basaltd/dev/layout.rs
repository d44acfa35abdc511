//! How many OSDs a development cluster has, in which hosts, and how many copies it keeps: by what is there, and by what is asked for. Pure.

use crate::arguments::Dev;
use basalt_cli::{Failure, Result};

const OSDS_DEFAULT: u32 = 3;
const SIZE_DEFAULT: u32 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    pub osds: u32,
    /// With one, its OSDs live in the process of the monitor.
    pub hosts: u32,
    /// Copies in the first pool, if it is still to be made.
    pub size: u32,
}

impl Layout {
    /// `before`: OSDs and hosts of the cluster that is there.
    pub fn new(dev: &Dev, before: Option<(u32, u32)>) -> Result<Layout> {
        let hosts = match (before, dev.hosts) {
            (Some((_, known)), Some(wanted)) if wanted != known => {
                return Err(Failure::invalid(format!(
                    "this cluster was made with {known} hosts and keeps them: leave --hosts out, or give a new --dir to have {wanted}"
                )));
            }
            (Some((_, known)), _) => known,
            (None, wanted) => wanted.unwrap_or(1),
        };
        let osds = match (before, dev.osds) {
            (Some((known, _)), Some(wanted)) if wanted < known => {
                return Err(Failure::invalid(format!(
                    "this cluster has {known} OSDs, and data on them: leave --osds out, or give a new --dir to have {wanted}"
                )));
            }
            (Some((known, _)), wanted) => wanted.unwrap_or(known),
            (None, wanted) => wanted.unwrap_or(OSDS_DEFAULT.max(hosts)),
        };
        if osds < hosts {
            return Err(Failure::invalid(format!(
                "{osds} OSDs can't be spread over {hosts} hosts: give --osds {hosts} or more, or fewer hosts"
            )));
        }
        let (apart, what) = if hosts > 1 { (hosts, "hosts") } else { (osds, "OSDs") };
        let size = dev.size.unwrap_or(SIZE_DEFAULT.min(apart));
        if size > apart {
            return Err(Failure::invalid(format!(
                "{size} copies can't be kept apart on {apart} {what}: give --size {apart} or less, or more {what}"
            )));
        }
        Ok(Layout { osds, hosts, size })
    }

    /// The OSDs of one host.
    pub fn osds_of(self, host: u32) -> impl Iterator<Item = u32> {
        (0..self.osds).filter(move |osd| osd % self.hosts == host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(
        osds: Option<u32>,
        hosts: Option<u32>,
        size: Option<u32>,
        before: Option<(u32, u32)>,
    ) -> Option<[u32; 3]> {
        let dev = Dev {
            dir: "x".into(),
            osds,
            hosts,
            size,
            base: None,
            hot: None,
            base_model: None,
            public_mode: None,
            s3: None,
            nbd: None,
        };
        Layout::new(&dev, before).ok().map(|layout| [layout.osds, layout.hosts, layout.size])
    }

    #[test]
    fn a_new_cluster_has_three_osds_and_as_many_copies_as_can_be_kept_apart() {
        assert_eq!(layout(None, None, None, None), Some([3, 1, 3]));
        assert_eq!(layout(Some(1), None, None, None), Some([1, 1, 1]));
        assert_eq!(layout(Some(6), Some(2), None, None), Some([6, 2, 2]));
        assert_eq!(layout(None, Some(5), None, None), Some([5, 5, 3]));
        assert_eq!(layout(Some(2), Some(3), None, None), None);
        assert_eq!(layout(Some(6), Some(2), Some(3), None), None);
        assert_eq!(layout(Some(6), None, Some(4), None), Some([6, 1, 4]));
    }

    #[test]
    fn a_cluster_that_is_there_keeps_its_hosts_and_gains_osds() {
        assert_eq!(layout(None, None, None, Some((4, 2))), Some([4, 2, 2]));
        assert_eq!(layout(Some(6), Some(2), None, Some((4, 2))), Some([6, 2, 2]));
        assert_eq!(layout(Some(3), None, None, Some((4, 2))), None);
        assert_eq!(layout(None, Some(3), None, Some((4, 2))), None);
        assert_eq!(layout(None, None, None, Some((1, 1))), Some([1, 1, 1]));
    }

    #[test]
    fn every_osd_has_one_host() {
        let layout = Layout { osds: 7, hosts: 3, size: 3 };
        let of: Vec<Vec<u32>> = (0..3).map(|host| layout.osds_of(host).collect()).collect();
        assert_eq!(of, [vec![0, 3, 6], vec![1, 4], vec![2, 5]]);
    }
}
