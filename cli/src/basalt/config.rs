//! `config set|get|rm|dump|help`: asked of the monitor, and what an OSD goes by of that OSD itself.

use crate::administration::{ask, say, show, tell};
use crate::arguments::config::Config;
use crate::plain;
use basalt_cli::Result;
use basalt_cli::output::Output;
use basalt_client::Client;
use basalt_net::message::monitor::AdminCommand;
use basalt_net::message::object::OsdCommand;
use serde_json::{Map, Value};

const GLOBAL: &str = "global";

pub async fn run(client: &Client, output: &mut Output, command: Config) -> Result<()> {
    match command {
        Config::Dump => show(client, output, AdminCommand::ConfigDump, plain::config::dump).await,
        Config::Help { name } => say(client, output, AdminCommand::ConfigHelp { name }).await,
        Config::Rm { who, name } => say(client, output, AdminCommand::ConfigRm { who, name }).await,
        Config::Set { words } => {
            let (who, [name, value]) = with_who(words);
            say(client, output, AdminCommand::ConfigSet { who, name, value }).await
        }
        Config::Get { words } => {
            let (who, name) = match words.as_slice() {
                [who, name] => (who.clone(), Some(name.clone())),
                [word] if is_who(word) => (word.clone(), None),
                words => (GLOBAL.to_owned(), words.first().cloned()),
            };
            get(client, output, who, name).await
        }
    }
}

/// Two words with the one before them that says whose option it is.
fn with_who(mut words: Vec<String>) -> (String, [String; 2]) {
    let who = if words.len() > 2 { words.remove(0) } else { GLOBAL.to_owned() };
    let mut words = words.into_iter();
    (who, std::array::from_fn(|_| words.next().unwrap_or_default()))
}

fn is_who(word: &str) -> bool {
    ["global", "mon", "osd"].contains(&word) || osd(word).is_some()
}

fn osd(who: &str) -> Option<u32> {
    who.strip_prefix("osd.")?.parse().ok()
}

async fn get(client: &Client, output: &mut Output, who: String, name: Option<String>) -> Result<()> {
    // First by the map: it refuses what makes no sense.
    let by_map = ask(client, AdminCommand::ConfigGet { who: who.clone(), name: name.clone() }).await?;
    let own = match osd(&who) {
        // One that is down goes by nothing; what it would go by, but for its file, is what the map says.
        Some(id) if client.map().osd(id).is_some_and(|osd| osd.is_up) => {
            Some(tell(client, id, OsdCommand::Settings).await?)
        }
        _ => None,
    };
    let Some(name) = name else {
        return output.show(&own.unwrap_or(by_map.document), plain::config::options);
    };
    let entry = own.as_ref().and_then(Value::as_array).and_then(|options| {
        options.iter().find(|option| option.get("name").and_then(Value::as_str) == Some(name.as_str()))
    });
    match entry {
        None => output.show(&by_map.document, |_| format!("{}\n", by_map.message)),
        Some(entry) => {
            let field = |key: &str| entry.get(key).cloned().unwrap_or(Value::Null);
            let value = field("value");
            let mut document = Map::new();
            document.insert(name, value.clone());
            document.extend(["source", "pending_restart"].map(|key| (key.to_owned(), field(key))));
            output.show(&Value::Object(document), |_| format!("{value}\n"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_option_it_is_may_be_left_out() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<String>>();
        assert_eq!(with_who(words("a 1")), ("global".into(), ["a".into(), "1".into()]));
        assert_eq!(with_who(words("osd.3 a 1")), ("osd.3".into(), ["a".into(), "1".into()]));
        assert!(is_who("osd.3") && is_who("osd") && !is_who("osd_max_backfills") && !is_who("osd.x"));
    }
}
