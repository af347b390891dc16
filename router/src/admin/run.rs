//! Carrying commands out: who may, and what they do.

use super::answer::{Answer, Column};
use super::command::{Command, SettingWrite, Shutdown};
use super::console::Console;
use super::settings::{self, Changeable};
use super::show::{self, ROUTE, Show};
use super::standing;
use crate::client::is_admin;
use crate::error::ClientError;
use crate::proxy::{Phase, Proxy, World};
use crate::{autodb, reload};
use std::sync::Arc;

/// The columns that a command answers with; `None` if it answers with its tag alone. Errors: there is no such SHOW.
pub(super) fn columns(command: &Command) -> Result<Option<&'static [Column]>, ClientError> {
    match command {
        Command::Route(_) => Ok(Some(ROUTE)),
        Command::Show(name) => match (Show::find(name), show::fake(name)) {
            (Some(show), _) => Ok(show.columns),
            (None, Some((columns, _))) => Ok(Some(columns)),
            (None, None) => Err(show::unknown(name)),
        },
        _ => Ok(None),
    }
}

/// Does what a command says.
pub(super) async fn run(
    proxy: &Arc<Proxy>,
    console: &Console,
    command: &Command,
) -> Result<Answer, ClientError> {
    let (world, user) = (proxy.world(), console.user.as_str());
    if !console.is_owner && !world.is_stats(user) {
        // A reload took the right away.
        return Err(ClientError::error("42501", format!("user \"{user}\" may not use the admin database")));
    }
    match command {
        Command::Show(name) => return show(proxy, name),
        Command::Route(statement) => return Ok(Answer::rows(show::route::rows(proxy, statement).await)),
        Command::Set(change) if is_fake(&change.key) => {
            return Ok(Answer { notice: Some(("SET ignored", "")), ..Answer::tag("SET") });
        }
        _ if !console.is_owner && !world.is_admin(user) => {
            return Err(ClientError::error("42501", "admin access needed"));
        }
        _ => {}
    }
    tracing::info!(user, "admin: {command}");
    tokio::select! {
        biased;
        error = console.cancelled() => Err(error),
        answer = act(proxy, command) => answer,
    }
}

fn show(proxy: &Proxy, name: &str) -> Result<Answer, ClientError> {
    match Show::find(name) {
        Some(show) => Ok(show.answer(proxy)),
        None => show::fake(name).map(|(_, answer)| answer).ok_or_else(|| show::unknown(name)),
    }
}

fn is_fake(key: &str) -> bool {
    super::FAKE_SETTINGS.iter().any(|(name, ..)| *name == key)
}

async fn act(proxy: &Arc<Proxy>, command: &Command) -> Result<Answer, ClientError> {
    make_known(proxy, command).await?;
    match command {
        Command::Set(change) => return set(proxy, change).await,
        Command::Reload => reload::reload(proxy).await.map_err(|problems| not_taken(proxy, &problems))?,
        Command::Disable(name) => proxy.admin.disable(known(proxy, name, "disable")?),
        Command::Enable(name) => proxy.admin.enable(known(proxy, name, "enable")?),
        Command::Reconnect(name) => {
            let chosen = chosen(proxy, name, "reconnect")?.map(str::to_owned);
            let give_up = move |proxy: &Proxy, old: &World| proxy.admin.give_up(old, chosen.as_deref());
            reload::renew(proxy, give_up).await.map_err(|e| ClientError::error("58000", e))?;
        }
        Command::WaitClose(name) => proxy.admin.wait_close(chosen(proxy, name, "wait in")?).await,
        Command::Pause(name) => standing::pause(proxy, chosen(proxy, name, "pause")?).await?,
        Command::Resume(name) => standing::resume(proxy, name.as_deref())?,
        Command::Kill(name) => standing::kill(proxy, chosen(proxy, name, "kill")?).await?,
        Command::KillClient(id) => standing::kill_client(proxy, *id)?,
        Command::Suspend => standing::suspend(proxy).await?,
        Command::Shutdown(Shutdown::Immediate) => proxy.enter(Phase::Stopping),
        Command::Shutdown(Shutdown::Servers) => standing::drain(proxy, Phase::Releasing),
        Command::Shutdown(Shutdown::Clients) => proxy.enter(Phase::Leaving),
        Command::Empty | Command::Show(_) | Command::Route(_) => {}
    }
    Ok(Answer::tag(command.word()))
}

/// A database that the fallback would make for a client is made for these commands, too, as by PgBouncer.
async fn make_known(proxy: &Arc<Proxy>, command: &Command) -> Result<(), ClientError> {
    use Command as C;
    let (C::Pause(Some(name))
    | C::Kill(Some(name))
    | C::Reconnect(Some(name))
    | C::WaitClose(Some(name))
    | C::Disable(name)) = command
    else {
        return Ok(());
    };
    if !is_admin(name) {
        autodb::open(proxy, name).await.map_err(|e| ClientError::error("58000", e))?;
    }
    Ok(())
}

fn not_taken(proxy: &Proxy, problems: &str) -> ClientError {
    if proxy.world().ini().is_some() {
        return ClientError::error("F0000", "RELOAD failed, see logs for additional details").hint(problems);
    }
    ClientError::error("F0000", format!("the configuration was not taken: {problems}"))
}

/// A database that is configured. Errors: in PgBouncer's words.
fn known<'a>(proxy: &Proxy, name: &'a str, what: &str) -> Result<&'a str, ClientError> {
    if proxy.world().databases.contains_key(name) {
        return Ok(name);
    }
    if is_admin(name) {
        return Err(ClientError::error("42809", format!("cannot {what} admin db: {name}")));
    }
    Err(ClientError::error("3D000", format!("no such database: {name}")))
}

fn chosen<'a>(proxy: &Proxy, name: &'a Option<String>, what: &str) -> Result<Option<&'a str>, ClientError> {
    name.as_deref().map(|name| known(proxy, name, what)).transpose()
}

/// SET: as if the configuration file said so, until the next RELOAD.
async fn set(proxy: &Arc<Proxy>, change: &SettingWrite) -> Result<Answer, ClientError> {
    if proxy.world().config.pgbouncer.is_some() {
        reload::set_pgbouncer(proxy, &change.key, &change.value)
            .await
            .map_err(|problem| ClientError::error("22023", "SET failed").hint(problem))?;
        return Ok(Answer::set(change));
    }
    let Some(setting) = settings::find(&change.key) else {
        let message = format!("unrecognized configuration parameter \"{}\"", change.key);
        return Err(ClientError::error("42704", message).hint("SHOW CONFIG lists them."));
    };
    let Changeable::Set(write) = setting.change else {
        let message = format!("\"{}\" cannot be changed by SET", change.key);
        return Err(ClientError::error("55P02", message).hint("Change the configuration file, then RELOAD."));
    };
    let value = change.value.clone();
    reload::change(proxy, move |config| write(config, &value))
        .await
        .map_err(|problem| ClientError::error("22023", format!("SET failed: {problem}")))?;
    Ok(Answer::set(change))
}

impl std::fmt::Display for Command {
    /// As it is logged: its word, and what it is about.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())?;
        match self {
            Self::Set(SettingWrite { key, value }) => write!(f, " {key} = {value}"),
            Self::Shutdown(Shutdown::Servers) => f.write_str(" WAIT_FOR_SERVERS"),
            Self::Shutdown(Shutdown::Clients) => f.write_str(" WAIT_FOR_CLIENTS"),
            Self::KillClient(id) => write!(f, " {id}"),
            Self::Disable(name) | Self::Enable(name) => write!(f, " {name}"),
            Self::Pause(Some(name)) | Self::Resume(Some(name)) | Self::Kill(Some(name)) => {
                write!(f, " {name}")
            }
            Self::Reconnect(Some(name)) | Self::WaitClose(Some(name)) => write!(f, " {name}"),
            _ => Ok(()),
        }
    }
}
