//! What no shard can answer by itself: run by one of them on the rows of all, with the answer of one Postgres.

use shardway_tests::Param;

use super::world::{Pair, SALES_WORLD};

async fn same(statements: &[&str]) {
    let mut pair = Pair::of(&SALES_WORLD).await;
    for sql in statements {
        pair.same(sql).await;
    }
}

#[tokio::test]
async fn joins_off_the_key_are_answered() {
    same(&[
        "SELECT count(*) FROM sale s JOIN item i ON i.sale_id = s.id",
        "SELECT s.id, i.qty FROM sale s JOIN item i ON i.sale_id = s.id ORDER BY s.id, i.qty",
        "SELECT s.*, i.note FROM sale s JOIN item i ON i.sale_id = s.id WHERE s.a > 0 AND i.qty = 2",
        "SELECT a.id, b.id FROM sale a, sale b WHERE a.id = b.id + 1 AND a.b AND b.c = 'a'",
        "SELECT sale.id FROM sale, item WHERE sale.id = item.sale_id AND item.note = 'note 1'",
        "SELECT public.sale.id, i.* FROM public.sale JOIN public.item i ON i.sale_id = public.sale.id",
        "SELECT count(*) FROM sale NATURAL JOIN item",
        "SELECT x.b, count(*) FROM item AS x (a, b, c, d) JOIN sale ON sale.id = x.b WHERE x.c > 2 GROUP BY 1",
        "SELECT l.one, x.k FROM label l (one, two) LEFT JOIN sale x (k) ON x.id = l.one",
        "SELECT x.id, y.id FROM sale x JOIN sale y USING (a, s) WHERE x.user_id < 9 AND y.user_id > 70",
        "SELECT l.label, count(*) FROM label l JOIN item i ON i.qty = l.id JOIN sale s ON s.id = i.sale_id GROUP BY 1",
    ])
    .await;
}

#[tokio::test]
async fn outer_joins_keep_what_they_keep_in_one_database() {
    same(&[
        "SELECT l.id, s.id FROM label l LEFT JOIN sale s ON s.a = l.id AND s.b",
        "SELECT l.id, s.id FROM sale s RIGHT JOIN label l ON s.a = l.id AND s.s = 1",
        "SELECT s.id, i.qty FROM sale s FULL JOIN item i ON i.sale_id = s.id AND i.qty > 2",
        "SELECT s.id FROM sale s LEFT JOIN item i ON i.sale_id = s.id WHERE i.sale_id IS NULL",
        "SELECT s.id FROM sale s LEFT JOIN item i ON i.sale_id = s.id AND i.qty = 1 WHERE i.qty IS NULL AND s.a = 1",
        "SELECT i.qty, s.id FROM item i LEFT JOIN sale s ON s.id = i.sale_id AND s.a = 2 ORDER BY 1, 2 NULLS FIRST",
        "SELECT count(*), count(s.id), count(i.qty) FROM (sale s LEFT JOIN item i ON i.sale_id = s.id) JOIN label l ON l.id = s.a",
        "SELECT count(*) FROM item i RIGHT JOIN sale s ON i.sale_id = s.id WHERE s.user_id = 7",
        "SELECT count(*) FROM label l LEFT JOIN sale s ON s.user_id = 5 AND l.id = s.a",
        "SELECT l.id, s.id FROM label l LEFT JOIN sale s ON s.a = l.id WHERE s.a = 2 OR s.id IS NULL",
    ])
    .await;
}

#[tokio::test]
async fn subqueries_are_answered_wherever_they_stand() {
    same(&[
        "SELECT count(*) FROM (SELECT a FROM sale) x",
        "SELECT count(*) FROM sale WHERE a = (SELECT max(qty) FROM item)",
        "SELECT id, (SELECT count(*) FROM item i WHERE i.sale_id = s.id) FROM sale s ORDER BY id",
        "SELECT id FROM sale s WHERE EXISTS (SELECT * FROM item i WHERE i.sale_id = s.id AND i.qty > 2)",
        "SELECT id FROM sale s WHERE NOT EXISTS (SELECT 1 FROM item i WHERE i.sale_id = s.id)",
        "SELECT id FROM sale WHERE id IN (SELECT sale_id FROM item WHERE qty = 3)",
        "SELECT id FROM sale WHERE id NOT IN (SELECT sale_id FROM item WHERE qty < 3) AND a IS NOT NULL",
        "SELECT id FROM sale WHERE a > ALL (SELECT qty FROM item)",
        "SELECT id, t FROM sale WHERE (a, s) IN (SELECT a, s FROM sale GROUP BY a, s HAVING count(*) > 2)",
        "SELECT s.id, x.n FROM sale s, LATERAL (SELECT count(*) AS n FROM item i WHERE i.sale_id = s.id) x WHERE x.n > 1",
        "SELECT l.label, (SELECT sum(price) FROM sale WHERE a = l.id) FROM label l ORDER BY l.id",
        "SELECT b, count(*) FROM sale GROUP BY b HAVING count(*) > (SELECT avg(qty) FROM item) ORDER BY b",
        "SELECT id FROM sale ORDER BY (SELECT count(*) FROM item i WHERE i.sale_id = sale.id), id LIMIT 9",
        "SELECT id FROM sale ORDER BY id LIMIT (SELECT max(qty) FROM item)",
        "SELECT ARRAY(SELECT id FROM sale WHERE a = 1 ORDER BY id)",
        "SELECT CASE WHEN EXISTS (SELECT FROM sale WHERE a = 3) THEN 1 ELSE 2 END",
        "SELECT coalesce((SELECT max(s) FROM sale), 0) + (SELECT count(*) FROM item)",
    ])
    .await;
}

#[tokio::test]
async fn windows_see_the_rows_of_all_shards() {
    same(&[
        "SELECT id, count(*) OVER () FROM sale",
        "SELECT id, row_number() OVER (ORDER BY id), lag(id) OVER (ORDER BY id) FROM sale ORDER BY id",
        "SELECT id, rank() OVER w, sum(price) OVER w FROM sale WINDOW w AS (PARTITION BY b ORDER BY a) ORDER BY id",
        "SELECT user_id, id, first_value(id) OVER (PARTITION BY user_id ORDER BY id DESC) FROM sale",
        "SELECT * FROM (SELECT id, ntile(4) OVER (ORDER BY id) AS q FROM sale) x WHERE q = 2 ORDER BY id",
        "SELECT b, count(*), rank() OVER (ORDER BY count(*)) FROM sale GROUP BY b",
        "SELECT id, avg(price) OVER (ORDER BY id ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) FROM sale",
    ])
    .await;
}

#[tokio::test]
async fn set_operations_are_made_over_all_shards() {
    same(&[
        "SELECT count(*) FROM sale UNION ALL SELECT count(*) FROM item",
        "SELECT a FROM sale UNION SELECT qty FROM item",
        "SELECT a FROM sale INTERSECT SELECT qty FROM item",
        "SELECT a FROM sale EXCEPT ALL SELECT qty FROM item",
        "(SELECT id FROM sale ORDER BY id LIMIT 3) UNION ALL (SELECT qty FROM item ORDER BY qty LIMIT 2) ORDER BY 1",
        "SELECT 1 UNION SELECT a FROM sale WHERE user_id = 3",
        "SELECT label FROM label UNION SELECT c FROM sale ORDER BY 1",
    ])
    .await;
}

#[tokio::test]
async fn common_table_expressions_are_answered() {
    same(&[
        "WITH x AS (SELECT 1) SELECT count(*) FROM sale",
        "WITH x AS (SELECT user_id, sum(price) AS p FROM sale GROUP BY user_id) SELECT max(p), min(p) FROM x",
        "WITH x AS MATERIALIZED (SELECT * FROM sale WHERE a = 1) SELECT count(*) FROM x JOIN item USING (user_id)",
        "WITH sale AS (SELECT qty AS id FROM item) SELECT id FROM sale ORDER BY 1",
        "WITH a AS (SELECT id FROM sale), b AS (SELECT id FROM a WHERE id > 5) SELECT count(*) FROM a, b WHERE a.id = b.id",
        "WITH RECURSIVE r AS (SELECT id FROM sale WHERE id = 0 UNION ALL SELECT s.id FROM sale s JOIN r ON s.id = r.id + 3) SELECT * FROM r ORDER BY id",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT i, (SELECT count(*) FROM sale WHERE a = i) FROM n",
    ])
    .await;
}

#[tokio::test]
async fn aggregates_of_every_kind_are_answered() {
    same(&[
        "SELECT sum(f4) FROM sale WHERE f4 = 1.5",
        "SELECT sum(iv), 1 FROM sale",
        "SELECT num, count(*) FROM sale GROUP BY num",
        "SELECT count(*), count(iv) FROM sale GROUP BY iv",
        "SELECT ch FROM sale GROUP BY ch",
        "SELECT DISTINCT price FROM sale",
        "SELECT max(t), min(t), max(e), min(e), max(ch), max(s + 1) FROM sale",
        "SELECT max(c COLLATE \"en-x-icu\") FROM sale",
        "SELECT count(DISTINCT a), sum(DISTINCT a), count(DISTINCT (b, e)) FROM sale",
        "SELECT string_agg(t, ',' ORDER BY t, id) FROM sale",
        "SELECT array_agg(a ORDER BY id), json_agg(a ORDER BY id), jsonb_object_agg(id, c ORDER BY id) FROM sale",
        "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY a), mode() WITHIN GROUP (ORDER BY c) FROM sale",
        "SELECT percentile_disc(0.25) WITHIN GROUP (ORDER BY price), rank(3) WITHIN GROUP (ORDER BY a) FROM sale",
        "SELECT b, count(*) FROM sale GROUP BY b HAVING count(*) > 3",
        "SELECT b, e, count(*), grouping(b, e) FROM sale GROUP BY ROLLUP (b, e)",
        "SELECT b, e, count(*) FROM sale GROUP BY GROUPING SETS ((b), (e), ())",
        "SELECT b, e, count(*) FROM sale GROUP BY CUBE (b, e)",
        "SELECT a % 2, count(*) FROM sale GROUP BY a % 2",
        "SELECT a % 2 AS odd, count(*) FROM sale GROUP BY odd",
        "SELECT coalesce(sum(a), 0), sum(a) / count(*), count(*) + 1, count(*)::int FROM sale",
        "SELECT (SELECT 1), count(*) FROM sale",
        "SELECT a, t, count(*) FROM sale GROUP BY a, t ORDER BY t, a",
        "SELECT *, count(*) FROM sale GROUP BY user_id, id",
        "SELECT s.id, s.t, count(i.qty) FROM sale s LEFT JOIN item i USING (user_id) GROUP BY s.user_id, s.id",
        "SELECT DISTINCT * FROM item",
        "SELECT DISTINCT e, t, b FROM sale WHERE a > 0 ORDER BY t, e LIMIT 4",
        "SELECT count(DISTINCT t), max(e), bool_or(b) FILTER (WHERE s > 0), array_agg(DISTINCT c ORDER BY c) FROM sale",
        "SELECT t, min(e), count(DISTINCT u) FROM sale WHERE s IS NOT NULL GROUP BY t HAVING max(a) > 1 ORDER BY t",
        "SELECT count(DISTINCT num::text), count(DISTINCT f::text), count(DISTINCT num) FROM sale",
        "SELECT DISTINCT b, count(*) FROM sale GROUP BY b",
        "SELECT DISTINCT ON (b) b, a, id FROM sale ORDER BY b, a, id",
        "SELECT t, count(*) FROM sale GROUP BY t ORDER BY t",
        "SELECT e, count(*) FROM sale GROUP BY e ORDER BY e",
        "SELECT s, count(*) FROM sale GROUP BY s ORDER BY s + 1",
        "SELECT stddev(a), variance(s), regr_count(a, s) FROM sale WHERE a BETWEEN -10 AND 10",
        "SELECT count(*) FILTER (WHERE tz < now()) FROM sale",
    ])
    .await;
}

#[tokio::test]
async fn orders_that_only_postgres_knows_are_answered() {
    same(&[
        "SELECT id, t FROM sale ORDER BY t, id",
        "SELECT id FROM sale ORDER BY t COLLATE \"C\" DESC NULLS LAST, id LIMIT 5 OFFSET 2",
        "SELECT id, e FROM sale ORDER BY e USING >, id",
        "SELECT id FROM sale ORDER BY s + 1, id",
        "SELECT id, iv FROM sale ORDER BY iv, id FETCH FIRST 3 ROWS ONLY",
        "SELECT a FROM sale ORDER BY a FETCH FIRST 3 ROWS WITH TIES",
        "SELECT id, sale.t FROM public.sale WHERE s > 0 ORDER BY sale.t DESC, id -- the first\n LIMIT 9 OFFSET 3",
        "SELECT user_id AS t FROM sale WHERE a IS NULL OR b ORDER BY lower(t), id LIMIT 30",
        "SELECT id FROM sale ORDER BY abs(a % 7), id LIMIT 1 + 2",
        "SELECT s, row_to_json(sale) FROM sale ORDER BY id",
        "SELECT item FROM item ORDER BY note, sale_id, qty",
    ])
    .await;
}

#[tokio::test]
async fn parameters_are_bound_where_the_statement_runs() {
    let mut pair = Pair::of(&SALES_WORLD).await;
    for n in ["0", "2", "-5"] {
        let bound = [Param::Text(n)];
        pair.same_with("SELECT s.id FROM sale s JOIN item i ON i.sale_id = s.id WHERE s.a > $1", &bound)
            .await;
        pair.same_with("SELECT id FROM sale s WHERE a > $1 AND EXISTS (SELECT FROM item WHERE sale_id = s.id AND qty > $1)", &bound).await;
        pair.same_with("SELECT b, count(*) FROM sale WHERE id > $1 GROUP BY b HAVING count(*) > $1", &bound)
            .await;
        pair.same_with("SELECT $1::text || t FROM sale WHERE id < 9 ORDER BY t, id", &bound).await;
        pair.same_with("SELECT count(DISTINCT a) FROM sale WHERE user_id IN ($1, 7, 9)", &bound).await;
    }
    for (limit, offset) in [("5", "0"), ("3", "40"), ("0", "1"), ("1000", "3"), ("-1", "0")] {
        pair.same_with(
            "SELECT id, t FROM sale WHERE id > $3 ORDER BY abs(s - $4::int), t COLLATE \"de-x-icu\", id LIMIT $1 OFFSET $2",
            &[Param::Text(limit), Param::Text(offset), Param::Text("7"), Param::Text("3")],
        )
        .await;
    }
    let four = 4i32.to_be_bytes();
    pair.same_with("SELECT id, t FROM sale WHERE id > $1 ORDER BY t, id", &[Param::Binary(&four)]).await;
    pair.same_with("SELECT count(DISTINCT a) FROM sale WHERE user_id = ANY($1)", &[Param::Text("{1,5,9}")])
        .await;
    pair.same_with("SELECT count(DISTINCT a) FROM sale WHERE e = $1", &[Param::Text("ok")]).await;
    pair.same_with("SELECT count(DISTINCT a) FROM sale WHERE a = $1", &[Param::Text("no number")]).await;
    pair.same_with("SELECT count(DISTINCT a) FROM sale WHERE a = $1", &[Param::Null]).await;
    pair.same_with(
        "SELECT 1 / (count(DISTINCT a) - count(DISTINCT a)) FROM sale WHERE a <> $1",
        &[Param::Text("1")],
    )
    .await;
}

#[tokio::test]
async fn parentheses_do_not_make_an_expression_of_what_rows_are_ordered_by() {
    same(&[
        "SELECT -id AS id FROM sale ORDER BY (id) LIMIT 1",
        "SELECT -id AS x, t FROM sale ORDER BY (1) LIMIT 1",
        "SELECT -id AS x, t FROM sale ORDER BY ((x)) LIMIT 2",
    ])
    .await;
}

#[tokio::test]
async fn a_schema_that_tells_two_relations_of_one_name_apart_is_not_cut_off() {
    let mut pair = Pair::of(&SALES_WORLD).await;
    let sql = "SELECT count(DISTINCT t) FROM public.sale \
               WHERE EXISTS (SELECT 1 FROM item AS sale WHERE sale.sale_id = public.sale.id)";
    pair.refused(sql).await;
}

#[tokio::test]
async fn functions_that_read_what_a_string_tells_them_are_refused() {
    let mut pair = Pair::of(&SALES_WORLD).await;
    for sql in [
        "SELECT query_to_xml('SELECT count(*) FROM sale', true, false, '')",
        "SELECT table_to_xml('sale', true, false, '')",
        "SELECT * FROM ts_stat('SELECT t::tsvector FROM sale')",
        "SELECT id, query_to_xml('SELECT count(*) FROM item', true, false, '') FROM sale WHERE user_id = 5",
        "SELECT s.count FROM sale s",
        "SELECT DISTINCT (s).count FROM sale s",
        "SELECT s.to_jsonb FROM sale s JOIN item i ON i.sale_id = s.id",
    ] {
        pair.refused(sql).await;
    }
}
