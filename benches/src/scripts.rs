//! The pgbench scripts. Those of one database are pgbench's own, for scale 10; `account` and `ledger` are in `fill`.

use crate::case::Script;

/// pgbench's scale: 100,000 accounts each.
pub const SCALE: u32 = 10;

/// The keys of `account`, from 1.
pub const KEYS: i64 = 10_000;

/// `pgbench -S`.
pub static SELECT_ONLY: Script = Script {
    name: "select-only",
    text: "\\set aid random(1, 1000000)\nSELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n",
    probe: "SELECT abalance FROM pgbench_accounts WHERE aid = 1",
    rows: 1,
    warm_up: 3000,
    logged: 0.1,
    before: "",
};

/// The same, for runs that connect anew each time: there are few transactions, so all are logged.
pub static CONNECT: Script = Script { name: "connect", warm_up: 200, logged: 1.0, ..SELECT_ONLY };

/// `pgbench` as it comes.
pub static TPC_B: Script = Script {
    name: "tpc-b",
    text: "\\set aid random(1, 1000000)
\\set bid random(1, 10)
\\set tid random(1, 100)
\\set delta random(-5000, 5000)
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
UPDATE pgbench_tellers SET tbalance = tbalance + :delta WHERE tid = :tid;
UPDATE pgbench_branches SET bbalance = bbalance + :delta WHERE bid = :bid;
INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (:tid, :bid, :aid, :delta, CURRENT_TIMESTAMP);
END;
",
    probe: "SELECT bbalance FROM pgbench_branches WHERE bid = 1",
    rows: 1,
    warm_up: 300,
    logged: 1.0,
    before: "VACUUM pgbench_branches; VACUUM pgbench_tellers; TRUNCATE pgbench_history;",
};

/// Many rows.
pub static ROWS_20000: Script = Script {
    name: "rows-20000",
    text: "SELECT aid, bid, abalance FROM pgbench_accounts WHERE aid <= 20000;\n",
    probe: "SELECT aid, bid, abalance FROM pgbench_accounts WHERE aid <= 20000",
    rows: 20_000,
    warm_up: 12,
    logged: 1.0,
    before: "",
};

/// Long rows.
pub static LONG_ROWS: Script = Script {
    name: "rows-100x1000",
    text: "\\set first random(1, 4900)\nSELECT id, body FROM document WHERE id BETWEEN :first AND :first + 99;\n",
    probe: "SELECT id, body FROM document WHERE id BETWEEN 1 AND 100",
    rows: 100,
    warm_up: 500,
    logged: 1.0,
    before: "",
};

/// One row by its key.
pub static POINT_SELECT: Script = Script {
    name: "point-select",
    text: "\\set id random(1, 10000)\nSELECT amount FROM account WHERE user_id = :id;\n",
    probe: "SELECT amount FROM account WHERE user_id = 1",
    rows: 1,
    warm_up: 3000,
    logged: 0.1,
    before: "",
};

/// The same few rows again and again.
pub static HOT_SELECT: Script = Script {
    name: "hot-select",
    text: "\\set id random(1, 100)\nSELECT amount FROM account WHERE user_id = :id;\n",
    ..POINT_SELECT
};

/// One row changed by its key.
pub static POINT_UPDATE: Script = Script {
    name: "point-update",
    text: "\\set id random(1, 10000)\nUPDATE account SET amount = amount + 1 WHERE user_id = :id;\n",
    probe: "UPDATE account SET amount = amount + 1 WHERE user_id = 1",
    rows: 0,
    warm_up: 1000,
    logged: 0.1,
    before: "VACUUM account;",
};

/// Groups that span all shards.
pub static GROUP_BY: Script = Script {
    name: "group-by",
    text: "SELECT kind, count(*), sum(amount) FROM ledger GROUP BY kind;\n",
    probe: "SELECT kind, count(*), sum(amount) FROM ledger GROUP BY kind",
    rows: 4,
    warm_up: 1000,
    logged: 0.2,
    before: "",
};

/// The first of all shards' rows.
pub static TOP_10: Script = Script {
    name: "top-10",
    text: "SELECT user_id, amount FROM ledger ORDER BY amount DESC, user_id LIMIT 10;\n",
    probe: "SELECT user_id, amount FROM ledger ORDER BY amount DESC, user_id LIMIT 10",
    rows: 10,
    warm_up: 1000,
    logged: 0.2,
    before: "",
};
