//! S3 as real clients use it: each test has a cluster of its own, with a gateway on a free port, and runs a client's script against it.

mod clients;
#[path = "../commands/dev_cluster.rs"]
#[allow(dead_code)]
mod dev_cluster;
mod users;

use clients::Gateway;

#[test]
fn boto3_stores_lists_and_reads_objects() {
    Gateway::start().run("python", &["objects.py"]);
}

#[test]
fn boto3_uploads_in_parts_and_keeps_versions() {
    Gateway::start().run("python", &["versions.py"]);
}

#[test]
fn boto3_locks_objects_and_owns_what_others_write() {
    Gateway::start().run("python", &["locks.py"]);
}

#[test]
fn boto3_finds_what_clients_of_cephs_gateway_rely_on() {
    Gateway::start().run("python", &["conformance.py"]);
}

#[test]
fn nobody_gets_what_no_acl_or_policy_gives() {
    Gateway::start().run("python", &["access.py"]);
}

#[test]
fn what_is_to_be_encrypted_is_opened_with_its_key_only() {
    Gateway::start().run("python", &["encryption.py"]);
}

#[test]
fn bodies_of_any_length_are_streamed() {
    Gateway::start().run("python", &["streams.py"]);
}

#[test]
fn requests_to_a_bucket_are_logged_in_another() {
    Gateway::start().run("python", &["request_logs.py"]);
}

#[test]
fn awscli_syncs_a_tree_both_ways() {
    Gateway::start().run("sh", &["awscli.sh"]);
}

#[test]
fn awscli_2_syncs_a_tree_both_ways_with_buckets_by_name() {
    Gateway::start().run("sh", &["awscli.sh", "/usr/bin/aws", "virtual"]);
}

#[test]
fn boto3_asks_for_buckets_by_their_own_names() {
    Gateway::start().run("python", &["virtual_hosted.py"]);
}

#[test]
fn a_buckets_index_is_cut_anew_while_requests_go_on() {
    Gateway::start().run("python", &["reshard.py"]);
}

#[test]
fn s3cmd_works_with_both_signatures() {
    Gateway::start().run("sh", &["s3cmd.sh"]);
}

#[test]
fn rclone_copies_and_checks_a_tree() {
    Gateway::start().run("sh", &["rclone.sh"]);
}

#[test]
fn a_killed_gateway_loses_nothing_acknowledged_and_leaves_nothing_half() {
    Gateway::start().run("python", &["killed.py"]);
}

#[test]
fn bad_requests_are_answered_and_harm_nobody() {
    Gateway::start().run("python", &["hostile.py"]);
}

#[test]
fn https_is_served_with_the_newest_certificate() {
    Gateway::start().run("python", &["secure.py"]);
}
