// node-postgres through Shardway.

"use strict";

const assert = require("node:assert/strict");
const { Client, Pool } = require("pg");

const PLAIN = process.env.PLAIN_URL; // in front of which nothing is sharded
const SHOP = process.env.SHOP_URL; // over four shards
const WORLDS = [PLAIN, SHOP];
const SHARDS = [0, 1, 2, 3];

const INSERT = "INSERT INTO account (user_id, name, balance) VALUES ($1, $2, $3)";
const BALANCE = "SELECT balance FROM account WHERE user_id = $1";

// FNV-1a of the key's text, modulo four.
function shardOf(key) {
  let hashed = 0xcbf29ce484222325n;
  for (const byte of Buffer.from(String(key))) {
    hashed = BigInt.asUintN(64, (hashed ^ BigInt(byte)) * 0x100000001b3n);
  }
  return Number(hashed % 4n);
}

let next = 7_000_000;

// A key that no other check has, owned by this shard.
function key(shard = 0) {
  do next += 1; while (shardOf(next) !== shard);
  return next;
}

async function account(db, shard = 0) {
  const id = key(shard);
  await db.query(INSERT, [id, `account ${id}`, 100]);
  return id;
}

async function withClient(url, use) {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
  await client.connect();
  try {
    await use(client);
  } finally {
    await client.end();
  }
}

// What a check does with a client, done through each world.
const inEachWorld = (use) => async () => {
  for (const url of WORLDS) await withClient(url, use);
};

const checks = {
  "a client connects by URL": inEachWorld(async (client) => {
    const query = "SELECT 1 AS one, 'ä' AS text, NULL AS nothing";
    const { rows, fields, command, rowCount } = await client.query(query);
    assert.deepEqual(rows, [{ one: 1, text: "ä", nothing: null }]);
    assert.deepEqual(fields.map((field) => field.dataTypeID), [23, 25, 25]);
    assert.deepEqual([command, rowCount], ["SELECT", 1]);
  }),

  "a wrong password is refused": async () => {
    const client = new Client({ connectionString: SHOP.replace("secret", "wrong") });
    await assert.rejects(client.connect(), { code: "28P01", severity: "FATAL" });
  },

  "parameters of every kind make the round trip": inEachWorld(async (client) => {
    const when = new Date("2026-01-02T03:04:05.678Z");
    const bytes = Buffer.from([0, 255]);
    const uuid = "0190b5f2-0000-7000-8000-000000000001";
    const { rows } = await client.query(
      `SELECT $1::int AS n, $2::text AS t, $3::jsonb AS j, $4::timestamptz AS w, $5::int[] AS a,
              $6::bytea AS b, $7::bool AS y, $8::uuid AS u, $9::text AS z`,
      [7, "it's", { a: [1, null] }, when, [1, 2], bytes, true, uuid, null],
    );
    assert.deepEqual(rows, [
      { n: 7, t: "it's", j: { a: [1, null] }, w: when, a: [1, 2], b: bytes, y: true, u: uuid, z: null },
    ]);
  }),

  "rows are written and read by key over all shards": inEachWorld(async (client) => {
    for (const shard of SHARDS) {
      const id = await account(client, shard);
      const update = "UPDATE account SET balance = balance + $1 WHERE user_id = $2";
      assert.equal((await client.query(update, [5, id])).rowCount, 1);
      assert.deepEqual((await client.query(BALANCE, [id])).rows, [{ balance: 105 }]);
      assert.equal((await client.query("DELETE FROM account WHERE user_id = $1", [id])).rowCount, 1);
    }
  }),

  "a named statement is executed many times over all shards": inEachWorld(async (client) => {
    const ids = [];
    for (const n of Array(20).keys()) ids.push(await account(client, n % 4));
    const byKey = { name: "by key", text: "SELECT user_id FROM account WHERE user_id = $1" };
    for (let round = 0; round < 5; round++) {
      for (const id of ids) {
        const { rows } = await client.query({ ...byKey, values: [id] });
        assert.deepEqual(rows, [{ user_id: id }]);
      }
    }
    const text = "SELECT user_id FROM account WHERE user_id = ANY($1::int[]) ORDER BY user_id";
    const { rows } = await client.query({ name: "gather", text, values: [ids] });
    assert.deepEqual(rows.map((row) => row.user_id), ids.toSorted((a, b) => a - b));
  }),

  "values come in binary when asked for": inEachWorld(async (client) => {
    for (const shard of SHARDS) {
      const id = await account(client, shard);
      const { rows } = await client.query({ text: BALANCE, values: [id], binary: true });
      assert.deepEqual(rows, [{ balance: 100 }]);
    }
  }),

  "several statements of one text give several results": inEachWorld(async (client) => {
    const results = await client.query("SELECT 1 AS a; SELECT 2 AS b");
    assert.deepEqual(results.map((result) => result.rows), [[{ a: 1 }], [{ b: 2 }]]);
  }),

  "queries that wait in line are answered in order": inEachWorld(async (client) => {
    const asked = Array.from({ length: 50 }, (_, n) => client.query("SELECT $1::int AS n", [n]));
    const answers = await Promise.all(asked);
    assert.deepEqual(answers.map(({ rows }) => rows[0].n), [...Array(50).keys()]);
  }),

  "transactions and savepoints are kept or undone": inEachWorld(async (client) => {
    const id = await account(client, 3);
    const set = (balance) => client.query("UPDATE account SET balance = $1 WHERE user_id = $2", [balance, id]);
    const balance = async () => (await client.query(BALANCE, [id])).rows[0].balance;
    await client.query("BEGIN");
    await set(1);
    await client.query("SAVEPOINT s");
    await assert.rejects(set(-1), { code: "23514", constraint: "solvent" });
    await assert.rejects(client.query("SELECT 1"), { code: "25P02" });
    await client.query("ROLLBACK TO SAVEPOINT s");
    await client.query("COMMIT");
    assert.equal(await balance(), 1);
    await client.query("BEGIN");
    await set(2);
    await client.query("ROLLBACK");
    assert.equal(await balance(), 1);
  }),

  "errors bring every field": inEachWorld(async (client) => {
    const id = await account(client, 1);
    await assert.rejects(client.query(INSERT, [id, null, 0]), {
      code: "23505",
      severity: "ERROR",
      detail: `Key (user_id)=(${id}) already exists.`,
      schema: "public",
      table: "account",
      constraint: "account_pkey",
      routine: "_bt_check_unique",
    });
    const unknown = client.query("SELECT nam FROM account WHERE user_id = $1", [id]);
    await assert.rejects(unknown, { code: "42703", position: "8" });
    assert.deepEqual((await client.query("SELECT 1 AS one")).rows, [{ one: 1 }]);
  }),

  "notifications are heard": inEachWorld(async (client) => {
    const heard = new Promise((resolve) => client.once("notification", resolve));
    await client.query("LISTEN from_node");
    await client.query("SELECT pg_notify($1, $2)", ["from_node", "hello"]);
    const { channel, payload } = await heard;
    assert.deepEqual([channel, payload], ["from_node", "hello"]);
    await client.query("UNLISTEN *");
  }),

  "notices are heard": inEachWorld(async (client) => {
    const heard = [];
    client.on("notice", ({ severity, message }) => heard.push([severity, message]));
    await client.query("/* shard: 0 */ DO $$ BEGIN RAISE WARNING 'look'; END $$");
    assert.deepEqual(heard, [["WARNING", "look"]]);
  }),

  "a pool's clients work side by side": async () => {
    for (const url of WORLDS) {
      const pool = new Pool({ connectionString: url, max: 5, connectionTimeoutMillis: 10_000 });
      const work = async (n) => {
        const id = await account(pool, n % 4);
        return (await pool.query(BALANCE, [id])).rows[0].balance;
      };
      assert.deepEqual(await Promise.all([...Array(40).keys()].map(work)), Array(40).fill(100));
      const client = await pool.connect();
      await client.query("BEGIN");
      const id = await account(client, 2);
      assert.deepEqual((await pool.query(BALANCE, [id])).rows, [], "seen by nobody else yet");
      await client.query("COMMIT");
      client.release();
      assert.deepEqual((await pool.query(BALANCE, [id])).rows, [{ balance: 100 }]);
      await pool.end();
    }
  },

  "a statement that takes too long is ended": async () => {
    for (const url of WORLDS) {
      const client = new Client({ connectionString: url, statement_timeout: 50 });
      await client.connect();
      await assert.rejects(client.query("SELECT pg_sleep(60)"), { code: "57014" });
      assert.deepEqual((await client.query("SHOW statement_timeout")).rows, [{ statement_timeout: "50ms" }]);
      await client.end();
    }
  },
};

async function main() {
  const failed = [];
  for (const [name, check] of Object.entries(checks)) {
    try {
      await check();
      console.log(`${name}: ok`);
    } catch (error) {
      failed.push(name);
      console.log(`${name}: failed\n${error.stack}`);
    }
  }
  const total = Object.keys(checks).length;
  console.log(`${total - failed.length} of ${total} checks passed`);
  process.exit(failed.length ? 1 : 0);
}

main();
