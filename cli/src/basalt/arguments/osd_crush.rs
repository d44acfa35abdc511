//! The words of `osd crush …`: the cluster's own CRUSH map, looked at and changed.

use super::{Mode, osd_id};
use clap::{Args, Subcommand};

/// Where an item hangs: type=name, such as root=default host=h1.
#[derive(Args, Debug)]
pub struct Place {
    #[arg(required = true, value_name = "TYPE=NAME")]
    pub place: Vec<String>,
}

#[derive(Args, Debug)]
pub struct Placed {
    #[arg(value_parser = osd_id, value_name = "ID")]
    pub osd: u32,
    #[arg(allow_negative_numbers = true)]
    pub weight: f64,
    #[command(flatten)]
    pub to: Place,
    #[command(flatten)]
    pub mode: Mode,
}

#[derive(Args, Debug)]
pub struct Weighed {
    pub name: String,
    #[arg(allow_negative_numbers = true)]
    pub weight: f64,
    #[command(flatten)]
    pub mode: Mode,
}

#[derive(Subcommand, Debug)]
pub enum OsdCrush {
    /// Buckets and OSDs in their places.
    Tree {
        /// The trees of the device classes too.
        #[arg(long)]
        show_shadow: bool,
    },
    /// The whole map, as JSON.
    Dump,
    /// What is in a bucket.
    Ls {
        bucket: String,
    },
    /// Makes a bucket; where no place is given, it hangs nowhere yet.
    AddBucket {
        name: String,
        #[arg(value_name = "TYPE")]
        type_name: String,
        #[arg(value_name = "TYPE=NAME")]
        place: Vec<String>,
        #[command(flatten)]
        mode: Mode,
    },
    /// Hangs a bucket or an OSD elsewhere, with all that is in it.
    Move {
        name: String,
        #[command(flatten)]
        to: Place,
        #[command(flatten)]
        mode: Mode,
    },
    /// Puts an OSD at a place with a weight.
    Set(Placed),
    /// As `set`.
    Add(Placed),
    /// Changes what an OSD weighs: its share of the data.
    Reweight(Weighed),
    /// Changes what each OSD in a bucket weighs.
    ReweightSubtree(Weighed),
    /// Makes every bucket weigh what is in it.
    ReweightAll {
        #[command(flatten)]
        mode: Mode,
    },
    /// Takes an OSD or an empty bucket out of the map.
    #[command(alias = "remove")]
    Rm {
        name: String,
        #[command(flatten)]
        mode: Mode,
    },
    RenameBucket {
        from: String,
        to: String,
    },
    #[command(subcommand)]
    Rule(Rule),
    #[command(subcommand)]
    Class(Class),
    /// Gives OSDs that have none a device class.
    SetDeviceClass {
        class: String,
        #[arg(required = true, value_parser = osd_id, value_name = "ID")]
        osds: Vec<u32>,
        #[command(flatten)]
        mode: Mode,
    },
    RmDeviceClass {
        #[arg(required = true, value_parser = osd_id, value_name = "ID")]
        osds: Vec<u32>,
        #[command(flatten)]
        mode: Mode,
    },
    /// How hard the mapper tries: one of the profiles legacy, argonaut, bobtail, firefly, hammer, jewel, optimal, default.
    Tunables {
        profile: String,
        #[command(flatten)]
        mode: Mode,
    },
    SetTunable {
        name: String,
        value: u32,
        #[command(flatten)]
        mode: Mode,
    },
    ShowTunables,
    SetAllStrawBucketsToStraw2 {
        #[command(flatten)]
        mode: Mode,
    },
}

#[derive(Subcommand, Debug)]
pub enum Rule {
    Ls,
    Dump {
        name: Option<String>,
    },
    /// Each copy under another item of a type below a root, on devices of one class if one is given.
    CreateReplicated {
        name: String,
        root: String,
        failure_domain: String,
        class: Option<String>,
    },
    CreateSimple {
        name: String,
        root: String,
        failure_domain: String,
        #[arg(default_value = "firstn")]
        mode: String,
    },
    Rm {
        name: String,
    },
    Rename {
        from: String,
        to: String,
    },
}

#[derive(Subcommand, Debug)]
pub enum Class {
    Ls,
    LsOsd { class: String },
    Rename { from: String, to: String },
}
