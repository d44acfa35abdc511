//! The words of `basalt config`.

use clap::Subcommand;

#[derive(Subcommand, Debug)]
#[command(disable_help_subcommand = true)]
pub enum Config {
    /// Sets an option: of the cluster as a whole, or of its daemons, for `global`, `osd`, or one as `osd.3`.
    ///
    /// WHO may be left out where it is global. What a host's file says wins over what is set here: `config get osd.N` shows it.
    Set {
        #[arg(required = true, num_args = 2..=3, value_name = "[WHO] NAME VALUE", allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// One option, or all that WHO has: global, mon, osd, or one OSD, which is then asked itself what it goes by.
    Get {
        #[arg(required = true, num_args = 1..=2, value_name = "[WHO] [NAME]")]
        words: Vec<String>,
    },
    /// Takes back what was set: the next nearest counts again, or the default.
    #[command(visible_alias = "remove")]
    Rm { who: String, name: String },
    /// The settings of the cluster, and whatever is set for daemons.
    Dump,
    /// What an option means: type, unit, default, range, and whether it applies at once. All of them without a name.
    #[command(visible_alias = "ls")]
    Help { name: Option<String> },
}
