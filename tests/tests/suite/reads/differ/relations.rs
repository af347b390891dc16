//! Views over the tables: such as are read like tables with a key, and such as only their queries stand for.

use super::schema::{Kind, Table};
use super::types::T;

/// A view: what it is called, whether it is stored, how it is read, what tells its rows apart, its columns and its query.
struct View {
    name: &'static str,
    stored: bool,
    kind: Kind,
    unique: Option<&'static str>,
    columns: &'static [(&'static str, T)],
    query: &'static str,
}

const VIEWS: [View; 17] = {
    use Kind::{Reference, Sharded, Whole};
    use T::{Big, Counted, Date, Int, Mood, Text, TextC};
    const fn view(
        name: &'static str,
        kind: Kind,
        unique: Option<&'static str>,
        columns: &'static [(&'static str, T)],
        query: &'static str,
    ) -> View {
        View { name, stored: false, kind, unique, columns, query }
    }
    const ID: Option<&str> = Some("id");
    [
        view(
            "busy",
            Sharded,
            ID,
            &[("user_id", Big), ("id", Int), ("thing_id", Int), ("n", Int), ("note", Text)],
            "SELECT user_id, id, thing_id, qty AS n, note FROM item WHERE qty IS NOT NULL",
        ),
        view(
            "busiest",
            Sharded,
            None,
            &[("user_id", Big), ("id", Int), ("n", Int), ("a", Int), ("t", Text)],
            "SELECT b.user_id, b.id, b.n, t.a, t.t FROM busy b JOIN thing t ON t.user_id = b.user_id",
        ),
        view(
            "per_user",
            Sharded,
            Some("user_id"),
            &[("user_id", Big), ("many", Big), ("last", Text), ("mean", Counted)],
            "SELECT user_id, count(*) AS many, max(note) AS last, avg(qty) AS mean FROM item GROUP BY user_id",
        ),
        view(
            "per_qty",
            Whole,
            Some("k"),
            &[("k", Int), ("many", Big), ("first", Int), ("notes", Text)],
            "SELECT qty AS k, count(*) AS many, min(id) AS first, string_agg(note, '/' ORDER BY id) AS notes \
             FROM item GROUP BY qty",
        ),
        view(
            "labelled",
            Sharded,
            ID,
            &[("user_id", Big), ("id", Int), ("label", Text), ("e", Mood)],
            "SELECT i.user_id, i.id, l.label, l.e FROM item i LEFT JOIN label l ON l.id = i.qty",
        ),
        view(
            "tagged",
            Reference,
            ID,
            &[("id", Int), ("label", Text), ("parent", Int)],
            "SELECT id, label, parent FROM label WHERE e IS NOT NULL",
        ),
        view(
            "rows_of_two",
            Whole,
            ID,
            &[("user_id", Int), ("id", Int), ("what", Text)],
            "SELECT user_id, id, 'thing' AS what FROM thing UNION ALL SELECT user_id::int, id, 'item' FROM item",
        ),
        view(
            "of_one_key",
            Sharded,
            None,
            &[("user_id", Int), ("id", Int)],
            "SELECT user_id, id FROM thing UNION SELECT user_id, id FROM ledger",
        ),
        view(
            "matched",
            Whole,
            None,
            &[("user_id", Int), ("id", Int), ("other", Int)],
            "SELECT t.user_id, t.id, i.id AS other FROM thing t FULL JOIN item i ON i.thing_id = t.id",
        ),
        view(
            "ranked",
            Whole,
            ID,
            &[("user_id", Big), ("id", Int), ("qty", Int), ("place", Big)],
            "SELECT user_id, id, qty, row_number() OVER (PARTITION BY qty ORDER BY id) AS place FROM item",
        ),
        view(
            "ranked_at_home",
            Sharded,
            ID,
            &[("user_id", Int), ("id", Int), ("place", Big)],
            "SELECT user_id, id, rank() OVER (PARTITION BY user_id ORDER BY id DESC) AS place FROM thing",
        ),
        view(
            "first_seven",
            Whole,
            ID,
            &[("user_id", Int), ("id", Int), ("c", TextC)],
            "SELECT user_id, id, c FROM thing ORDER BY id LIMIT 7",
        ),
        view(
            "nested",
            Whole,
            ID,
            &[("user_id", Big), ("id", Int), ("many", Big)],
            "SELECT r.user_id, r.id, q.many FROM ranked r JOIN per_qty q ON q.k = r.qty",
        ),
        view(
            "days",
            Whole,
            None,
            &[("day", Date), ("many", Big)],
            "WITH w AS (SELECT day, id FROM ledger WHERE amount > 0) SELECT day, count(*) AS many FROM w \
             GROUP BY ROLLUP (day)",
        ),
        view(
            "latest",
            Sharded,
            ID,
            &[("user_id", Int), ("id", Int), ("day", Date)],
            "SELECT DISTINCT ON (user_id) user_id, id, day FROM ledger ORDER BY user_id, id DESC",
        ),
        View {
            stored: true,
            ..view(
                "kept",
                Sharded,
                ID,
                &[("user_id", Big), ("id", Int), ("qty", Int), ("note", Text)],
                "SELECT user_id, id, qty, note FROM item WHERE qty > 1",
            )
        },
        View {
            stored: true,
            ..view(
                "kept_labels",
                Reference,
                ID,
                &[("id", Int), ("label", Text)],
                "SELECT id, label FROM label WHERE id < 5",
            )
        },
    ]
};

/// As statements see them.
pub fn tables() -> impl Iterator<Item = Table> {
    VIEWS.iter().map(|view| Table {
        name: view.name,
        kind: view.kind,
        unique: view.unique,
        columns: view.columns.to_vec(),
    })
}

/// CREATE statements, behind those of tables and their rows.
pub fn definitions() -> String {
    let create = |view: &View| {
        let stored = if view.stored { "MATERIALIZED " } else { "" };
        format!("CREATE {stored}VIEW {} AS {};\n", view.name, view.query)
    };
    VIEWS.iter().map(create).collect()
}
