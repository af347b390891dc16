//! PgBouncer 1.25's columns: what its exporters and dashboards count on.

use shardway_tests::{PASSWORD, RawClient, SharedWorld, World};

use super::support::SCHEMA;

static WORLD: SharedWorld = SharedWorld::new(|| World::builder().schema(SCHEMA).start());

/// Each SHOW with the columns of PgBouncer 1.25, and their types: `t`ext, `i`nt4, `q` for int8, `n`umeric.
const SHOWS: &[(&str, &str, &str)] = &[
    ("VERSION", "t", "version"),
    ("STATE", "tt", "key value"),
    ("CONFIG", "tttt", "key value default changeable"),
    ("LISTS", "ti", "list items"),
    ("MEM", "tiiii", "name size used free memtotal"),
    ("DNS_HOSTS", "tqt", "hostname ttl addrs"),
    ("DNS_ZONES", "tqi", "zonename serial count"),
    ("PEERS", "itii", "peer_id host port pool_size"),
    ("PEER_POOLS", "iiiii", "peer_id cl_active_cancel_req cl_waiting_cancel_req sv_active_cancel sv_login"),
    (
        "DATABASES",
        "ttittiiiittiiiiii",
        "name host port database force_user pool_size min_pool_size reserve_pool_size server_lifetime pool_mode \
         load_balance_hosts max_connections current_connections max_client_connections \
         current_client_connections paused disabled",
    ),
    (
        "USERS",
        "ttttiiii",
        "name pool_size reserve_pool_size pool_mode max_user_connections current_connections \
         max_user_client_connections current_client_connections",
    ),
    (
        "POOLS",
        "ttiiiiiiiiiiiiitt",
        "database user cl_active cl_waiting cl_active_cancel_req cl_waiting_cancel_req sv_active \
         sv_active_cancel sv_being_canceled sv_idle sv_used sv_tested sv_login maxwait maxwait_us pool_mode \
         load_balance_hosts",
    ),
    ("CLIENTS", SOCKET_TYPES, SOCKET),
    ("SERVERS", SOCKET_TYPES, SOCKET),
    (
        "SOCKETS",
        "ttttttitittiiittittiiiiiiiii",
        "+recv_pos pkt_pos pkt_remain send_pos send_remain pkt_avail send_avail",
    ),
    (
        "ACTIVE_SOCKETS",
        "ttttttitittiiittittiiiiiiiii",
        "+recv_pos pkt_pos pkt_remain send_pos send_remain pkt_avail send_avail",
    ),
    (
        "STATS",
        "tnnnnnnnnnnnnnnnnnnnnnn",
        "database total_server_assignment_count total_xact_count total_query_count total_received total_sent \
         total_xact_time total_query_time total_wait_time total_client_parse_count total_server_parse_count \
         total_bind_count avg_server_assignment_count avg_xact_count avg_query_count avg_recv avg_sent \
         avg_xact_time avg_query_time avg_wait_time avg_client_parse_count avg_server_parse_count avg_bind_count",
    ),
    (
        "STATS_TOTALS",
        "tnnnnnnnnnnn",
        "database server_assignment_count xact_count query_count bytes_received bytes_sent xact_time query_time \
         wait_time client_parse_count server_parse_count bind_count",
    ),
    (
        "STATS_AVERAGES",
        "tnnnnnnnnnnn",
        "database server_assignment_count xact_count query_count bytes_received bytes_sent xact_time query_time \
         wait_time avg_client_parse_count avg_server_parse_count avg_bind_count",
    ),
    ("TOTALS", "tn", "name value"),
    ("TABLES", "tttt", "name kind group key"),
];

const SOCKET_TYPES: &str = "ttttttitittiiittittii";

const SOCKET: &str = "type user database replication state addr port local_addr local_port connect_time \
     request_time wait wait_us close_needed ptr link remote_pid tls application_name prepared_statements id";

async fn raw(user: &str, database: &str) -> RawClient {
    let mut raw = RawClient::connect(WORLD.proxy().port()).await;
    raw.login(user, database, PASSWORD).await;
    raw
}

#[tokio::test]
async fn every_show_has_pgbouncers_columns_in_its_order() {
    let mut raw = raw("stats", "pgbouncer").await;
    for (what, types, names) in SHOWS {
        let names = match names.strip_prefix('+') {
            Some(more) => format!("{SOCKET} {more}"),
            None => (*names).to_owned(),
        };
        let oid = |kind: char| match kind {
            't' => 25,
            'i' => 23,
            'q' => 20,
            _ => 1700,
        };
        let types = types.chars().map(oid);
        let expected: Vec<(String, u32)> = names.split_whitespace().map(str::to_owned).zip(types).collect();
        let reply = raw.query(&format!("SHOW {what};")).recv_until_ready().await;
        let head = reply.of('T').next().unwrap_or_else(|| panic!("SHOW {what}: {reply:?}"));
        assert_eq!(head.columns(), expected, "SHOW {what}");
        assert_eq!((reply.commands(), reply.status()), (vec!["SHOW".to_owned()], 'I'));
        assert!(reply.rows().iter().all(|row| row.len() == expected.len()), "SHOW {what}: {reply:?}");
    }
}
