//! One server: starting, ending, starting again, keeping.

use std::{
    net::TcpStream,
    time::{Duration, Instant},
};

use shardway_cluster::{Error, Server};

#[test]
fn a_server_is_configured_for_quick_tests_that_commit_for_real() {
    let server = Server::builder().start().unwrap();
    let show = |setting: &str| server.sql("postgres", &format!("SHOW {setting}")).unwrap();
    assert_eq!(show("fsync"), "off");
    assert_eq!(show("synchronous_commit"), "on");
    assert_eq!(show("wal_level"), "logical");
    assert_eq!(show("max_prepared_transactions"), "200");
    assert_eq!(show("server_encoding"), "UTF8");
    assert_eq!(show("data_directory"), server.dir().display().to_string());
}

#[test]
fn settings_and_hba_lines_are_the_callers_choice() {
    let server = Server::builder()
        .setting("max_prepared_transactions", 0)
        .hba("host all guest 127.0.0.1/32 reject")
        .start()
        .unwrap();
    assert_eq!(server.sql("postgres", "SHOW max_prepared_transactions").unwrap(), "0");
    let first = server.sql("postgres", "SELECT user_name, auth_method FROM pg_hba_file_rules LIMIT 1");
    assert_eq!(first.unwrap(), "{guest}|reject");
}

#[test]
fn sql_gives_rows_and_stops_at_the_first_error() {
    let server = Server::builder().start().unwrap();
    let rows = server.sql("postgres", "CREATE TABLE t (a int, b text); SELECT 1, 'x' UNION SELECT 2, NULL");
    assert_eq!(rows.unwrap(), "1|x\n2|");
    let failed = server.sql("postgres", "SELECT 1/0; INSERT INTO t VALUES (1)").unwrap_err();
    assert!(failed.to_string().contains("division by zero"), "{failed}");
    assert_eq!(server.sql("postgres", "SELECT count(*) FROM t").unwrap(), "0");
}

#[test]
fn a_server_comes_back_on_its_port_with_its_data_however_it_went() {
    let server = Server::builder().start().unwrap();
    let port = server.port();
    server.sql("postgres", "CREATE TABLE t (how text)").unwrap();
    type End = fn(&Server) -> shardway_cluster::Result<()>;
    let endings: [(&str, End); 3] =
        [("stop", Server::stop), ("stop_immediate", Server::stop_immediate), ("kill", Server::kill)];
    for (how, end) in endings {
        server.sql("postgres", &format!("INSERT INTO t VALUES ('{how}')")).unwrap();
        end(&server).unwrap();
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "{how}: the port still answers");
        assert!(matches!(end(&server), Err(Error::NotRunning { .. })), "{how}: twice");
        server.start().unwrap();
    }
    server.restart().unwrap();
    assert_eq!(server.port(), port);
    assert_eq!(server.sql("postgres", "SELECT how FROM t").unwrap(), "stop\nstop_immediate\nkill");
}

#[test]
fn a_killed_server_takes_its_backends_with_it() {
    let server = Server::builder().start().unwrap();
    std::thread::scope(|scope| {
        let hanging = scope.spawn(|| server.sql("postgres", "SELECT pg_sleep(600)"));
        let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)'";
        while server.sql("postgres", sleeping).unwrap() != "1" {}
        server.kill().unwrap();
        let started = Instant::now();
        assert!(hanging.join().unwrap().is_err());
        assert!(started.elapsed() < Duration::from_secs(5));
    });
}

#[test]
fn a_paused_server_takes_connections_but_says_nothing_until_it_is_resumed() {
    use std::io::{ErrorKind, Read, Write};
    let server = Server::builder().start().unwrap();
    server.pause().unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    stream.write_all(&[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]).unwrap(); // SSLRequest
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut answer = [0];
    assert_eq!(stream.read(&mut answer).unwrap_err().kind(), ErrorKind::WouldBlock);

    server.resume().unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, *b"N");

    server.pause().unwrap();
    server.stop().unwrap(); // wakes it for that
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let error = Server::builder().setting("shared_buffers", "plenty").start().unwrap_err();
    assert!(matches!(error, Error::Exited { .. }));
    assert!(error.to_string().contains("invalid value for parameter \"shared_buffers\""), "{error}");
}

#[test]
fn a_chosen_directory_is_kept_and_synced_and_comes_back() {
    let home = tempfile::tempdir().unwrap();
    // The server's own user must get in.
    std::fs::set_permissions(home.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let dir = home.path().join("deep/data");
    let server = Server::builder().data_dir(&dir).start().unwrap();
    assert_eq!(server.sql("postgres", "SHOW fsync").unwrap(), "on");
    server.sql("postgres", "CREATE TABLE t AS SELECT 42 AS a").unwrap();
    drop(server);

    let again = Server::builder().data_dir(&dir).start().unwrap();
    assert_eq!(again.sql("postgres", "SELECT a FROM t").unwrap(), "42");
}

#[test]
fn a_directory_with_something_else_in_it_is_left_alone() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("thesis.txt"), "years of work").unwrap();
    let error = Server::builder().data_dir(home.path()).start().unwrap_err();
    assert!(matches!(error, Error::NotADataDirectory { .. }), "{error}");
}
