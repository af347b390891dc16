//! An order-entry schema, and the questions that a business asks of it: orders and their lines live by order, customers
//! by customer, the rest is on every shard. Every answer is that of one Postgres with the same rows.

use std::fmt::Write;

use rand::{Rng, SeedableRng, rngs::StdRng};
use shardway_tests::{SharedWorld, World};

use super::world::Pair;
use crate::operation::support::lines;

const SCHEMA: &str = "
CREATE TABLE region (region_id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE nation (nation_id int PRIMARY KEY, region_id int NOT NULL, name text NOT NULL);
CREATE TABLE supplier (supplier_id int PRIMARY KEY, nation_id int NOT NULL, name text NOT NULL, balance numeric(12,2), remark text);
CREATE TABLE part (part_id int PRIMARY KEY, name text NOT NULL, maker text, kind text, size int, box text, price numeric(12,2));
CREATE TABLE stock (part_id int, supplier_id int, available int, cost numeric(12,2), PRIMARY KEY (part_id, supplier_id));
CREATE TABLE customer (customer_id int PRIMARY KEY, nation_id int NOT NULL, name text NOT NULL, phone text, segment text, balance numeric(12,2));
CREATE TABLE orders (order_id int PRIMARY KEY, customer_id int NOT NULL, status char(1), total numeric(14,2), ordered date, urgency text, remark text);
CREATE TABLE line (
    order_id int, line_number int, part_id int NOT NULL, supplier_id int NOT NULL, quantity int, price numeric(12,2), discount numeric(4,2),
    tax numeric(4,2), returned char(1), status char(1), shipped date, promised date, received date, mode text,
    PRIMARY KEY (order_id, line_number)
);";

/// Rows of the reference tables, the same everywhere.
const REFERENCE: &str = "
INSERT INTO region SELECT g, 'region ' || g FROM generate_series(0, 2) g;
INSERT INTO nation SELECT g, g % 3, 'nation ' || g FROM generate_series(0, 8) g;
INSERT INTO supplier SELECT g, g % 9, 'supplier ' || g, (g * 7919 % 2000 - 500)::numeric / 4,
    CASE WHEN g % 7 = 0 THEN 'customers with complaints' ELSE 'ok' END FROM generate_series(1, 20) g;
INSERT INTO part SELECT g, (ARRAY['green','red','blue','pale'])[g % 4 + 1] || ' ' || (ARRAY['bolt','nut','gear'])[g % 3 + 1],
    'maker ' || g % 5, (ARRAY['promo tin','steel','promo brass','copper'])[g * 7 % 4 + 1], g % 10 + 1, (ARRAY['small box','large box','bag'])[g % 3 + 1],
    900 + g * 31 % 200 FROM generate_series(1, 40) g;
INSERT INTO stock SELECT p, (p * s * 3) % 20 + 1, (p * 17 + s * 29) % 300, (p * 13 + s * 7) % 90 + 10
    FROM generate_series(1, 40) p, generate_series(1, 4) s ON CONFLICT DO NOTHING;";

fn rows() -> Vec<String> {
    let mut rng = StdRng::seed_from_u64(22);
    let mut rows = Vec::new();
    let mut pick = |from: &[&str]| from[rng.random_range(0..from.len())].to_owned();
    let mut random = StdRng::seed_from_u64(23);
    for id in 1..=50 {
        let segment = pick(&["building", "machinery", "household"]);
        rows.push(format!(
            "INSERT INTO customer VALUES ({id}, {}, 'customer {id}', '{}-{id:03}', '{segment}', {}.{:02})",
            id % 9,
            10 + id % 9,
            random.random_range(-300..900),
            random.random_range(0..100),
        ));
    }
    for id in 1..=150 {
        let day = random.random_range(0..1000);
        let customer = random.random_range(1..=34);
        let status = pick(&["O", "F", "P"]);
        let urgency = pick(&["1 urgent", "2 high", "3 medium", "5 low"]);
        let remark = pick(&["special requests", "nothing", "express"]);
        rows.push(format!(
            "INSERT INTO orders VALUES ({id}, {customer}, '{status}', {}, date '1995-01-01' + {day}, '{urgency}', '{remark}')",
            random.random_range(1000..40000)
        ));
        for number in 1..=random.random_range(1..6) {
            let mut row = format!("INSERT INTO line VALUES ({id}, {number}");
            let shipped = day + random.random_range(1..60);
            let _ = write!(
                row,
                ", {}, {}, {}, {}.50, 0.0{}, 0.0{}, '{}', '{}', date '1995-01-01' + {shipped}, date '1995-01-01' + {}, \
                 date '1995-01-01' + {}, '{}')",
                random.random_range(1..=40),
                random.random_range(1..=20),
                random.random_range(1..=50),
                random.random_range(900..2000),
                random.random_range(0..10),
                random.random_range(0..9),
                pick(&["R", "A", "N"]),
                pick(&["O", "F"]),
                day + random.random_range(20..60),
                shipped + random.random_range(1..30),
                pick(&["air", "rail", "ship", "mail", "truck"]),
            );
            rows.push(row);
        }
    }
    rows
}

static BUSINESS: SharedWorld = SharedWorld::new(|| {
    let world =
        World::builder().shards(4).servers(2).keys(&["order_id", "customer_id"]).schema(SCHEMA).start();
    let server = world.server(0);
    let rows = rows();
    server.sql("postgres", "CREATE DATABASE oracle OWNER app").unwrap();
    server.sql("oracle", &format!("SET ROLE app; {SCHEMA} {REFERENCE} {}", rows.join(";"))).unwrap();
    world.shards().for_each(|shard| drop(shard.sql(REFERENCE)));
    let filling = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut client = world.raw("app").await;
            for row in &rows {
                let reply = client.query(row).recv_until_ready().await;
                assert!(reply.error().is_none(), "{row}: {reply:?}");
            }
        });
    };
    std::thread::scope(|scope| scope.spawn(filling).join().unwrap());
    world
});

/// Questions, each with an order that leaves nothing open or none at all.
const QUESTIONS: [&str; 30] = [
    // What was shipped so far, by how it ended.
    "SELECT returned, status, sum(quantity), sum(price), sum(price * (1 - discount)), sum(price * (1 - discount) * (1 + tax)),
            avg(quantity), avg(price), avg(discount), count(*)
     FROM line WHERE shipped <= date '1997-09-01' - interval '60 days' GROUP BY returned, status ORDER BY returned, status",
    // The cheapest supplier of each part in a region.
    "SELECT s.name, n.name, p.part_id, p.maker, k.cost FROM part p, supplier s, stock k, nation n, region r
     WHERE p.part_id = k.part_id AND s.supplier_id = k.supplier_id AND p.size > 4 AND s.nation_id = n.nation_id
       AND n.region_id = r.region_id AND r.name = 'region 1'
       AND k.cost = (SELECT min(k2.cost) FROM stock k2 JOIN supplier s2 USING (supplier_id) JOIN nation n2 USING (nation_id)
                     WHERE k2.part_id = p.part_id AND n2.region_id = 1) ORDER BY p.part_id, s.name",
    // The largest orders that were not shipped yet.
    "SELECT l.order_id, sum(l.price * (1 - l.discount)) AS revenue, o.ordered FROM customer c, orders o, line l
     WHERE c.segment = 'building' AND c.customer_id = o.customer_id AND l.order_id = o.order_id
       AND o.ordered < date '1996-06-15' AND l.shipped > date '1996-06-15'
     GROUP BY l.order_id, o.ordered ORDER BY revenue DESC, o.ordered, l.order_id LIMIT 10",
    // How urgent the orders were that came late.
    "SELECT urgency, count(*) FROM orders o WHERE ordered >= date '1995-07-01' AND ordered < date '1996-07-01'
       AND EXISTS (SELECT * FROM line l WHERE l.order_id = o.order_id AND l.promised < l.received)
     GROUP BY urgency ORDER BY urgency",
    // What customers bought from suppliers at home.
    "SELECT n.name, sum(l.price * (1 - l.discount)) AS revenue FROM customer c, orders o, line l, supplier s, nation n, region r
     WHERE c.customer_id = o.customer_id AND l.order_id = o.order_id AND l.supplier_id = s.supplier_id
       AND c.nation_id = s.nation_id AND s.nation_id = n.nation_id AND n.region_id = r.region_id AND r.name <> 'region 2'
     GROUP BY n.name ORDER BY revenue DESC, n.name",
    // What a smaller discount would have brought.
    "SELECT sum(price * discount) FROM line WHERE shipped BETWEEN '1995-06-01' AND '1996-06-01'
       AND discount BETWEEN 0.05 - 0.02 AND 0.05 + 0.02 AND quantity < 24",
    // Trade between two nations by year.
    "SELECT seller, buyer, y, sum(volume) FROM (
       SELECT n1.name AS seller, n2.name AS buyer, extract(year FROM l.shipped) AS y, l.price * (1 - l.discount) AS volume
       FROM supplier s, line l, orders o, customer c, nation n1, nation n2
       WHERE s.supplier_id = l.supplier_id AND o.order_id = l.order_id AND c.customer_id = o.customer_id
         AND s.nation_id = n1.nation_id AND c.nation_id = n2.nation_id
         AND (n1.name = 'nation 1' AND n2.name = 'nation 2' OR n1.name = 'nation 2' AND n2.name = 'nation 1')) t
     GROUP BY seller, buyer, y ORDER BY seller, buyer, y",
    // One nation's share of a market.
    "SELECT y, sum(CASE WHEN nation = 'nation 3' THEN volume ELSE 0 END) / sum(volume) AS share FROM (
       SELECT extract(year FROM o.ordered) AS y, l.price * (1 - l.discount) AS volume, n2.name AS nation
       FROM part p, supplier s, line l, orders o, customer c, nation n1, nation n2, region r
       WHERE p.part_id = l.part_id AND s.supplier_id = l.supplier_id AND l.order_id = o.order_id
         AND o.customer_id = c.customer_id AND c.nation_id = n1.nation_id AND n1.region_id = r.region_id
         AND r.name = 'region 0' AND s.nation_id = n2.nation_id AND p.kind LIKE 'promo%') t GROUP BY y ORDER BY y",
    // Profit by nation and year.
    "SELECT nation, y, sum(amount) FROM (
       SELECT n.name AS nation, extract(year FROM o.ordered) AS y, l.price * (1 - l.discount) - k.cost * l.quantity AS amount
       FROM part p, supplier s, line l, stock k, orders o, nation n
       WHERE s.supplier_id = l.supplier_id AND k.supplier_id = l.supplier_id AND k.part_id = l.part_id AND p.part_id = l.part_id
         AND o.order_id = l.order_id AND s.nation_id = n.nation_id AND p.name LIKE '%green%') t
     GROUP BY nation, y ORDER BY nation, y DESC",
    // Customers who send things back.
    "SELECT c.customer_id, c.name, sum(l.price * (1 - l.discount)) AS lost, c.balance, n.name, c.phone
     FROM customer c, orders o, line l, nation n
     WHERE c.customer_id = o.customer_id AND l.order_id = o.order_id AND l.returned = 'R' AND c.nation_id = n.nation_id
     GROUP BY c.customer_id, c.name, c.balance, c.phone, n.name ORDER BY lost DESC, c.customer_id LIMIT 20",
    // The same, grouping by what the rest hangs on.
    "SELECT c.*, count(o.order_id) FROM customer c LEFT JOIN orders o USING (customer_id) GROUP BY c.customer_id ORDER BY c.customer_id",
    // Stock that is worth more than its share.
    "SELECT k.part_id, sum(k.cost * k.available) AS value FROM stock k JOIN supplier s USING (supplier_id) WHERE s.nation_id < 5
     GROUP BY k.part_id HAVING sum(k.cost * k.available) > (SELECT sum(cost * available) * 0.03 FROM stock) ORDER BY value DESC, part_id",
    // Whether cheap shipping makes urgent orders late.
    "SELECT l.mode, sum(CASE WHEN o.urgency IN ('1 urgent', '2 high') THEN 1 ELSE 0 END) AS high,
            sum(CASE WHEN o.urgency NOT IN ('1 urgent', '2 high') THEN 1 ELSE 0 END) AS low
     FROM orders o JOIN line l ON o.order_id = l.order_id
     WHERE l.mode IN ('mail', 'ship') AND l.promised < l.received AND l.shipped < l.promised GROUP BY l.mode ORDER BY l.mode",
    // How many customers have how many orders.
    "SELECT n, count(*) AS customers FROM (SELECT c.customer_id, count(o.order_id) AS n
       FROM customer c LEFT JOIN orders o ON c.customer_id = o.customer_id AND o.remark NOT LIKE '%special%requests%'
       GROUP BY c.customer_id) t GROUP BY n ORDER BY customers DESC, n DESC",
    // What promotion brought.
    "SELECT 100.00 * sum(CASE WHEN p.kind LIKE 'promo%' THEN l.price * (1 - l.discount) ELSE 0 END) / sum(l.price * (1 - l.discount))
     FROM line l, part p WHERE l.part_id = p.part_id AND l.shipped >= date '1995-09-01' AND l.shipped < date '1995-09-01' + interval '1 year'",
    // The best supplier.
    "WITH revenue AS (SELECT supplier_id, sum(price * (1 - discount)) AS total FROM line WHERE shipped >= '1996-01-01' GROUP BY supplier_id)
     SELECT s.supplier_id, s.name, r.total FROM supplier s JOIN revenue r USING (supplier_id)
     WHERE r.total = (SELECT max(total) FROM revenue) ORDER BY s.supplier_id",
    // Who could supply parts of some sizes, complaints apart.
    "SELECT p.maker, p.kind, p.size, count(DISTINCT l.supplier_id) AS suppliers FROM line l, part p
     WHERE p.part_id = l.part_id AND p.maker <> 'maker 1' AND p.kind NOT LIKE 'promo tin%' AND p.size IN (1, 2, 3, 5, 8)
       AND l.supplier_id NOT IN (SELECT supplier_id FROM supplier WHERE remark LIKE '%complaints%')
     GROUP BY p.maker, p.kind, p.size ORDER BY suppliers DESC, p.maker, p.kind, p.size",
    // Small orders of a part.
    "SELECT sum(l.price) / 7.0 FROM line l, part p WHERE p.part_id = l.part_id AND p.box = 'small box'
       AND l.quantity < (SELECT 0.8 * avg(x.quantity) FROM line x WHERE x.part_id = p.part_id)",
    // Customers of large orders.
    "SELECT c.name, c.customer_id, o.order_id, o.ordered, o.total, sum(l.quantity) FROM customer c, orders o, line l
     WHERE o.order_id IN (SELECT order_id FROM line GROUP BY order_id HAVING sum(quantity) > 120)
       AND c.customer_id = o.customer_id AND o.order_id = l.order_id
     GROUP BY c.name, c.customer_id, o.order_id, o.ordered, o.total ORDER BY o.total DESC, o.ordered, o.order_id LIMIT 100",
    // Discounts on parts handled in one of three ways.
    "SELECT sum(l.price * (1 - l.discount)) FROM line l, part p
     WHERE p.part_id = l.part_id AND l.mode IN ('air', 'truck') AND (
       p.box = 'small box' AND l.quantity BETWEEN 1 AND 11 AND p.size <= 5
       OR p.box = 'bag' AND l.quantity BETWEEN 10 AND 20 AND p.size <= 8
       OR p.box = 'large box' AND l.quantity BETWEEN 20 AND 45)",
    // Suppliers with more in stock than was sold.
    "SELECT s.name FROM supplier s WHERE s.supplier_id IN (SELECT k.supplier_id FROM stock k
       WHERE k.part_id IN (SELECT part_id FROM part WHERE name LIKE 'green%')
         AND k.available > (SELECT 0.5 * coalesce(sum(l.quantity), 0) FROM line l WHERE l.part_id = k.part_id AND l.supplier_id = k.supplier_id))
     ORDER BY s.name",
    // Suppliers who alone kept an order waiting.
    "SELECT s.name, count(*) AS waits FROM supplier s, line l1, orders o
     WHERE s.supplier_id = l1.supplier_id AND o.order_id = l1.order_id AND o.status = 'F' AND l1.received > l1.promised
       AND EXISTS (SELECT * FROM line l2 WHERE l2.order_id = l1.order_id AND l2.supplier_id <> l1.supplier_id)
       AND NOT EXISTS (SELECT * FROM line l3 WHERE l3.order_id = l1.order_id AND l3.supplier_id <> l1.supplier_id AND l3.received > l3.promised)
     GROUP BY s.name ORDER BY waits DESC, s.name LIMIT 100",
    // Customers with money who did not order.
    "SELECT code, count(*), sum(balance) FROM (SELECT substring(phone FROM 1 FOR 2) AS code, balance FROM customer c
       WHERE substring(phone FROM 1 FOR 2) IN ('10', '11', '13', '16')
         AND balance > (SELECT avg(balance) FROM customer WHERE balance > 0.00)
         AND NOT EXISTS (SELECT * FROM orders o WHERE o.customer_id = c.customer_id)) t GROUP BY code ORDER BY code",
    // Each customer's orders in turn, and what they came to.
    "SELECT customer_id, order_id, total, sum(total) OVER (PARTITION BY customer_id ORDER BY ordered, order_id) AS so_far,
            rank() OVER (PARTITION BY customer_id ORDER BY total DESC, order_id) FROM orders ORDER BY customer_id, ordered, order_id",
    // The two largest orders of each segment.
    "SELECT segment, order_id, total FROM (SELECT c.segment, o.order_id, o.total,
       row_number() OVER (PARTITION BY c.segment ORDER BY o.total DESC, o.order_id) AS place
       FROM orders o JOIN customer c USING (customer_id)) t WHERE place <= 2 ORDER BY segment, place",
    // Revenue by region and nation, with totals.
    "SELECT r.name, n.name, sum(l.price), count(DISTINCT o.customer_id), grouping(r.name, n.name)
     FROM line l JOIN orders o USING (order_id) JOIN customer c USING (customer_id) JOIN nation n ON n.nation_id = c.nation_id
     JOIN region r USING (region_id) GROUP BY ROLLUP (r.name, n.name) ORDER BY 1 NULLS LAST, 2 NULLS LAST",
    // Months without an order.
    "WITH RECURSIVE month(start) AS (SELECT date '1995-01-01' UNION ALL SELECT (start + interval '1 month')::date FROM month
       WHERE start < date '1997-12-01')
     SELECT start, count(o.order_id), coalesce(sum(o.total), 0) FROM month LEFT JOIN orders o
       ON o.ordered >= start AND o.ordered < start + interval '1 month' GROUP BY start ORDER BY start",
    // Who bought what others in the nation did not.
    "SELECT DISTINCT o.customer_id, l.part_id FROM orders o JOIN line l USING (order_id) WHERE l.part_id < 6
     EXCEPT SELECT c.customer_id, l.part_id FROM customer c JOIN customer d ON d.nation_id = c.nation_id AND d.customer_id <> c.customer_id
       JOIN orders o ON o.customer_id = d.customer_id JOIN line l USING (order_id) ORDER BY 1, 2",
    // The median line of each way of shipping.
    "SELECT mode, percentile_cont(0.5) WITHIN GROUP (ORDER BY quantity), mode() WITHIN GROUP (ORDER BY returned),
            string_agg(DISTINCT returned::text, '/' ORDER BY returned::text), array_agg(quantity ORDER BY order_id, line_number) FILTER (WHERE quantity > 45)
     FROM line GROUP BY line.mode ORDER BY line.mode",
    // Each customer's latest order, if any, with its lines.
    "SELECT c.customer_id, last.order_id, (SELECT count(*) FROM line l WHERE l.order_id = last.order_id)
     FROM customer c LEFT JOIN LATERAL (SELECT order_id FROM orders o WHERE o.customer_id = c.customer_id
       ORDER BY ordered DESC, order_id LIMIT 1) last ON true ORDER BY c.customer_id",
];

#[tokio::test]
async fn what_a_business_asks_is_answered_as_by_one_postgres() {
    let mut pair = Pair::of(&BUSINESS).await;
    for question in QUESTIONS {
        pair.same(question).await;
    }
}

#[tokio::test]
async fn an_order_and_its_lines_are_together_and_a_customer_elsewhere() {
    let admin = BUSINESS.admin().await;
    let mut pair = Pair::of(&BUSINESS).await;
    for (tier, statement) in [
        ("single", "SELECT o.total, l.price FROM orders o JOIN line l USING (order_id) WHERE order_id = 7"),
        (
            "single",
            "SELECT c.name, n.name FROM customer c JOIN nation n USING (nation_id) WHERE c.customer_id = 3",
        ),
        (
            "scatter",
            "SELECT o.order_id, p.name FROM orders o JOIN line l ON l.order_id = o.order_id JOIN part p ON p.part_id = l.part_id",
        ),
        (
            "gather",
            "SELECT o.order_id, c.name FROM orders o JOIN customer c ON c.customer_id = o.customer_id",
        ),
    ] {
        let route = lines(&admin, &format!("SHOW ROUTE '{statement}'")).await;
        assert!(route[0].starts_with(tier), "{statement}: {route:?}");
        pair.same(statement).await;
    }
}

#[tokio::test]
async fn the_answers_are_the_same_inside_a_transaction() {
    let mut pair = Pair::of(&BUSINESS).await;
    for question in &QUESTIONS[..12] {
        pair.both("BEGIN").await;
        pair.both("UPDATE orders SET total = total + 100000, status = 'F' WHERE order_id = 17").await;
        pair.both("DELETE FROM line WHERE order_id = 17 AND line_number = 1").await;
        pair.same(question).await;
        pair.both("ROLLBACK").await;
    }
}
