//! What is wrong with a file, and where.

use crate::hba::testing::{problems, problems_of};

#[test]
fn a_file_must_be_there_and_have_a_rule() {
    assert_eq!(problems_of(&[]), "hba: cannot be read: entity not found");
    assert_eq!(problems("# nothing\n"), "hba: there is no rule in this file: nobody could log in");
}

#[test]
fn every_record_is_complete() {
    assert_eq!(
        problems("local\nlocal all # all\nhost all all\nlocal all all\nhost all all 10.0.0.0/8  "),
        "hba:1:6: expected databases before the end of the record\n\
         hba:2:11: expected users before the end of the record\n\
         hba:3:13: expected an address before the end of the record\n\
         hba:4:14: expected a method before the end of the record\n\
         hba:5:26: expected a method before the end of the record"
    );
}

#[test]
fn kinds_are_the_four_that_there_are() {
    assert_eq!(
        problems(
            "hostsl all all all trust\nhostgssenc all all all trust\ninclude other.conf\nlocal,host all all trust"
        ),
        "hba:1:1: expected one of local, host, hostssl, hostnossl, found \"hostsl\"; did you mean hostssl?\n\
         hba:2:1: hostgssenc is not supported: there is no GSSAPI here\n\
         hba:3:1: include is not supported; lists of names can be in an @file\n\
         hba:4:7: expected the kind of connection, found a list"
    );
}

#[test]
fn what_only_the_servers_know_is_refused_and_so_are_expressions() {
    assert_eq!(
        problems("local samerole,samegroup +staff trust\nlocal /^a \"/^b\" trust\nlocal \"\" \"\" trust"),
        "hba:1:7: samerole is not supported: roles are the servers' own\n\
         hba:1:16: samegroup is not supported: roles are the servers' own\n\
         hba:1:26: \"+staff\" asks for a role's members, which only the servers know: list them, or name a file of \
         them as @file\n\
         hba:2:7: regular expressions are not supported here: name each database\n\
         hba:2:11: regular expressions are not supported here: name each user\n\
         hba:3:7: a database has a name\n\
         hba:3:10: a user has a name"
    );
}

#[test]
fn addresses_are_numbers() {
    let expected =
        "expected an address such as 127.0.0.1/32 or ::1/128, or all (host names are not supported), found";
    assert_eq!(
        problems(
            "host all all localhost trust\nhost all all .example.com trust\nhost all all \"all\" trust\n\
             host all all samenet trust\nhost all all 10.0.0.0/33 trust\nhost all all ::/129 trust\n\
             host all all 010.0.0.1/8 trust\nhost all all fe80::1%eth0/64 trust"
        ),
        format!(
            "hba:1:14: {expected} \"localhost\"\nhba:2:14: {expected} \".example.com\"\nhba:3:14: {expected} \"all\"\n\
             hba:4:14: samenet is not supported: write the addresses, such as 10.0.0.0/8\n\
             hba:5:14: expected 0 to 32 bits behind the slash, found \"33\"\n\
             hba:6:14: expected 0 to 128 bits behind the slash, found \"129\"\n\
             hba:7:14: {expected} \"010.0.0.1/8\"\nhba:8:14: {expected} \"fe80::1%eth0/64\""
        )
    );
}

#[test]
fn an_address_by_itself_has_its_mask_behind_it() {
    assert_eq!(
        problems("host all all 10.0.0.1 trust\nhost all all ::1 255.0.0.0 trust\nhost all all 10.0.0.1"),
        "hba:1:23: expected a mask for 10.0.0.1 behind it; 10.0.0.1 alone is written 10.0.0.1/32\n\
         hba:2:18: expected a mask for ::1 behind it; ::1 alone is written ::1/128\n\
         hba:3:14: expected a mask for 10.0.0.1 behind it; 10.0.0.1 alone is written 10.0.0.1/32"
    );
}

#[test]
fn methods_are_those_that_work_where_they_work() {
    assert_eq!(
        problems(
            "local all all scram\nlocal all all ldap ldapserver=x\nlocal all all ident\nhost all all all peer\n\
             local all all cert\nhostnossl all all all cert\nlocal all all scram-sha256\nlocal all all gss"
        ),
        "hba:1:15: expected one of trust, reject, md5, password, scram-sha-256, peer, cert, found \"scram\"\n\
         hba:2:15: the method ldap is not supported\n\
         hba:3:15: the method ident is not supported; for Unix sockets there is peer\n\
         hba:4:18: peer is for local records: only a Unix socket knows its peer\n\
         hba:5:15: cert is not for local records: a certificate comes with TLS alone\n\
         hba:6:23: cert is not for hostnossl records: a certificate comes with TLS alone\n\
         hba:7:15: expected one of trust, reject, md5, password, scram-sha-256, peer, cert, found \"scram-sha256\"; \
         did you mean scram-sha-256?\n\
         hba:8:15: the method gss is not supported"
    );
}

#[test]
fn options_are_known_given_once_and_fit_the_method() {
    assert_eq!(
        problems(
            "local all all peer map=m\nlocal all all trust map=m\nlocal all all peer map=m map=m\n\
             local all all md5 fast\nlocal all all md5 ldapserver=x\nhost all all all md5 clientcert=verify-ca\n\
             hostssl all all all md5 clientcert=1"
        ),
        "hba:1:20: map= needs \"ident_file\" in [server]\n\
         hba:2:21: map= is for peer and cert: other methods give no name of their own\n\
         hba:3:26: this option is given twice\n\
         hba:4:19: expected name=value, found \"fast\"\n\
         hba:5:19: unknown option \"ldapserver\"; there are map and clientcert\n\
         hba:6:22: clientcert= is for hostssl records alone\n\
         hba:7:25: expected clientcert=verify-ca or verify-full, found \"1\""
    );
}

#[test]
fn files_of_names_are_there_and_end() {
    assert_eq!(
        problems_of(&[("hba", "local all @gone,@ trust\nlocal @me all trust"), ("me", "x @me")]),
        "hba:1:11: the list \"gone\" cannot be read: entity not found\n\
         hba:1:17: expected the name of a file behind the @\n\
         me:1:3: files name each other more than 10 deep"
    );
    assert_eq!(
        problems_of(&[("hba", "local all @dir/users trust"), ("dir/users", "ada\n+staff")]),
        "dir/users:2:1: \"+staff\" asks for a role's members, which only the servers know: list them, or name a file \
         of them as @file"
    );
}
