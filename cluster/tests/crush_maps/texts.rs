use crate::random_map::random_map;
use basalt_cluster::crush::{Tunables, text};
use proptest::prelude::*;

/// crushtool leaves it out, and does not read its own text then.
#[test]
fn a_device_that_only_a_rule_names_is_printed() {
    let rule = "rule r {\nid 0\ntype replicated\nmin_size 1\nmax_size 1\nstep take osd.1\nstep emit\n}\n";
    let printed = text::compile(&format!("{HEAD}device 2 osd.2\n{rule}")).unwrap().to_string();
    assert!(printed.contains("# devices\ndevice 1 osd.1\n\n"), "{printed}");
    assert_eq!(text::compile(&printed).unwrap().to_string(), printed);
}

proptest! {
    #[test]
    fn a_map_is_the_same_after_it_was_printed(seed in any::<u64>()) {
        let Ok(map) = text::compile(&random_map(seed).0) else { return Ok(()) };
        // Devices beyond the last one in a bucket are not printed, as with crushtool, and classes are numbered by the devices' order: so
        // what is printed is read once.
        let read = text::compile(&map.to_string()).unwrap_or_else(|error| panic!("{error}\n{map}"));
        let printed = read.to_string();
        prop_assert_eq!(text::compile(&printed).unwrap().to_string(), printed);
    }

    #[test]
    fn no_text_makes_the_compiler_panic(
        seed in any::<u64>(),
        cut in any::<prop::sample::Index>(),
        length in 0usize..12,
        with in "[ a-z0-9{}#.\\-\n\u{e4}]{0,8}",
    ) {
        let (text, _) = random_map(seed);
        let at = cut.index(text.len());
        let mangled = [&text[..at], &with, &text[(at + length).min(text.len())..]].concat();
        if let Ok(map) = text::compile(&mangled) {
            prop_assert_eq!(map.check(), Ok(()));
        }
    }
}

const HEAD: &str = "device 0 osd.0 class hdd\ndevice 1 osd.1\ntype 0 osd\ntype 1 host\ntype 10 root\n";

/// What is said of a text that begins with five good lines.
fn refusal(rest: &str) -> String {
    text::compile(&format!("{HEAD}{rest}")).unwrap_err().to_string()
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let rule = |steps: &str| {
        format!("root r {{\nalg straw2\n}}\nrule x {{\nid 0\ntype replicated\nmin_size 1\nmax_size 10\n{steps}\n}}")
    };
    for (text, expected) in [
        ("device 0 osd.5", "line 6, column 8: device 0 is given twice: it is 'osd.0' already"),
        ("device 2 osd.0", "line 6, column 10: device 'osd.0' is given twice: it is 0 already"),
        ("device 131072 a", "line 6, column 8: a device's id is 131072, and must be within 0 and 131071"),
        ("type 1 rack", "line 6, column 6: type 1 is given twice: it is 'host' already"),
        ("tunable fancy 1", "line 6, column 9: there is no tunable 'fancy'"),
        (
            "tunable choose_total_tries 99999",
            "column 28: tunable choose_total_tries is 99999, and must be within 0 and 10000",
        ),
        ("rack a {", "line 6, column 1: 'rack' begins nothing"),
        ("osd a {", "type 0, 'osd', is that of devices"),
        ("host osd.0 {", "'osd.0' is the name of another device or bucket already"),
        (
            "host a {\n alg straw2\n item osd.7 weight 1\n}",
            "line 8, column 7: item 'osd.7' of bucket 'a' is neither a device nor a bucket",
        ),
        ("host a {\n alg straw2\n item a weight 1\n}", "bucket 'a' holds itself"),
        (
            "root r {\n alg straw2\n item h weight 1\n}\nhost h {\n alg straw2\n}",
            "line 8, column 7: bucket 'h' is used before it is defined, in line 10: move its definition above this bucket",
        ),
        ("host a {\n alg straw3\n}", "'straw3' is no algorithm: there are the algorithms straw2"),
        ("host a {\n}", "bucket 'a' has no algorithm"),
        (
            "host a {\n id -1\n id -1 class hdd\n alg straw2\n}",
            "line 8, column 5: id -1 is given to bucket 'a' already",
        ),
        ("host a {\n id -1\n alg straw2\n}\nhost b {\n id -1\n", "id -1 is given to bucket 'a' already"),
        ("host a {\n id 4\n", "a bucket's id is 4, and must be within -131072 and -1"),
        ("host a {\n hash 1\n", "there is no hash '1'"),
        ("host a {\n alg straw2\n item osd.0 weight 100.5\n}", "a weight of 100.5 is not within 0 and 100"),
        ("host a {\n alg straw2\n item osd.0 weight -1\n}", "a weight of -1 is not within 0 and 100"),
        ("host a {\n alg straw2\n item osd.0 weight nan\n}", "'nan' stands where a weight should be"),
        (
            "host a {\n alg straw2\n item osd.0\n item osd.0\n}",
            "line 9, column 7: item 'osd.0' stands twice in bucket 'a'",
        ),
        (
            "host a {\n alg uniform\n item osd.0 weight 1\n item osd.1 weight 2\n}",
            "the items of a uniform bucket all weigh the same",
        ),
        ("host a {\n alg tree\n item osd.0 pos 1\n}", "pos 1 is beyond the last one, 0"),
        ("host a {\n alg tree\n item osd.0 pos 0\n item osd.1 pos 0\n}", "pos 0 is that of item 'osd.0' already"),
        ("host a {\n alg straw2\n", "the text ends where '}' should be"),
        ("host a { ? }", "line 6, column 10: '?' has no meaning here"),
        (&rule("step take nowhere\nstep emit"), "rule 'x' takes 'nowhere', which is neither a device nor a bucket"),
        (&rule("step take r class ssd"), "no device has class 'ssd': there are hdd"),
        (&rule("step take osd.0 class hdd"), "'osd.0' is a device, and only buckets are taken by class"),
        (&rule("step choose firstn 0 type rack"), "there is no type 'rack': there are osd, host, root"),
        (&rule("step choose any 0 type host"), "'any' stands where firstn or indep should be"),
        (&rule("step leap"), "there is no step 'leap'"),
        (&rule(""), "rule 'x' has no step"),
        (&rule("step emit\n}\nrule x {"), "rule 'x' is given twice: it is 0 already"),
        (&rule("step emit\n}\nrule y {\nid 0\n"), "rule 0 is given twice: it is 'x' already"),
        (&rule("step emit\n}\nhost b {"), "buckets stand before all rules"),
        (&rule("step emit\n}\ntype 3 x"), "tunables, devices and types stand before all buckets and rules"),
        ("choose_args 0 { { bucket_id -1 } }", "there is no bucket -1"),
    ] {
        let refusal = refusal(text);
        assert!(refusal.contains(expected), "{text}\n{refusal}\n{expected}");
    }
}

#[test]
fn weights_of_choose_args_are_one_for_each_item() {
    let map = "host a {\nid -1\nalg straw2\nitem osd.0\nitem osd.1\n}\nchoose_args 1 { { bucket_id -1 ";
    for (rest, expected) in [
        ("weight_set [ [ 1 ] ] } }", "bucket -1 needs exactly 2 weights but got 1"),
        ("weight_set [ [ 1 2 3 ] ] } }", "bucket -1 needs exactly 2 weights but got more"),
        ("ids [ 1 ] } }", "bucket -1 needs exactly 2 ids but got 1"),
        ("ids [ 1 2 3 ] } }", "bucket -1 needs exactly 2 ids but got more"),
    ] {
        let refusal = refusal(&format!("{map}{rest}"));
        assert!(refusal.contains(expected), "{refusal}");
    }
    let map = text::compile(&format!("{HEAD}{map}weight_set [ [ 1 2 ] [ 0.5 0 ] ] ids [ -7 9 ] }} }}")).unwrap();
    assert!(map.to_string().ends_with(
        "choose_args 1 {\n  {\n    bucket_id -1\n    weight_set [\n      [ 1.000 2.000 ]\n      [ 0.500 0.000 ]\n    ]\n    ids [ -7 9 ]\n  }\n}\n\n# end crush map\n"
    ));
}

#[test]
fn buckets_that_hold_each_other_are_too_deep_or_refused() {
    let mut text = HEAD.to_owned();
    let mut below = "osd.0".to_owned();
    for level in 0..40 {
        text += &format!("host h{level} {{\n alg straw2\n item {below}\n}}\n");
        below = format!("h{level}");
    }
    assert!(text::compile(&text).unwrap_err().message.contains("deeper than 32 levels"));
}

#[test]
fn digits_are_rounded_as_printf_does() {
    let map = "host a {\nid -1\nalg straw2\nitem osd.0 weight 0.0625\nitem osd.1 weight 0.1875\n}\n";
    let printed = text::compile(&format!("{HEAD}{map}")).unwrap().to_string();
    assert!(printed.contains("item osd.0 weight 0.062\n\titem osd.1 weight 0.188\n"), "{printed}");
}

#[test]
fn a_text_without_tunables_has_the_oldest() {
    assert_eq!(*text::compile("").unwrap().tunables(), Tunables::ARGONAUT);
    assert_eq!(
        text::compile("").unwrap().to_string(),
        "# begin crush map\n\n# devices\n\n# types\n\n# buckets\n\n# rules\n\n# end crush map\n"
    );
}
