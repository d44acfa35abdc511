//! CRUSH maps of any size, to measure with: made as a text and compiled, so that all of it is placed at once.

use basalt_cluster::crush::{CrushMap, text};

/// One, in 16.16.
pub const WEIGHT_ONE: u32 = 0x1_0000;

/// OSDs in hosts in racks below the root `default`, all straw2, with the rules of a new cluster.
#[derive(Clone, Copy, Debug)]
pub struct CrushShape {
    pub hosts: u32,
    pub osds_per_host: u32,
    /// `None`: the hosts are side by side under the root.
    pub hosts_per_rack: Option<u32>,
}

impl CrushShape {
    /// The map, with the weight (16.16) that each OSD is given.
    pub fn map(&self, weight: impl Fn(u32) -> u32) -> CrushMap {
        let empty = CrushMap::new_default().to_string();
        let (head, rest) = empty.split_once("\n# types").unwrap_or((&empty, ""));
        let types = rest.split_once("\n# buckets").map_or("", |(types, _)| types);
        let rules = rest.split_once("\n# rules\n").map_or("", |(_, rules)| rules);
        let devices: String =
            (0..self.hosts * self.osds_per_host).map(|id| format!("device {id} osd.{id}\n")).collect();
        let buckets = self.buckets(weight);
        let text = format!("{head}\n{devices}\n# types{types}\n# buckets\n{buckets}# rules\n{rules}");
        match text::compile(&text) {
            Ok(map) => map,
            Err(error) => panic!("the map made up here is not right: {error}"),
        }
    }

    /// Lower ones first, as a text must have them.
    fn buckets(&self, weight: impl Fn(u32) -> u32) -> String {
        let hosts = (0..self.hosts).map(|host| {
            let osds = host * self.osds_per_host..(host + 1) * self.osds_per_host;
            let item = |osd| format!("osd.{osd} weight {:.3}", f64::from(weight(osd)) / f64::from(WEIGHT_ONE));
            bucket("host", &format!("h{host}"), "", osds.map(item))
        });
        let hosts: String = hosts.collect();
        let root = |items: &mut dyn Iterator<Item = String>| bucket("root", "default", "\tid -1\n", items);
        let Some(hosts_per_rack) = self.hosts_per_rack else {
            return hosts + &root(&mut (0..self.hosts).map(|host| format!("h{host}")));
        };
        let count = self.hosts.div_ceil(hosts_per_rack);
        let racks = (0..count).map(|rack| {
            let end = self.hosts.min((rack + 1) * hosts_per_rack);
            bucket("rack", &format!("r{rack}"), "", (rack * hosts_per_rack..end).map(|host| format!("h{host}")))
        });
        let racks: String = racks.collect();
        hosts + &racks + &root(&mut (0..count).map(|rack| format!("r{rack}")))
    }
}

fn bucket(kind: &str, name: &str, id: &str, items: impl Iterator<Item = String>) -> String {
    let items: String = items.map(|item| format!("\titem {item}\n")).collect();
    format!("{kind} {name} {{\n{id}\talg straw2\n{items}}}\n")
}
