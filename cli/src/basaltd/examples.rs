//! An example for each command, shown below its help. A test parses every one of them, and misses none.

pub const EXAMPLES: &[&str] = &[
    "basaltd dev --dir /tmp/cluster --osds 3 --hot 256M --base-model hdd",
    "basaltd mon --config /etc/basalt/basalt.toml",
    "basaltd osd --config /etc/basalt/basalt.toml",
    "basaltd nbd --config /etc/basalt/basalt.toml",
    "basaltd s3 --config /etc/basalt/basalt.toml",
    "basaltd completion zsh",
    "basaltd man /usr/local/share/man/man8",
    "basaltd mkfs --config /etc/basalt/basalt.toml --osd 3",
    "basaltd fsck --base /dev/sdb --hot /dev/nvme0n1p1 --deep",
];

#[cfg(test)]
mod tests {
    use super::EXAMPLES;
    use crate::arguments::Arguments;
    use basalt_cli::command_line::tests_of_commands;

    #[test]
    fn every_command_has_an_example_that_is_right_and_refuses_in_one_line() {
        tests_of_commands::check::<Arguments>("basaltd", EXAMPLES);
    }

    #[test]
    fn every_command_in_the_documents_exists_with_its_options() {
        let mut count = 0;
        for (name, text) in tests_of_commands::DOCUMENTS {
            count += tests_of_commands::check_document::<Arguments>("basaltd", name, text);
        }
        assert!(count > 5, "{count}");
    }
}
