//! Authentication's shell: carries the messages between the client and the pure exchange in [`super::auth`].

use super::auth::hba::{self, Certificate, Proof, Unwanted};
use super::auth::{Authenticator, Method, Nonces, Request, Step};
use super::directory::{self, Claimed};
use super::startup::Hello;
use super::{Rejected, peer};
use crate::error::ClientError;
use crate::proxy::{Proxy, World};
use crate::reply;
use shardway_config::hba::UserMap;
use shardway_config::{AuthMethod, Origin};
use shardway_pool::frame;
use shardway_pool::stream::Stream;
use shardway_pool::tls::{TlsStream, certificate};
use shardway_pool::wire::Wire;
use std::sync::Arc;

/// Lets the client prove who it is, and says AuthenticationOk. Gives whether it is the console's owner: as with PgBouncer,
/// the operating system's user that the process is may use the console as `pgbouncer`, and proves that by a Unix socket.
pub(super) async fn authenticate(
    proxy: &Arc<Proxy>,
    wire: &mut Wire,
    hello: &Hello,
) -> Result<bool, Rejected> {
    let world = proxy.world();
    if super::is_console(&world, hello) && super::is_admin(&hello.user) && peer::is_ours(&wire.stream) {
        tracing::info!(user = hello.user, "access to the console from our own user by a Unix socket");
        reply::authentication(&mut wire.output, &0u32.to_be_bytes());
        return Ok(true);
    }
    let server = &world.config.server;
    let peer = peer::of(&wire.stream, hello)?;
    let demand = hba::demand(server.auth, server.hba.as_ref(), &peer).map_err(|reason| {
        // Who may not use the console is told so first, whatever the rules say.
        let bars = super::is_console(&world, hello) && world.users.contains_key(&hello.user);
        let error = unwanted(reason);
        if bars && !world.is_stats(&hello.user) { error.or_poolers("not allowed") } else { error }
    })?;
    let certificate = wire.stream.tls().and_then(TlsStream::peer_certificate);
    if demand.certificate != Certificate::Unasked && certificate.is_none() {
        return Err(unwanted(Unwanted::NoCertificate).into());
    }
    let claimed = find(proxy, &world, hello).await?;
    match demand.proof {
        Proof::Password(method) => by_password(proxy, wire, hello, method, &claimed).await?,
        Proof::Peer(map) => by_peer(wire, hello, map).await?,
    }
    if let Certificate::Named(map) = demand.certificate {
        by_certificate(&wire.stream, hello, map)?;
    }
    may_enter(proxy, &world, hello, &claimed)?;
    claimed.proven(&world, &hello.database);
    reply::authentication(&mut wire.output, &0u32.to_be_bytes());
    Ok(false)
}

/// Who the client says it is. That it can't be found out is for the log alone: nobody knows yet who asks.
async fn find(proxy: &Arc<Proxy>, world: &World, hello: &Hello) -> Result<Claimed, Rejected> {
    directory::find(proxy, world, &hello.database, &hello.user).await.map_err(|cause| {
        tracing::warn!(
            user = hello.user,
            database = hello.database,
            "a user could not be looked up: {cause}"
        );
        let message = format!("user \"{}\" cannot be looked up right now", hello.user);
        ClientError::fatal("57P03", message).hint("Try again; the log of Shardway says what is wrong.").into()
    })
}

async fn by_password(
    proxy: &Proxy,
    wire: &mut Wire,
    hello: &Hello,
    method: Method,
    claimed: &Claimed,
) -> Result<(), Rejected> {
    let user = claimed.user.as_ref();
    let secret = user.map(|user| user.secret.clone());
    // Whoever does not exist is asked as most of those who do would be: else the question tells that it does not.
    let unknown = secret.is_none() && method == Method::Md5;
    let method =
        if unknown && proxy.world().has_scram_secrets(&hello.database) { Method::Scram } else { method };
    let end_point = wire.stream.tls().and_then(TlsStream::end_point).cloned();
    let mut step =
        Authenticator::start(method, &hello.user, secret, &proxy.salts, Nonces::random(), end_point);
    loop {
        match step {
            Step::Continue(state, request) => {
                send(wire, &request).await?;
                let body = answer(wire, state.max_body()).await?;
                step = state.step(&body).map_err(|e| {
                    tracing::info!(user = hello.user, "login failed: {e}");
                    let error = ClientError::fatal(e.sqlstate(), e.to_string());
                    match e.poolers(&request) {
                        Some(message) => error.or_poolers(message),
                        None => error,
                    }
                })?;
            }
            Step::Done { client_key, final_message } => {
                if let (Some(user), Some(key)) = (user, &client_key)
                    && user.learn(key)
                {
                    // What waits for somebody who can log in to servers need not wait any longer.
                    proxy.world().databases.values().for_each(|database| database.look_again(&proxy.control));
                }
                if let Some(message) = final_message {
                    reply::authentication(&mut wire.output, &message.body());
                }
                return Ok(());
            }
        }
    }
}

/// The operating system vouches for the client.
async fn by_peer(wire: &Wire, hello: &Hello, map: &UserMap) -> Result<(), Rejected> {
    let system_user = peer::system_user(&wire.stream).await;
    if system_user.as_ref().is_some_and(|name| map.allows(name, &hello.user)) {
        return Ok(());
    }
    let system_user = system_user.unwrap_or_default();
    tracing::info!(user = hello.user, system_user, "login failed: the peer may not be this user");
    let message = format!("Peer authentication failed for user \"{}\"", hello.user);
    Err(ClientError::fatal("28000", message).or_poolers("unix socket login rejected").into())
}

/// The certificate's CN has to be, or to be mapped to, the user.
fn by_certificate(stream: &Stream, hello: &Hello, map: &UserMap) -> Result<(), ClientError> {
    let shown = stream.tls().and_then(TlsStream::peer_certificate);
    let name = shown.and_then(certificate::common_name);
    if name.as_ref().is_some_and(|name| map.allows(name, &hello.user)) {
        return Ok(());
    }
    let common_name = name.unwrap_or_default();
    tracing::info!(user = hello.user, common_name, "login failed: the certificate is another user's");
    let message = format!("certificate authentication failed for user \"{}\"", hello.user);
    Err(ClientError::fatal("28000", message).or_poolers("certificate authentication failed"))
}

fn unwanted(reason: Unwanted) -> ClientError {
    ClientError::fatal(reason.sqlstate(), reason.to_string()).or_poolers(reason.poolers())
}

/// Under trust, a user that the configuration does not name may not enter either, as in PgBouncer.
fn may_enter(proxy: &Proxy, world: &World, hello: &Hello, claimed: &Claimed) -> Result<(), ClientError> {
    let admin = super::is_admin(&hello.database) && !world.databases.contains_key(&hello.database);
    let is_nobody = claimed.user.is_none() && !world.has_user(&hello.database, &hello.user);
    const NOBODY: &str = "\"trust\" authentication failed";
    if admin && !world.is_stats(&hello.user) {
        let message = format!("user \"{}\" may not use the admin database", hello.user);
        let poolers = if is_nobody { NOBODY } else { "not allowed" };
        return Err(ClientError::fatal("42501", message).or_poolers(poolers));
    }
    if !admin && is_nobody {
        let message = format!("role \"{}\" does not exist", hello.user);
        return Err(ClientError::fatal("28000", message).or_poolers(NOBODY));
    }
    let named = world.databases.get(&hello.database).map(|database| &database.config);
    if world.config.server.auth == AuthMethod::Any
        && let Some(database) = named.filter(|named| named.origin != Origin::Native && !named.has_login())
    {
        tracing::error!(database = database.name, "auth_type=any requires forced user");
        return Err(ClientError::fatal("08P01", "bouncer config error"));
    }
    if admin { Ok(()) } else { proxy.admin.admit(&hello.database) }
}

async fn send(wire: &mut Wire, request: &Request) -> Result<(), Rejected> {
    reply::authentication(&mut wire.output, &request.body());
    Ok(wire.flush().await?)
}

/// The client's answer: a `p` message no larger than it can be.
async fn answer(wire: &mut Wire, max: usize) -> Result<Vec<u8>, Rejected> {
    loop {
        match frame::peek(wire.input.filled(), max) {
            Ok(Some(header)) if header.tag != b'p' => {
                if header.tag == b'X' {
                    return Err(Rejected::Gone);
                }
                let message = format!("expected password response, got message type {}", header.tag);
                return Err(ClientError::protocol(message).into());
            }
            Ok(Some(header)) if wire.input.len() >= header.len => {
                let body = wire.input.filled()[frame::HEADER..header.len].to_vec();
                wire.input.consume(header.len);
                return Ok(body);
            }
            Ok(_) => wire.fill().await?,
            Err(_) => return Err(ClientError::protocol("invalid password packet size").into()),
        };
    }
}
