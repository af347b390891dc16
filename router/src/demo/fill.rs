//! Filling the tables through the proxy: several connections with several statements on their way on each.

use super::data;
use super::error::DemoError;
use super::inserts::Batch;
use super::screen::{Screen, count, duration};
use super::session;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio_postgres::Client;

/// Connections.
const CLIENTS: usize = 4;
/// Statements on their way on each; the answers come back in order.
const PIPELINE: usize = 8;
/// How often the progress moves.
const TICK: Duration = Duration::from_millis(100);

/// Every table, one after the other: later ones refer to earlier ones.
pub(super) async fn all(port: u16, screen: Screen) -> Result<(), DemoError> {
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(Arc::new(connect(port).await?));
    }
    screen.line("");
    screen.line("  Filling through the proxy");
    let started = Instant::now();
    let mut rows = 0;
    for batch in data::batches() {
        rows += batch.rows();
        table(&clients, batch, screen).await?;
    }
    let rate = per_second(rows, started.elapsed());
    screen.line(&screen.dim(&format!(
        "    {:<22}{:>7} rows {:>11}{rate:>10} rows/s",
        "in all",
        count(rows),
        duration(started.elapsed())
    )));
    Ok(())
}

/// A crash of the machine half way is mended by filling again, so commits need not wait for the disk.
async fn connect(port: u16) -> Result<Client, DemoError> {
    let client = session::connect(port, "app", "shop").await?;
    let unsynced = "SET synchronous_commit = off";
    client.batch_execute(unsynced).await.map_err(DemoError::sql(unsynced))?;
    Ok(client)
}

async fn table(clients: &[Arc<Client>], batch: Batch, screen: Screen) -> Result<(), DemoError> {
    let started = Instant::now();
    let work = Arc::new(Work { batch, next: AtomicUsize::new(0), done: AtomicUsize::new(0) });
    let mut lanes = JoinSet::new();
    for _ in 0..PIPELINE {
        for client in clients {
            lanes.spawn(lane(client.clone(), work.clone()));
        }
    }
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            lane = lanes.join_next() => match lane {
                Some(lane) => lane??,
                None => break,
            },
            _ = tick.tick() => screen.progress(&work.line(work.done.load(Relaxed), started.elapsed())),
        }
    }
    screen.settle(&work.line(work.done.load(Relaxed), started.elapsed()));
    Ok(())
}

/// A table's statements, which all lanes take from.
struct Work {
    batch: Batch,
    next: AtomicUsize,
    done: AtomicUsize,
}

impl Work {
    fn line(&self, written: usize, took: Duration) -> String {
        let copies = self.batch.copies as usize;
        let each = if copies > 1 { format!("  on each of {copies} shards") } else { String::new() };
        let (table, rows, rate) = (self.batch.table, count(written / copies), per_second(written, took));
        format!("    {table:<22}{rows:>7} rows {:>11}{rate:>10} rows/s{each}", duration(took))
    }
}

async fn lane(client: Arc<Client>, work: Arc<Work>) -> Result<(), DemoError> {
    while let Some(insert) = work.batch.inserts.get(work.next.fetch_add(1, Relaxed)) {
        client.batch_execute(&insert.sql).await.map_err(DemoError::sql(&insert.sql))?;
        work.done.fetch_add(insert.rows, Relaxed);
    }
    Ok(())
}

fn per_second(rows: usize, took: Duration) -> String {
    count((rows as f64 / took.as_secs_f64().max(1e-6)) as usize)
}
