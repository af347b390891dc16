//! SHOW CLIENTS, SERVERS, SOCKETS and ACTIVE_SOCKETS: one row for each connection.

use super::columns::PLAIN_SOCKET;
use crate::admin::answer::{Row, row};
use crate::admin::clock::timestamp;
use crate::admin::gather;
use crate::admin::snapshot::{ClientRow, ClientState, ServerRow, ServerState};
use crate::proxy::Proxy;
use std::sync::Arc;

/// Without the columns about buffers.
fn plain(mut row: Row) -> Row {
    row.truncate(PLAIN_SOCKET);
    row
}

pub(super) fn clients(proxy: &Proxy) -> Vec<Row> {
    gather::clients(proxy).iter().map(|row| plain(client(row, client_state(row.state)))).collect()
}

pub(super) fn servers(proxy: &Proxy) -> Vec<Row> {
    let state = |row: &ServerRow| match row.state {
        ServerState::Active => "active",
        ServerState::Idle => "idle",
        ServerState::Used => "used",
        ServerState::Login => "new",
    };
    gather::servers(proxy).iter().map(|row| plain(server(row, state(row)))).collect()
}

/// Both, with states as SHOW POOLS names them.
pub(super) fn sockets(proxy: &Proxy) -> Vec<Row> {
    both(proxy, |_| true, |_| true)
}

/// PgBouncer means those whose buffers hold something; here those at work.
pub(super) fn active(proxy: &Proxy) -> Vec<Row> {
    both(proxy, |row| !row.links.is_empty(), |row| row.state == ServerState::Active)
}

fn both(proxy: &Proxy, cl: impl Fn(&ClientRow) -> bool, sv: impl Fn(&ServerRow) -> bool) -> Vec<Row> {
    let cl_state = |row: &ClientRow| match row.state {
        ClientState::Waiting => "cl_waiting",
        ClientState::Active | ClientState::Idle => "cl_active",
    };
    let sv_state = |row: &ServerRow| match row.state {
        ServerState::Active => "sv_active",
        ServerState::Idle => "sv_idle",
        ServerState::Used => "sv_used",
        ServerState::Login => "sv_login",
    };
    let clients = gather::clients(proxy);
    let servers = gather::servers(proxy);
    let clients = clients.iter().filter(|row| cl(row)).map(|row| client(row, cl_state(row)));
    clients.chain(servers.iter().filter(|row| sv(row)).map(|row| server(row, sv_state(row)))).collect()
}

fn client_state(state: ClientState) -> &'static str {
    match state {
        ClientState::Active => "active",
        ClientState::Idle => "idle",
        ClientState::Waiting => "waiting",
    }
}

fn pointer(address: usize) -> String {
    format!("{address:#x}")
}

fn client(row: &ClientRow, state: &'static str) -> Row {
    let client = &row.client;
    let links: Vec<_> = row.links.iter().map(|link| pointer(*link)).collect();
    let mut cells = row![
        "C",
        &client.who.user,
        &client.who.database,
        "none",
        state,
        &client.peer.host,
        client.peer.port,
        &client.local.host,
        client.local.port,
        timestamp(client.since),
        row.request_time.map(timestamp),
        row.wait.as_secs(),
        row.wait.subsec_micros(),
        0,
        pointer(Arc::as_ptr(client) as usize),
        links.join(","),
        client.pid,
        &client.tls,
        &row.application_name,
        row.prepared,
        client.id,
    ];
    cells.extend(buffers());
    cells
}

fn server(row: &ServerRow, state: &'static str) -> Row {
    let (client, login) = (row.client.as_ref(), row.login.as_ref());
    let unix = row.address.host.starts_with('/');
    let mut cells = row![
        "S",
        &row.user,
        &row.database,
        "none",
        state,
        if unix { "unix" } else { row.address.host.as_str() },
        row.address.port,
        row.local.as_ref().map(|local| local.host.as_str()),
        row.local.as_ref().map(|local| local.port),
        login.map(|login| timestamp(login.connect_time)),
        row.request_time.map(timestamp),
        0,
        0,
        i32::from(login.is_some_and(|login| login.close_needed)),
        login.map(|login| pointer(login.ptr)),
        client.map(|client| pointer(Arc::as_ptr(client) as usize)).unwrap_or_default(),
        login.map(|login| login.pid),
        login.map(|login| login.tls.as_str()),
        &row.application_name,
        login.map(|login| login.prepared),
        login.map(|login| login.id),
    ];
    cells.extend(buffers());
    cells
}

/// Positions in buffers. Ours are lent while there is work, and PgBouncer prints 0 for a connection without one.
fn buffers() -> Row {
    row![0, 0, 0, 0, 0, 0, 0]
}
