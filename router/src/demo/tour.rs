//! The tour: a handful of statements, and for each where it went, what came back and how long that took.

use super::error::{DemoError, explain};
use super::house::House;
use super::screen::{Screen, duration};
use super::session::{self, Answer};
use super::steps::{self, How, Step};
use std::time::{Duration, Instant};
use tokio_postgres::Client;

/// Rows that are shown.
const ROWS: usize = 5;
/// Characters of a value that are shown.
const WIDTH: usize = 32;

/// Walks the tour.
pub(super) async fn walk(house: &House, screen: Screen) -> Result<(), DemoError> {
    let port = house.ports.listen.number();
    let shop = session::connect(port, "app", "shop").await?;
    let admin = session::connect(port, "admin", "shardway").await?;
    let guide = Guide { shop, admin, screen };
    for (number, step) in steps::all().iter().enumerate() {
        screen.line("");
        screen.line(&format!("{} {}", screen.dim(&format!("{:>2}", number + 1)), screen.bold(step.title)));
        guide.show(step).await?;
    }
    Ok(())
}

struct Guide {
    shop: Client,
    admin: Client,
    screen: Screen,
}

impl Guide {
    async fn show(&self, step: &Step) -> Result<(), DemoError> {
        match step.how {
            How::Once | How::Twice => {
                for sql in &step.statements {
                    self.statement(sql, step.how == How::Twice).await?;
                }
                Ok(())
            }
            How::Transaction => self.transaction(&step.statements).await,
            How::Refused => self.refused(&step.statements[0]).await,
        }
    }

    async fn statement(&self, sql: &str, twice: bool) -> Result<(), DemoError> {
        self.print_sql(sql);
        let route = self.route(sql).await;
        let (answer, took) = self.timed(sql).await?;
        let again = if twice { Some(self.timed(sql).await?.1) } else { None };
        self.print_outcome(&route, &answer, took, again);
        Ok(())
    }

    async fn transaction(&self, statements: &[String]) -> Result<(), DemoError> {
        self.print_sql("BEGIN");
        self.timed("BEGIN").await?;
        for sql in statements {
            self.statement(sql, false).await?;
        }
        self.print_sql("COMMIT");
        let (_, took) = self.timed("COMMIT").await?;
        self.screen.line(&format!("   {} {}", self.screen.green("→"), self.screen.bold(&duration(took))));
        Ok(())
    }

    async fn refused(&self, sql: &str) -> Result<(), DemoError> {
        self.print_sql(sql);
        let line = match session::ask(&self.shop, sql).await {
            Err(error) if error.as_db_error().is_some() => explain(&error),
            Err(error) => return Err(DemoError::sql(sql)(error)),
            // A later version may well have learned it.
            Ok(answer) => format!("answered after all: {} rows", answer.rows.len()),
        };
        self.screen.line(&format!("   {} {}", self.screen.yellow("✗"), self.screen.yellow(&line)));
        Ok(())
    }

    /// The statement's way, as the proxy itself explains it: tier, group, shards, and the server's role.
    async fn route(&self, sql: &str) -> String {
        let show = format!("SHOW ROUTE '{}'", sql.replace('\'', "''"));
        let answer = match session::ask(&self.admin, &show).await {
            Ok(answer) => answer,
            Err(error) => return format!("route unknown: {}", explain(&error)),
        };
        let field = |name: &str| {
            let at = answer.columns.iter().position(|column| column == name)?;
            answer.rows.first()?.get(at)?.clone().filter(|text| !text.is_empty())
        };
        let shards = field("shards").map(|shards| match shards.contains([',', ' ']) {
            true => format!("shards {shards}"),
            false => format!("shard {shards}"),
        });
        [field("tier"), field("group"), shards, field("server_role")]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(" · ")
    }

    async fn timed(&self, sql: &str) -> Result<(Answer, Duration), DemoError> {
        let started = Instant::now();
        let answer = session::ask(&self.shop, sql).await.map_err(DemoError::sql(sql))?;
        Ok((answer, started.elapsed()))
    }

    fn print_sql(&self, sql: &str) {
        for line in sql.lines() {
            self.screen.line(&format!("   {}", self.screen.dim(line)));
        }
    }

    fn print_outcome(&self, route: &str, answer: &Answer, took: Duration, again: Option<Duration>) {
        let unit = if answer.count == 1 { "row" } else { "rows" };
        let again = again.map(|again| format!(", again {}", self.screen.bold(&duration(again))));
        self.screen.line(&format!(
            "   {} {}   {} {unit}, {}{}",
            self.screen.green("→"),
            self.screen.cyan(route),
            answer.count,
            self.screen.bold(&duration(took)),
            again.unwrap_or_default(),
        ));
        for line in table(answer) {
            self.screen.line(&format!("     {line}"));
        }
    }
}

/// The first rows, in columns.
fn table(answer: &Answer) -> Vec<String> {
    let rows: Vec<Vec<String>> =
        answer.rows.iter().take(ROWS).map(|row| row.iter().map(cell).collect()).collect();
    let mut widths = vec![0; answer.columns.len()];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &Vec<String>| {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    let mut lines: Vec<String> = rows.iter().map(line).collect();
    if answer.rows.len() > ROWS {
        lines.push(format!("… {} more", answer.rows.len() - ROWS));
    }
    lines
}

fn cell(value: &Option<String>) -> String {
    let value = value.as_deref().unwrap_or("NULL");
    if value.chars().count() <= WIDTH {
        return value.to_owned();
    }
    value.chars().take(WIDTH - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_in_columns_and_the_rest_is_counted() {
        let row = |a: &str, b: Option<&str>| vec![Some(a.to_owned()), b.map(str::to_owned)];
        let mut rows = vec![row("1", Some("x")), row("22", None), row("3", Some("é"))];
        rows.resize(ROWS + 2, row("4", Some("y")));
        let answer = Answer { columns: vec!["a".into(), "b".into()], rows, count: 7 };
        assert_eq!(table(&answer), ["1   x", "22  NULL", "3   é", "4   y", "4   y", "… 2 more"]);
    }

    #[test]
    fn long_values_are_cut() {
        assert_eq!(cell(&Some("a".repeat(40))).chars().count(), WIDTH);
    }
}
