"""asyncpg through Shardway."""

import asyncio
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import asyncpg
from support import PLAIN, SHARDS, SHOP, key, raises, run

WORLDS = [PLAIN, SHOP]
INSERT = "INSERT INTO account (user_id, name, balance) VALUES ($1, $2, $3)"
NAME = "SELECT name FROM account WHERE user_id = $1"
BALANCE = "SELECT balance FROM account WHERE user_id = $1"


@asynccontextmanager
async def connected(url):
    connection = await asyncpg.connect(url, timeout=10)
    try:
        yield connection
    finally:
        await connection.close(timeout=10)


async def account(connection, shard=0, name=None):
    id = key(shard)
    await connection.execute(INSERT, id, name or f"account {id}", 100)
    return id


async def check_the_version_is_the_servers():
    for url in WORLDS:
        async with connected(url) as connection:
            number = int(await connection.fetchval("SHOW server_version_num"))
            assert connection.get_server_version().major == number // 10000
            assert connection.get_settings().client_encoding.upper() in ("UTF8", "UTF-8")


async def check_a_wrong_password_is_refused():
    with raises(asyncpg.InvalidPasswordError) as refused:
        await asyncpg.connect(SHOP.replace("secret", "wrong"))
    assert refused.error.sqlstate == "28P01"


async def check_settings_at_connect_are_kept():
    for url in WORLDS:
        settings = {"application_name": "told", "search_path": "pg_catalog"}
        connection = await asyncpg.connect(url, server_settings=settings)
        assert await connection.fetchval("SHOW application_name") == "told"
        assert await connection.fetchval("SHOW search_path") == "pg_catalog"
        await connection.close()


async def check_values_make_the_round_trip_in_binary():
    values = {
        "bool": True,
        "int8": -(2**62),
        "float8": 1.5,
        "numeric": Decimal("12345678901234567890.123"),
        "text": "Zürich \N{SNOWMAN}",
        "bytea": b"\x00\xff",
        "uuid": UUID("0190b5f2-0000-7000-8000-000000000001"),
        "jsonb": '{"a": 1}',
        "timestamp": datetime(2026, 1, 2, 3, 4, 5, 678901),
        "timestamptz": datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc),
        "interval": timedelta(days=3, seconds=4),
        "int4[]": [1, None, 2],
        "text[]": ["a", "{}", None],
    }
    for url in WORLDS:
        async with connected(url) as connection:
            for kind, value in values.items():
                assert await connection.fetchval(f"SELECT $1::{kind}", value) == value, kind
                assert await connection.fetchval(f"SELECT $1::{kind}", None) is None


async def check_rows_are_fetched_by_key_over_all_shards():
    for url in WORLDS:
        async with connected(url) as connection:
            ids = [await account(connection, shard % 4, f"fetched {key()}") for shard in range(20)]
            for _ in range(3):
                for id in ids:
                    query = "SELECT user_id, balance FROM account WHERE user_id = $1"
                    row = await connection.fetchrow(query, id)
                    assert dict(row) == {"user_id": id, "balance": 100}
            rows = await connection.fetch(
                "SELECT user_id FROM account WHERE user_id = ANY($1::int[]) ORDER BY user_id", ids
            )
            assert [row["user_id"] for row in rows] == sorted(ids)


async def check_prepared_statements_know_their_types_and_find_every_shard():
    for url in WORLDS:
        async with connected(url) as connection:
            ids = {shard: await account(connection, shard, f"prepared {key()}") for shard in SHARDS}
            query = "SELECT user_id, name FROM account WHERE user_id = $1 AND balance > $2"
            statement = await connection.prepare(query)
            assert [kind.name for kind in statement.get_parameters()] == ["int4", "int4"]
            columns = [(column.name, column.type.name) for column in statement.get_attributes()]
            assert columns == [("user_id", "int4"), ("name", "text")]
            for id in ids.values():
                assert await statement.fetchval(id, 0) == id
                assert await statement.fetchval(id, 1000) is None


async def check_many_executions_of_one_key_are_one_batch():
    for url in WORLDS:
        async with connected(url) as connection:
            id = await account(connection, 2)
            update = "UPDATE account SET balance = balance + $1 WHERE user_id = $2"
            await connection.executemany(update, [(step, id) for step in range(100)])
            assert await connection.fetchval(BALANCE, id) == 100 + sum(range(100))


async def check_transactions_and_savepoints_are_kept_or_undone():
    for url in WORLDS:
        async with connected(url) as connection:
            id = await account(connection, 3)
            change = "UPDATE account SET balance = $1 WHERE user_id = $2"
            async with connection.transaction():
                await connection.execute(change, 1, id)
                with raises(asyncpg.CheckViolationError):
                    async with connection.transaction():
                        await connection.execute(change, -1, id)
                assert await connection.fetchval(BALANCE, id) == 1
            with raises(KeyError):
                async with connection.transaction(isolation="serializable"):
                    await connection.execute(change, 2, id)
                    raise KeyError
            assert await connection.fetchval(BALANCE, id) == 1


async def check_a_cursor_fetches_in_steps_within_a_transaction():
    for url in WORLDS:
        async with connected(url) as connection:
            id = await account(connection, 1)
            async with connection.transaction():
                query = "SELECT generate_series(1, 100) FROM account WHERE user_id = $1"
                rows = [row[0] async for row in connection.cursor(query, id, prefetch=7)]
                assert rows == list(range(1, 101))


async def check_cursors_read_all_shards_in_steps():
    async with connected(SHOP) as connection:
        ids = sorted([await account(connection, shard, f"stepped {shard}") for shard in range(4) for _ in range(9)])
        query = "SELECT user_id, balance FROM account WHERE user_id = ANY($1::int[]) ORDER BY user_id"
        async with connection.transaction():
            first = connection.cursor(query, ids, prefetch=5)
            sums = "SELECT user_id, sum(balance) FROM account WHERE user_id = ANY($1::int[]) GROUP BY 1 ORDER BY 1"
            seen = []
            async for row in first:
                seen.append(row[0])
                # Another portal in between.
                if len(seen) == 7:
                    second = await connection.cursor(sums, ids)
                    assert [row[0] for row in await second.fetch(4)] == ids[:4]
                    await second.forward(3)
                    assert (await second.fetchrow())[0] == ids[7]
            assert seen == ids


async def check_a_pool_hands_out_sessions_without_a_past():
    for url in WORLDS:
        async with asyncpg.create_pool(url, min_size=2, max_size=2) as pool:
            async with pool.acquire() as connection:
                await connection.execute("SET statement_timeout = '12s'; SET application_name = 'past'")
                await connection.execute("SELECT pg_advisory_unlock_all()")
            for _ in range(4):
                async with pool.acquire() as connection:
                    assert await connection.fetchval("SHOW statement_timeout") == "0"
                    assert await connection.fetchval("SHOW application_name") == ""

            async def work(shard):
                id = await account(pool, shard, f"pool {key()}")
                return await pool.fetchval(NAME, id) is not None

            assert all(await asyncio.gather(*[work(number % 4) for number in range(40)]))


async def check_records_are_copied_in_and_out_where_nothing_is_sharded():
    records = [(number, f"tab\t{number}", None) for number in range(5000)]
    async with connected(PLAIN) as connection:
        await connection.execute("CREATE TABLE copied (id int, name text, gone text)")
        assert await connection.copy_records_to_table("copied", records=records) == "COPY 5000"
        assert [tuple(row) for row in await connection.fetch("SELECT * FROM copied ORDER BY id")] == records
        text = bytearray()

        async def take(piece):
            text.extend(piece)

        await connection.copy_from_query("SELECT id FROM copied WHERE id < $1 ORDER BY id", 3, output=take)
        assert bytes(text) == b"0\n1\n2\n"
        assert await connection.copy_from_table("copied", output=take, format="binary") == "COPY 5000"


async def check_errors_bring_every_field():
    for url in WORLDS:
        async with connected(url) as connection:
            id = await account(connection, 2)
            with raises(asyncpg.UniqueViolationError) as twice:
                await connection.execute(INSERT, id, None, 0)
            assert twice.error.constraint_name == "account_pkey"
            assert twice.error.detail == f"Key (user_id)=({id}) already exists."
            assert twice.error.table_name == "account"
            assert await connection.fetchval("SELECT 1") == 1


async def check_listeners_hear():
    for url in WORLDS:
        async with connected(url) as connection, connected(url) as other:
            heard = asyncio.Queue()
            await connection.add_listener("from_asyncpg", lambda *what: heard.put_nowait(what))
            await other.execute("NOTIFY from_asyncpg, 'hello'")
            _, _, channel, payload = await asyncio.wait_for(heard.get(), timeout=5)
            assert (channel, payload) == ("from_asyncpg", "hello")
            await connection.reset()
            await other.execute("NOTIFY from_asyncpg, 'never'")
            assert await connection.fetchval("SELECT 1") == 1
            assert heard.empty()


async def check_a_timeout_cancels_and_leaves_the_connection_well():
    for url in WORLDS:
        async with connected(url) as connection:
            with raises(asyncio.TimeoutError):
                await connection.fetchval("SELECT pg_sleep(60)", timeout=0.05)
            assert await connection.fetchval("SELECT 1") == 1


async def check_types_of_ones_own_are_looked_up_where_nothing_is_sharded():
    async with connected(PLAIN) as connection:
        assert await connection.fetchval("SELECT $1::mood", "happy") == "happy"
        assert await connection.fetchval("SELECT $1::spot", (1, "a")) == (1, "a")
        assert await connection.fetchval("SELECT $1::mood[]", ["sad", None]) == ["sad", None]
        assert await connection.fetchval("SELECT $1::spot[]", [(1, "a")]) == [(1, "a")]
        id = await account(connection)
        await connection.execute("UPDATE account SET mood = $1 WHERE user_id = $2", "happy", id)
        assert await connection.fetchval("SELECT mood FROM account WHERE user_id = $1", id) == "happy"


async def check_an_enums_labels_are_written_and_read_as_text_on_every_shard():
    async with connected(SHOP) as connection:
        for shard in SHARDS:
            id = await account(connection, shard)
            update = "UPDATE account SET mood = $1::text::mood WHERE user_id = $2"
            await connection.execute(update, "happy", id)
            query = "SELECT mood::text FROM account WHERE user_id = $1"
            assert await connection.fetchval(query, id) == "happy"


async def check_a_codec_of_ones_own_is_used_where_nothing_is_sharded():
    async with connected(PLAIN) as connection:
        codec = {"encoder": str.lower, "decoder": str.upper, "schema": "public", "format": "text"}
        await connection.set_type_codec("mood", **codec)
        assert await connection.fetchval("SELECT $1::mood", "HAPPY") == "HAPPY"


if __name__ == "__main__":
    run(globals())
