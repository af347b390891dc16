//! What planners fall over, written by hand: names that are words of SQL or several columns', ORDER BY and GROUP BY that mean
//! outputs or columns, whole rows, empty inputs, types that meet. Each over one, two and five shards, in every way of asking.

use std::collections::BTreeMap;

use super::PROXY;
use super::ask::Verdict;
use super::statement::{Order, Statement};
use super::ways::{WAYS, Way};
use super::world::pair;

/// All are answered as by one Postgres. Where there is an ORDER BY at the end, it is a whole one.
pub async fn same(statements: &[&str]) {
    same_in(statements, false).await;
}

/// `textual` are statements that show values with object ids in their binary form.
async fn same_in(statements: &[&str], textual: bool) {
    let mut failed = BTreeMap::new();
    for shards in [1, 2, 5] {
        let mut pair = pair(PROXY.port(), shards).await;
        for sql in statements {
            let mut statement = Statement::written_by_hand(sql);
            statement.textual = textual;
            statement.order = if is_ordered(sql) { Order::Whole } else { Order::Any };
            for way in WAYS {
                let how = match pair.ask(&statement, way).await {
                    Verdict::Same(_) | Verdict::Wrong(_) => continue,
                    // There is nothing that a table for its rows could be made of.
                    Verdict::Refused(how) if way == Way::Cursor && how.ends_with("it has no columns") => {
                        continue;
                    }
                    Verdict::Slow => "it takes too long".to_owned(),
                    Verdict::Refused(how) | Verdict::Differs(how) => how,
                };
                failed.entry(*sql).or_insert_with(|| format!("{sql}\n{shards} shards, {way:?}: {how}"));
            }
        }
    }
    let failed: Vec<String> = failed.into_values().collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Whether there is an ORDER BY outside of all parentheses.
fn is_ordered(sql: &str) -> bool {
    let mut depth = 0;
    sql.char_indices().any(|(at, c)| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        depth == 0 && sql[at..].starts_with("ORDER BY")
    })
}

#[tokio::test]
async fn an_output_name_comes_before_a_column_in_order_by_and_behind_it_in_group_by() {
    same(&[
        "SELECT -id AS id FROM thing ORDER BY id LIMIT 3",
        "SELECT -id AS id FROM thing ORDER BY thing.id LIMIT 3",
        "SELECT -id AS id FROM thing ORDER BY id + 0 LIMIT 3",
        "SELECT -id AS id FROM thing ORDER BY -id LIMIT 3",
        "SELECT -id AS \"ID\", id FROM thing ORDER BY \"ID\" LIMIT 3",
        "SELECT id AS a, a AS id FROM thing ORDER BY id NULLS FIRST, a LIMIT 7",
        "SELECT id, id FROM thing ORDER BY id LIMIT 3",
        "SELECT id, -id AS id FROM thing ORDER BY id LIMIT 3",
        "SELECT x.id, y.id FROM thing x JOIN thing y USING (user_id) ORDER BY x.id, y.id LIMIT 9",
        "SELECT a % 2 AS s, count(*) FROM thing GROUP BY s",
        "SELECT a % 2 AS odd, count(*) FROM thing GROUP BY odd ORDER BY odd",
        "SELECT count(*) AS a FROM thing GROUP BY a ORDER BY a",
        "SELECT count(*) AS a, a AS n FROM thing GROUP BY a ORDER BY a, n",
        "SELECT b AS user_id, count(*) FROM thing GROUP BY user_id",
        "SELECT b AS user_id, count(*) FROM thing GROUP BY 1 ORDER BY user_id",
        "SELECT max(a) AS max, min(a) FROM thing GROUP BY b ORDER BY max, min",
        "SELECT user_id AS id FROM thing WHERE id = 5",
        "SELECT 5 AS user_id, id FROM thing WHERE user_id = 7 ORDER BY user_id, id",
        "SELECT id AS user_id FROM thing WHERE user_id IN (3, 9) ORDER BY user_id",
        "SELECT DISTINCT a AS s FROM thing ORDER BY s",
        "SELECT DISTINCT s AS a, a AS s FROM thing ORDER BY a, 2",
    ])
    .await;
}

#[tokio::test]
async fn names_that_are_words_of_sql_are_columns() {
    same(&[
        "SELECT \"limit\", \"from\" FROM \"Odd\" ORDER BY \"limit\", \"from\", id LIMIT 9",
        "SELECT o.limit, o.from FROM \"Odd\" o ORDER BY o.limit, o.from, o.id",
        "SELECT o.from FROM \"Odd\" o WHERE o.limit = 2 ORDER BY o.limit DESC, o.id LIMIT 3",
        "SELECT id AS from FROM \"Odd\" ORDER BY id",
        "SELECT id AS limit, id AS order FROM \"Odd\" ORDER BY id LIMIT 4",
        "SELECT id AS select, count(*) AS from FROM thing GROUP BY 1 ORDER BY 1 LIMIT 4",
        "SELECT count(*) AS from, sum(a) AS limit FROM thing",
        "SELECT o.order, count(*) FROM \"Odd\" o GROUP BY o.order",
        "SELECT count, max FROM \"Odd\" ORDER BY count, max, id",
        "SELECT count(count), max(max), max(\"Odd\".count) FROM \"Odd\"",
        "SELECT count, count(*) FROM \"Odd\" GROUP BY count ORDER BY count",
        "SELECT max, max(count) FROM \"Odd\" GROUP BY max",
        "SELECT \"a b\", \"q\"\"q\" FROM \"Odd\" WHERE \"q\"\"q\" ORDER BY \"Owner Id\", id",
        "SELECT \"q\"\"q\", sum(\"a b\") FROM \"Odd\" WHERE \"a b\" < 100 GROUP BY \"q\"\"q\"",
        "SELECT value, sum(value) FROM \"Odd\" GROUP BY value ORDER BY value",
        "SELECT \"Odd\".* FROM \"Odd\" WHERE \"Owner Id\" = 'ann' ORDER BY id",
        "SELECT \"Owner Id\" FROM \"Odd\" WHERE \"Owner Id\" IN ('ann', 'Bob', 'o''c') ORDER BY \"Owner Id\", id",
        "SELECT \"Owner Id\" FROM \"Odd\" WHERE \"Owner Id\" = U&'\\00e7an'",
        "SELECT \"Owner Id\" FROM \"Odd\" WHERE \"Owner Id\" = $$x y$$",
        "SELECT max(\"Owner Id\"), min(\"Owner Id\") FROM \"Odd\"",
        "SELECT (SELECT max(count) FROM \"Odd\" x WHERE x.\"limit\" = \"Odd\".\"limit\") FROM \"Odd\"",
        "SELECT \"X\".\"from\" FROM \"Odd\" \"X\" JOIN item i ON i.qty = \"X\".\"limit\"",
        "SELECT 1 AS \"shardway hidden 1\", id FROM thing ORDER BY a, id",
        "SELECT id \"order by\" FROM thing ORDER BY a, id LIMIT 2",
    ])
    .await;
}

#[tokio::test]
async fn clauses_are_told_apart_from_what_looks_like_them() {
    same(&[
        "SELECT a IS DISTINCT FROM s, id FROM thing ORDER BY id",
        "SELECT a IS NOT DISTINCT FROM 1, count(*) FROM thing GROUP BY a IS NOT DISTINCT FROM 1",
        "SELECT substring(t FROM 2), id FROM thing ORDER BY id LIMIT 5",
        "SELECT extract(year FROM ts), id FROM thing ORDER BY a, id LIMIT 5 OFFSET 2",
        "SELECT trim(both FROM t), id FROM thing ORDER BY a, id OFFSET 40",
        "SELECT overlay(c PLACING 'x' FROM 1 FOR 1), id FROM thing ORDER BY s, id LIMIT 5",
        "SELECT position('a' IN t), id FROM thing ORDER BY id",
        "SELECT id /* FROM x ORDER BY y */ FROM thing -- LIMIT 1\nORDER BY a, id -- LIMIT 2\n LIMIT 3",
        "SELECT 'from' AS f, id FROM thing ORDER BY a, id LIMIT 2",
        "SELECT $x$ FROM thing ORDER BY 1 $x$ AS f, id FROM thing ORDER BY a, id LIMIT 2",
        "SELECT id FROM thing ORDER BY a, id LIMIT 3;",
        "SELECT count(*) FROM thing;",
        "SELECT id FROM thing ORDER BY id OFFSET 3 LIMIT 2",
        "SELECT id FROM thing ORDER BY id LIMIT ALL OFFSET 40",
        "SELECT id FROM thing ORDER BY id LIMIT NULL OFFSET NULL",
        "SELECT id FROM thing ORDER BY id LIMIT 0",
        "SELECT id FROM thing ORDER BY id LIMIT 3 OFFSET 999",
        "SELECT id FROM thing ORDER BY id OFFSET 3 ROWS FETCH NEXT 2 ROWS ONLY",
        "SELECT id FROM thing ORDER BY id FETCH FIRST ROW ONLY",
        "SELECT id FROM thing ORDER BY id LIMIT (1 + 1)",
        "SELECT id FROM thing ORDER BY id LIMIT (SELECT count(*) FROM label)",
        "SELECT count(*) FROM thing LIMIT 0",
        "SELECT count(*) FROM thing OFFSET 1",
        "SELECT a, count(*) FROM thing GROUP BY a ORDER BY a LIMIT 2 OFFSET 1",
        "(SELECT id FROM thing ORDER BY id LIMIT 2)",
        "(SELECT id FROM thing) ORDER BY id LIMIT 2",
        "TABLE label",
        "TABLE item ORDER BY id LIMIT 3",
        "VALUES (1), (2)",
        "VALUES ((SELECT count(*) FROM thing), 'x')",
        "SELECT * FROM (VALUES (1, 'a'), (2, 'b')) v (n, w) JOIN item ON n = qty",
        "SELECT ALL id FROM thing ORDER BY id LIMIT 2",
        "SELECT FROM thing",
        "SELECT FROM thing LIMIT 3",
    ])
    .await;
}

#[tokio::test]
async fn empty_inputs_give_what_they_give_in_one_database() {
    same(&[
        "SELECT count(*), sum(n), avg(n), max(t), bool_and(n > 1), array_agg(n), string_agg(t, ',') FROM nothing",
        "SELECT count(*) FROM nothing GROUP BY n",
        "SELECT n, count(*) FROM nothing GROUP BY n HAVING count(*) = 0",
        "SELECT 1 FROM nothing HAVING true",
        "SELECT 1 FROM thing HAVING count(*) > 3",
        "SELECT 1 FROM thing HAVING false",
        "SELECT count(*) FROM nothing HAVING count(*) > 0",
        "SELECT count(*), 'x' FROM nothing",
        "SELECT count(*) FROM nothing GROUP BY ()",
        "SELECT n, count(*) FROM nothing GROUP BY ROLLUP (n)",
        "SELECT n, t, count(*) FROM nothing GROUP BY GROUPING SETS ((n), (t), ())",
        "SELECT count(*) FROM thing WHERE false",
        "SELECT max(a) FROM thing WHERE user_id = 3 AND user_id = 4",
        "SELECT count(*) FROM thing WHERE user_id = NULL",
        "SELECT count(*) FROM thing WHERE user_id IN (NULL)",
        "SELECT count(*) FROM thing WHERE user_id NOT IN (3, NULL)",
        "SELECT count(*), max(a) FROM thing WHERE user_id = 3 AND false",
        "SELECT sum(a) FROM thing WHERE user_id IN (3, 9) AND a > 9999999",
        "SELECT DISTINCT n FROM nothing",
        "SELECT * FROM nothing ORDER BY n LIMIT 1",
        "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY n), mode() WITHIN GROUP (ORDER BY t) FROM nothing",
        "SELECT EXISTS (SELECT 1 FROM nothing), NOT EXISTS (SELECT 1 FROM thing)",
        "SELECT id FROM thing WHERE id NOT IN (SELECT n FROM nothing) ORDER BY id",
        "SELECT id FROM thing WHERE a > ALL (SELECT n FROM nothing) ORDER BY id",
        "SELECT n.n, thing.id FROM nothing n RIGHT JOIN thing USING (user_id) ORDER BY thing.id",
        "SELECT count(n.*), count(n), count(*) FROM thing LEFT JOIN nothing n USING (user_id)",
    ])
    .await;
}

#[tokio::test]
async fn whole_rows_are_whole() {
    same_in(
        &[
            "SELECT label FROM label ORDER BY id",
            "SELECT l FROM label l ORDER BY l.id",
            "SELECT count(item), count(item.*), count(DISTINCT item) FROM item",
            "SELECT count(ledger.*) FROM ledger",
            "SELECT i::text FROM item i ORDER BY id",
            "SELECT row_to_json(i) FROM item i ORDER BY id",
            "SELECT to_jsonb(x) - 'made' FROM item x ORDER BY id LIMIT 4",
            "SELECT (l).label, (l).e FROM label l ORDER BY (l).id",
            "SELECT x.* FROM (SELECT * FROM item) x ORDER BY id",
            "SELECT i.*, i.* FROM item i ORDER BY i.id LIMIT 3",
            "SELECT *, * FROM label ORDER BY label.id",
            "SELECT item.*, label.* FROM item, label WHERE label.id = item.qty ORDER BY item.id",
            "SELECT * FROM item NATURAL JOIN ledger",
            "SELECT * FROM item JOIN ledger USING (user_id, id)",
            "SELECT * FROM label a FULL JOIN label b ON a.id = b.parent",
            "SELECT i IS NULL, i IS NOT NULL FROM item i ORDER BY i.id",
            "SELECT ROW(i.qty, i.id) FROM item i ORDER BY i.id",
            "SELECT ROW(i.*) = ROW(j.*) FROM item i JOIN item j ON i.id = j.id",
            "SELECT max(id) FROM item i GROUP BY i.*",
            "SELECT DISTINCT l FROM label l",
            "SELECT * FROM thing WHERE user_id = 3 ORDER BY id",
        ],
        true,
    )
    .await;
}

#[tokio::test]
async fn keys_are_compared_as_their_types_are() {
    same(&[
        "SELECT id FROM thing WHERE user_id = 7::int8",
        "SELECT id FROM thing WHERE user_id = 7::int2",
        "SELECT id FROM thing WHERE user_id = 7.0",
        "SELECT id FROM thing WHERE user_id = 7.5",
        "SELECT id FROM thing WHERE user_id = '7'",
        "SELECT id FROM thing WHERE user_id = ' 07 '",
        "SELECT id FROM thing WHERE user_id = '7'::int",
        "SELECT id FROM thing WHERE user_id = 7e0",
        "SELECT id FROM thing WHERE user_id = 3000000000",
        "SELECT id FROM thing WHERE user_id = -7",
        "SELECT id FROM thing WHERE user_id::text = '7'",
        "SELECT id FROM thing WHERE user_id::numeric = 7",
        "SELECT id FROM thing WHERE user_id = 3 + 4",
        "SELECT id FROM thing WHERE user_id = abs(-7)",
        "SELECT id FROM thing WHERE user_id + 1 = 8",
        "SELECT id FROM thing WHERE user_id IN (7, 3 + 5, id)",
        "SELECT id FROM thing WHERE user_id IN (VALUES (3), (7))",
        "SELECT id FROM thing WHERE user_id IN (SELECT 7)",
        "SELECT id FROM thing WHERE user_id = (SELECT 7)",
        "SELECT id FROM thing WHERE user_id = (SELECT max(user_id) FROM thing)",
        "SELECT id FROM thing WHERE user_id = ANY (ARRAY[3, 7])",
        "SELECT id FROM thing WHERE user_id = ANY ('{3,7,NULL}')",
        "SELECT id FROM thing WHERE user_id = ANY (ARRAY(SELECT user_id FROM item WHERE qty = 2))",
        "SELECT id FROM thing WHERE user_id = ALL (ARRAY[7, 7])",
        "SELECT id FROM thing WHERE (user_id, id) IN ((3, 4), (7, 12))",
        "SELECT id FROM thing WHERE (user_id, id) = (3, 4)",
        "SELECT id FROM thing WHERE ROW(user_id, id) < ROW(3, 5)",
        "SELECT id FROM thing WHERE user_id BETWEEN 7 AND 7",
        "SELECT id FROM thing WHERE ip <<= inet '10.0.0.0/8' AND user_id IN (3, 7)",
        "SELECT id FROM thing WHERE NOT (user_id <> 7)",
        "SELECT id FROM thing WHERE NOT (user_id = 7)",
        "SELECT id FROM thing WHERE user_id = 7 IS NOT FALSE",
        "SELECT id FROM thing WHERE (user_id = 7) = true",
        "SELECT id FROM thing WHERE user_id = 7 OR user_id = 9 AND a = 1",
        "SELECT id FROM thing WHERE CASE WHEN user_id = 7 THEN true ELSE a = 1 END",
        "SELECT id FROM thing WHERE coalesce(user_id = 7, true)",
        "SELECT id FROM thing WHERE user_id = 7 AND (a = 1 OR user_id = 9 OR true)",
        "SELECT count(*) FILTER (WHERE user_id = 7), count(*) FROM thing",
        "SELECT sum(CASE WHEN user_id = 7 THEN 1 ELSE 0 END) FROM thing",
        "SELECT id FROM thing WHERE user_id = 7 UNION SELECT id FROM item WHERE user_id = 9",
        "SELECT t.id, i.id FROM thing t JOIN item i ON i.user_id = t.user_id WHERE i.user_id = 6",
        "SELECT t.id, i.id FROM thing t LEFT JOIN item i ON i.user_id = t.user_id AND t.user_id = 6",
        "SELECT t.id, i.id FROM thing t LEFT JOIN item i ON i.user_id = t.user_id AND i.user_id = 6",
        "SELECT t.id, i.id FROM thing t LEFT JOIN item i ON i.user_id = t.user_id WHERE i.user_id = 6",
        "SELECT t.id, i.id FROM thing t LEFT JOIN item i ON i.user_id = 6",
        "SELECT t.id, i.id FROM thing t RIGHT JOIN item i ON i.user_id = t.user_id AND t.user_id = 6",
        "SELECT t.id, i.id FROM thing t FULL JOIN item i ON i.user_id = t.user_id AND i.qty = 2",
        "SELECT t.id, o.id FROM thing t JOIN \"Odd\" o ON o.\"Owner Id\" = t.user_id::text",
        "SELECT t.id, o.id FROM \"Odd\" o LEFT JOIN thing t ON t.user_id::text = o.\"Owner Id\"",
        "SELECT t.id, s.id FROM spot s LEFT JOIN thing t ON t.user_id = s.user_id",
        "SELECT t.id, s.id FROM spot s LEFT JOIN thing t ON t.user_id = s.user_id WHERE t.user_id = 5 OR t.user_id IS NULL",
        "SELECT t.id FROM thing t WHERE user_id IN (SELECT user_id FROM item i WHERE i.qty = 2 AND i.user_id = 6)",
        "SELECT t.id FROM thing t WHERE EXISTS (SELECT FROM item i WHERE i.user_id = t.user_id AND t.user_id = 6)",
        "SELECT t.id, (SELECT count(*) FROM item i WHERE i.user_id = 6) FROM thing t WHERE t.user_id = 7",
        "SELECT x.id FROM (SELECT * FROM thing WHERE user_id = 7 OR a = 1) x WHERE x.user_id = 9",
        "SELECT id FROM (SELECT id, user_id AS other, a AS user_id FROM thing) x WHERE user_id = 1",
        "WITH w AS (SELECT * FROM thing WHERE user_id = 7) SELECT count(*) FROM w, item",
        "SELECT count(*) FROM thing a, thing b WHERE a.user_id = 7 AND b.id = a.id + 1",
        "SELECT id FROM thing WHERE user_id = 'x'",
        "SELECT id FROM thing WHERE user_id = ''",
    ])
    .await;
}

#[tokio::test]
async fn types_of_results_are_those_of_one_postgres() {
    same_in(&[
        "SELECT sum(a), sum(s), sum(big), sum(num), sum(price), sum(f8), sum(f4), sum(iv), sum(mo) FROM thing",
        "SELECT avg(a), avg(s), avg(big), avg(price), avg(f8), avg(f4), avg(iv) FROM thing",
        "SELECT sum(price), avg(price), max(price), min(price), stddev(price) FROM thing",
        "SELECT avg(qty), avg(qty) * 2, avg(qty) / 3, round(avg(qty), 3) FROM item",
        "SELECT qty, avg(id), sum(id) / count(*), stddev(id), variance(id), var_pop(id) FROM item GROUP BY qty",
        "SELECT max(a), max(s), max(big), max(t), max(c), max(de), max(v), max(ch), max(d), max(ts), max(tz), max(tm) FROM thing",
        "SELECT max(tmz), max(iv), max(ip), max(net), max(ia), max(ta), max(e), max(mo), max(o), max(dom), max(nd::text COLLATE \"C\") FROM thing",
        "SELECT min(tmz), min(iv), min(ip), min(net), min(ia), min(ta), min(e), min(mo), min(o), min(dom) FROM thing",
        "SELECT b, max(e), min(ip), max(de), count(DISTINCT nd) FROM thing GROUP BY b",
        "SELECT bit_and(a), bit_or(s), bit_xor(big), bit_and(bi), bit_or(bi) FROM thing",
        "SELECT bool_and(b), bool_or(b), every(b), bool_and(NULL) FROM thing",
        "SELECT range_agg(ir), range_intersect_agg(ir) FROM thing",
        "SELECT DISTINCT v, ch, price FROM thing",
        "SELECT v, ch, ts, price, bi, vb FROM thing ORDER BY id",
        "SELECT v, count(*) FROM thing GROUP BY v",
        "SELECT ch, max(v), max(ch) FROM thing GROUP BY ch",
        "SELECT ts, max(price) FROM thing GROUP BY ts",
        "SELECT 1 AS n, 'x' AS w, NULL AS z, 1.50 AS d, ARRAY[1] AS r, count(*) FROM thing",
        "SELECT 'x' FROM thing WHERE user_id IN (3, 9)",
        "SELECT NULL, id FROM thing ORDER BY id",
        "SELECT a FROM thing UNION SELECT 1.5",
        "SELECT NULL UNION SELECT a FROM thing",
        "SELECT v FROM thing UNION ALL SELECT c FROM thing",
        "SELECT price FROM thing UNION ALL SELECT price FROM thing",
        "SELECT '3' UNION SELECT a::text FROM thing",
        "SELECT CASE WHEN a > 1 THEN price END, id FROM thing ORDER BY id",
        "SELECT coalesce(v, c), id FROM thing ORDER BY id",
        "SELECT dom, dom + 1, max(dom) OVER () FROM thing",
        "SELECT dom, count(*) FROM thing GROUP BY dom",
        "SELECT e, ea, pr FROM thing WHERE user_id = 3 ORDER BY id",
        "SELECT e, count(*) FROM thing GROUP BY e ORDER BY e",
        "SELECT pr, count(*) FROM thing GROUP BY pr",
    ], true)
    .await;
}

#[tokio::test]
async fn orders_are_those_of_the_database() {
    same_in(
        &[
            "SELECT t, id FROM thing ORDER BY t, id",
            "SELECT t FROM thing ORDER BY t DESC NULLS LAST, id LIMIT 9",
            "SELECT c FROM thing ORDER BY c, id LIMIT 9 OFFSET 3",
            "SELECT de FROM thing ORDER BY de, id",
            "SELECT id FROM thing ORDER BY nd, id",
            "SELECT v FROM thing ORDER BY v, id",
            "SELECT ch FROM thing ORDER BY ch, id",
            "SELECT e FROM thing ORDER BY e DESC, id",
            "SELECT ip FROM thing ORDER BY ip, id",
            "SELECT net, mac FROM thing ORDER BY net, mac, id",
            "SELECT iv FROM thing ORDER BY iv, id",
            "SELECT d, ts, tz FROM thing ORDER BY d, ts DESC, tz, id",
            "SELECT tm, tmz FROM thing ORDER BY tm, tmz, id",
            "SELECT num FROM thing ORDER BY num DESC, id LIMIT 20",
            "SELECT f8, f4 FROM thing ORDER BY f8, f4 NULLS FIRST, id",
            "SELECT ia, ta FROM thing ORDER BY ia, ta DESC, id",
            "SELECT jb FROM thing ORDER BY jb, id",
            "SELECT ir, nr FROM thing ORDER BY ir, nr, id",
            "SELECT bi, vb, mo, o FROM thing ORDER BY bi, vb, mo, o, id",
            "SELECT y, u FROM thing ORDER BY y, u, id",
            "SELECT pr FROM thing ORDER BY pr, id",
            "SELECT b, id FROM thing ORDER BY b DESC NULLS LAST, id DESC LIMIT 30",
            "SELECT id FROM thing ORDER BY e USING >, ip USING <, id",
            "SELECT id FROM thing ORDER BY length(t) NULLS FIRST, lower(t), id LIMIT 12",
            "SELECT id FROM thing ORDER BY t COLLATE \"C\", de COLLATE \"C\" DESC, id",
            "SELECT e FROM thing WHERE e > 'sad' ORDER BY e, id FETCH FIRST 3 ROWS WITH TIES",
            "SELECT qty FROM item ORDER BY qty FETCH FIRST 3 ROWS WITH TIES",
            "SELECT t, count(*) FROM thing GROUP BY t ORDER BY t LIMIT 3",
            "SELECT t, count(*) FROM thing GROUP BY t ORDER BY count(*) DESC, t LIMIT 3",
            "SELECT max(t), min(t), max(de), min(v) FROM thing",
            "SELECT count(*) FROM thing WHERE t < 'b' OR t >= 'zebra'",
            "SELECT id FROM thing WHERE nd = 'APPLE' ORDER BY id",
            "SELECT count(DISTINCT nd), count(DISTINCT t) FROM thing",
        "SELECT c::text COLLATE \"de-x-icu\", id FROM thing ORDER BY c, id LIMIT 9",
        "SELECT a::text COLLATE \"C\" FROM thing ORDER BY a::text COLLATE \"C\" DESC NULLS LAST, id LIMIT 9",
        "SELECT id FROM thing WHERE v::text COLLATE loose = 'B' ORDER BY id",
        "SELECT \"Owner Id\" FROM \"Odd\" WHERE \"Owner Id\"::text COLLATE loose = 'ANN' ORDER BY id",
            "SELECT count(*) FROM thing GROUP BY nd",
        ],
        true,
    )
    .await;
}

#[tokio::test]
async fn what_a_row_is_nearest_to_is_found_over_all_shards() {
    same(&[
        "SELECT id, pt <-> point '(1,1)' AS far FROM thing ORDER BY pt <-> point '(1,1)', id LIMIT 5",
        "SELECT id FROM thing ORDER BY pt <-> point '(1,1)', id LIMIT 5 OFFSET 2",
        "SELECT id FROM thing WHERE user_id IN (3, 9, 12) ORDER BY pt <-> '(0,0)', id LIMIT 5",
        "SELECT id FROM thing WHERE b ORDER BY pt <-> point '(1,1)' DESC NULLS LAST, id LIMIT 3",
        "SELECT id, f8 * 2 FROM thing ORDER BY abs(f8 - 1.25), id LIMIT 7",
        "SELECT id FROM thing ORDER BY (f8 - 1) ^ 2 + (f4 - 2) ^ 2, id LIMIT 7",
        "SELECT id FROM thing ORDER BY sqrt(abs(a)::float8), id LIMIT 4",
        "SELECT id FROM thing ORDER BY 1 - (a % 10) / 7.0, id LIMIT 4",
        "SELECT t.id, i.id FROM thing t JOIN item i USING (user_id) ORDER BY t.pt <-> '(3,4)', t.id, i.id LIMIT 4",
        "SELECT id FROM (SELECT id, pt FROM thing ORDER BY pt <-> '(3,4)', id LIMIT 6) x ORDER BY id",
    ])
    .await;
}

#[tokio::test]
async fn volatile_functions_do_what_they_do_in_one_database() {
    same(&[
        "SELECT count(DISTINCT now()) FROM thing",
        "SELECT count(DISTINCT current_timestamp), count(DISTINCT current_date) FROM thing",
        "SELECT id, now() - now() FROM thing ORDER BY id",
        "SELECT now() = now(), count(*) FROM thing",
        "SELECT count(*) FROM thing WHERE random() < 2",
        "SELECT count(*) FROM thing WHERE ts < now() AND random() >= 0",
        "SELECT random() < 2, count(*) FROM thing GROUP BY 1",
        "SELECT count(DISTINCT x) FROM (SELECT now() AS x FROM thing) q",
        "SELECT count(DISTINCT gen_random_uuid()) FROM thing",
        "SELECT DISTINCT now() > '2000-01-01' FROM thing",
        "SELECT bool_and(clock_timestamp() >= now()) FROM thing",
        "SELECT id FROM thing WHERE d = 'today' OR d < 'now' ORDER BY id",
    ])
    .await;
}
