use super::*;
use crate::pgbouncer::testing::{problems, read};

#[test]
fn an_entry_may_say_nothing() {
    let database = read("[databases]\nfoo =\n").databases.remove(0);
    let name = Piece { text: "foo".into(), place: database.place.clone() };
    assert_eq!(database, Database::new(&name));
    assert_eq!(database.place.to_string(), "p.ini:6:1");
}

#[test]
fn an_entry_says_where_servers_are_and_who_logs_in() {
    let text = "[databases]\nfoo = host=a,b port=0x10 dbname='my db' user=u password='p w''x' auth_user=v \
                auth_query='select $1' auth_dbname=w load_balance_hosts=Disable target_session_attrs=primary\n";
    let database = read(text).databases.remove(0);
    assert_eq!(database.hosts, [Host::Name("a".into()), Host::Name("b".into())]);
    assert_eq!((database.port, database.dbname.as_deref()), (16, Some("my db")));
    assert_eq!((database.user.as_deref(), database.auth_user.as_deref()), (Some("u"), Some("v")));
    assert_eq!(database.password.as_ref().map(Secret::expose), Some("p w'x"));
    assert_eq!(database.auth_query.as_deref(), Some("select $1"));
    assert_eq!(database.auth_dbname.as_deref(), Some("w"));
    assert_eq!(database.load_balance_hosts, LoadBalanceHosts::Disable);
    assert_eq!(database.target_session_attrs, TargetSession::Primary);
}

#[test]
fn an_entry_says_how_many_and_how_long() {
    let text = "[databases]\nfoo = pool_size=1 min_pool_size=2 reserve_pool=3 pool_mode=TRANSACTION max_db_connections=4 \
                max_db_client_connections=5 server_lifetime=6 query_wait_timeout=7\n\
                bar = reserve_pool_size=8\n";
    let databases = read(text).databases;
    let foo = &databases[0];
    assert_eq!((foo.pool_size, foo.min_pool_size, foo.reserve_pool_size), (Some(1), Some(2), Some(3)));
    assert_eq!((foo.max_db_connections, foo.max_db_client_connections), (Some(4), Some(5)));
    assert_eq!(foo.pool_mode, Some(PoolMode::Transaction));
    assert_eq!(foo.server_lifetime, Some(Duration::from_secs(6)));
    assert_eq!(foo.query_wait_timeout, Some(Duration::from_secs(7)));
    assert_eq!(databases[1].reserve_pool_size, Some(8));
}

#[test]
fn an_entry_says_what_a_new_server_is_told() {
    let text = "[databases]\nfoo = client_encoding=UTF8 datestyle='ISO, DMY' timezone=UTC application_name=x \
                connect_query='SELECT ''a'''\n";
    let foo = &read(text).databases[0];
    assert_eq!(foo.client_encoding.as_deref(), Some("UTF8"));
    assert_eq!(foo.datestyle.as_deref(), Some("ISO, DMY"));
    assert_eq!(foo.timezone.as_deref(), Some("UTC"));
    assert_eq!(foo.application_name.as_deref(), Some("x"));
    assert_eq!(foo.connect_query.as_deref(), Some("SELECT 'a'"));
}

#[test]
fn a_size_of_zero_is_one_and_a_limit_of_zero_is_none() {
    let text = "[databases]\nfoo = pool_size=0 min_pool_size=0 reserve_pool=0 max_db_connections=0 server_lifetime=0\n\
                bar = pool_size=-1 min_pool_size=-1 reserve_pool=-1 max_db_connections=-1 server_lifetime=-1\n";
    let databases = read(text).databases;
    let sizes = |at: usize| {
        let Database { pool_size, min_pool_size, reserve_pool_size, .. } = databases[at];
        [pool_size, min_pool_size, reserve_pool_size]
    };
    assert_eq!(sizes(0), [Some(0); 3]);
    assert_eq!(sizes(1), [None; 3]);
    assert_eq!((databases[0].max_db_connections, databases[1].max_db_connections), (None, None));
    assert_eq!((databases[0].server_lifetime, databases[1].server_lifetime), (None, None));
}

#[test]
fn an_option_that_is_given_twice_has_its_later_value() {
    assert_eq!(read("[databases]\nfoo = port=1 host=a port=2\n").databases[0].port, 2);
}

#[test]
fn every_option_that_is_offered_is_known() {
    for option in KNOWN {
        let found = problems(&format!("[databases]\na = {option}='@ @' nonsense=1\n"));
        assert!(found.contains("unknown option \"nonsense\""), "{found}");
        assert!(!found.contains(&format!("unknown option \"{option}\"")), "{found}");
    }
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    assert_eq!(
        problems(
            "[databases]\npgbouncer = host=x\na = port=0\nb = port=70000 pool_size=many\nc = hosts=x\nd = pool_mode=tx\n\
             e = server_lifetime=30m HOST=x\nf = host=a=b\ng = host= password=hunter2\n"
        ),
        "p.ini:6:1: the name \"pgbouncer\" is the console's own\n\
         p.ini:7:10: the port must be a number from 1 to 65535, found \"0\"\n\
         p.ini:8:10: the port must be a number from 1 to 65535, found \"70000\"\n\
         p.ini:8:26: expected a whole number, found \"many\"\n\
         p.ini:9:5: unknown option \"hosts\" in [databases]; did you mean \"host\"?\n\
         p.ini:10:15: expected one of session, transaction, statement, found \"tx\"\n\
         p.ini:11:21: expected a number of seconds, such as 15 or 0.5, found \"30m\"\n\
         p.ini:11:25: unknown option \"HOST\" in [databases]; did you mean \"host\"?\n\
         p.ini:12:10: the value of \"host\" has an = in it\n\
         p.ini:13:11: the value of \"host\" has an = in it"
    );
}
