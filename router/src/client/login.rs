//! Authentication's shell: carries the messages between the client and the pure exchange in [`super::auth`].

use super::Rejected;
use super::auth::{Authenticator, Method, Nonces, Request, Step};
use super::startup::Hello;
use crate::error::ClientError;
use crate::proxy::{Proxy, World};
use crate::reply;
use shardway_config::AuthMethod;
use shardway_pool::frame;
use shardway_pool::wire::Wire;
use std::sync::Arc;

/// Lets the client prove who it is, and says AuthenticationOk.
pub(super) async fn authenticate(proxy: &Arc<Proxy>, wire: &mut Wire, hello: &Hello) -> Result<(), Rejected> {
    let world = proxy.world();
    let method = match world.config.server.auth {
        AuthMethod::Trust => Method::Trust,
        AuthMethod::Password => Method::Password,
        AuthMethod::Md5 => Method::Md5,
        AuthMethod::Scram => Method::Scram,
        // Refused at start-up; a mistake here must not let anybody in.
        AuthMethod::Cert | AuthMethod::Hba => {
            return Err(ClientError::fatal("28000", "this authentication method is not supported yet").into());
        }
    };
    let secret = world.users.get(&hello.user).map(|user| user.secret.clone());
    let mut step = Authenticator::start(method, &hello.user, secret, &proxy.salts, Nonces::random());
    loop {
        match step {
            Step::Continue(state, request) => {
                send(wire, &request).await?;
                let body = answer(wire, state.max_body()).await?;
                step = state.step(&body).map_err(|e| {
                    tracing::info!(user = hello.user, "login failed: {e}");
                    ClientError::fatal(e.sqlstate(), e.to_string())
                })?;
            }
            Step::Done { final_message, .. } => {
                if let Some(message) = final_message {
                    reply::authentication(&mut wire.output, &message.body());
                }
                break;
            }
        }
    }
    may_enter(&world, hello)?;
    reply::authentication(&mut wire.output, &0u32.to_be_bytes());
    Ok(())
}

/// Under trust, a user that the configuration does not name may not enter either, as in PgBouncer.
fn may_enter(world: &World, hello: &Hello) -> Result<(), ClientError> {
    let admin = super::is_admin(&hello.database) && !world.databases.contains_key(&hello.database);
    if admin && !world.is_stats(&hello.user) {
        return Err(ClientError::fatal(
            "42501",
            format!("user \"{}\" may not use the admin database", hello.user),
        ));
    }
    if !admin && !world.has_user(&hello.user) {
        return Err(ClientError::fatal("28000", format!("role \"{}\" does not exist", hello.user)));
    }
    Ok(())
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
