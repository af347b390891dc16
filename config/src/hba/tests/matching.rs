//! Which rule is for which connection.

use crate::hba::testing::{method, peer, read, read_all};

#[test]
fn the_first_rule_that_matches_decides_and_none_is_none() {
    let hba = read("local all all trust\nhost shop ada 10.0.0.0/8 md5\nhost all all 10.0.0.0/8 reject\n");
    assert_eq!(method(&hba, "local", "any", "body"), "trust");
    assert_eq!(method(&hba, "10.1.2.3", "shop", "ada"), "md5");
    assert_eq!(method(&hba, "10.1.2.3", "shop", "bob"), "reject");
    assert_eq!(method(&hba, "11.1.2.3", "shop", "ada"), "none");
}

#[test]
fn kinds_of_records_are_for_sockets_and_for_tls() {
    let connections = ["local", "10.0.0.1", "10.0.0.1+tls", "::1", "::1+tls"];
    for (kind, matches) in [
        ("local all all", [true, false, false, false, false]),
        ("host all all all", [false, true, true, true, true]),
        ("hostssl all all all", [false, false, true, false, true]),
        ("hostnossl all all all", [false, true, false, true, false]),
    ] {
        let hba = read(&format!("{kind} trust"));
        let found = connections.map(|from| method(&hba, from, "d", "u") == "trust");
        assert_eq!(found, matches, "{kind}");
    }
}

#[test]
fn databases_are_all_the_users_own_or_named() {
    let hba = read("local sameuser all trust\nlocal shop,\"all\" , my\"db\" all md5\nlocal all root reject");
    assert_eq!(method(&hba, "local", "ada", "ada"), "trust");
    for database in ["shop", "all", "mydb"] {
        assert_eq!(method(&hba, "local", database, "ada"), "md5", "{database}");
    }
    assert_eq!(method(&hba, "local", "other", "ada"), "none");
    assert_eq!(method(&hba, "local", "other", "root"), "reject");
    assert_eq!(method(&hba, "local", "Shop", "ada"), "none", "case counts");
}

#[test]
fn replication_is_no_database() {
    let hba = read(
        "local replication all trust\nlocal \"replication\" all md5\nlocal replication,db2 all password",
    );
    assert_eq!(method(&hba, "local", "replication", "ada"), "md5");
    assert_eq!(method(&hba, "local", "db2", "ada"), "password");
    assert_eq!(method(&hba, "local", "db", "ada"), "none");
}

#[test]
fn users_are_all_or_named_and_quotes_take_a_keywords_meaning() {
    let hba = read(
        "local all \"all\",\"a , b\",\"say \"\"hi\"\"\",\"+x\",\"@y\" trust\nlocal all ada, bob , eve md5",
    );
    for user in ["all", "a , b", "say \"hi\"", "+x", "@y"] {
        assert_eq!(method(&hba, "local", "d", user), "trust", "{user}");
    }
    for user in ["ada", "bob", "eve"] {
        assert_eq!(method(&hba, "local", "d", user), "md5", "{user}");
    }
    assert_eq!(method(&hba, "local", "d", "sameuser"), "none");
}

#[test]
fn addresses_are_prefixes_masks_or_all() {
    for (address, inside, outside) in [
        ("10.1.0.0/16", vec!["10.1.0.0", "10.1.255.255"], vec!["10.2.0.0", "::ffff:10.1.0.0"]),
        ("10.1.2.3/16", vec!["10.1.9.9"], vec!["10.2.2.3"]),
        ("10.1.2.3/32", vec!["10.1.2.3"], vec!["10.1.2.2", "10.1.2.4"]),
        ("0.0.0.0/0", vec!["1.2.3.4"], vec!["::1"]),
        ("::/0", vec!["::1", "::ffff:1.2.3.4"], vec!["1.2.3.4"]),
        ("127.0.0.0  255.255.255.0", vec!["127.0.0.9"], vec!["127.0.1.9"]),
        ("10.0.7.0 255.0.255.0", vec!["10.9.7.1"], vec!["10.9.8.1"]),
        ("ff20::/12", vec!["ff22:3::1"], vec!["ff30::1"]),
        ("fe80:: ffff::", vec!["fe80:1::"], vec!["fe81::"]),
        ("::1/128", vec!["::1"], vec!["::2"]),
        ("all", vec!["1.2.3.4", "face::1"], vec![]),
    ] {
        let hba = read(&format!("host all all {address} trust"));
        inside.iter().for_each(|ip| assert_eq!(method(&hba, ip, "d", "u"), "trust", "{ip} in {address}"));
        outside.iter().for_each(|ip| assert_eq!(method(&hba, ip, "d", "u"), "none", "{ip} not in {address}"));
    }
}

#[test]
fn lists_may_be_in_files_beside_the_one_that_names_them() {
    let files = [
        ("hba", "local @lists/dbs,other @lists/users trust"),
        ("lists/dbs", "shop, \"all\"\n# more\narchive"),
        ("lists/users", "ada bob\n@more/users\n@empty"),
        ("lists/more/users", "eve"),
        ("lists/empty", ""),
    ];
    let hba = read_all(&files).unwrap();
    for (database, user) in [("shop", "ada"), ("all", "bob"), ("archive", "eve"), ("other", "ada")] {
        assert_eq!(method(&hba, "local", database, user), "trust", "{database} {user}");
    }
    assert_eq!(method(&hba, "local", "nope", "ada"), "none");
    assert_eq!(method(&hba, "local", "shop", "nope"), "none");
}

#[test]
fn keywords_in_a_file_of_names_keep_their_meaning() {
    let hba = read_all(&[("hba", "local @d @u trust"), ("d", "sameuser"), ("u", "all")]).unwrap();
    assert_eq!(method(&hba, "local", "ada", "ada"), "trust");
    assert_eq!(method(&hba, "local", "shop", "ada"), "none");
}

#[test]
fn an_empty_list_is_for_nobody() {
    let hba = read_all(&[("hba", "local all @nobody trust\nlocal all all md5"), ("nobody", "\n")]).unwrap();
    assert_eq!(method(&hba, "local", "d", "u"), "md5");
}

#[test]
fn a_rule_knows_its_place_and_whether_it_needs_tls() {
    let hba = read("# who\nhostssl all all all cert clientcert=verify-full\n\nlocal all all peer");
    let rule = hba.decide(&peer("::1+tls", "d", "u")).unwrap();
    assert!(rule.needs_tls() && rule.client_cert.is_some());
    assert_eq!(rule.place.to_string(), "hba:2:21");
    let rule = hba.decide(&peer("local", "d", "u")).unwrap();
    assert!(!rule.needs_tls());
    assert_eq!(rule.place.to_string(), "hba:4:15");
}
