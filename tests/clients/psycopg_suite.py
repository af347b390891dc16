"""psycopg 3 through Shardway."""

import threading
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import psycopg
from psycopg import errors
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row
from psycopg.types.enum import EnumInfo, register_enum
from psycopg.types.json import Jsonb

from support import PLAIN, SHARDS, SHOP, key, raises, run

WORLDS = [PLAIN, SHOP]
INSERT = "INSERT INTO account (user_id, name, balance) VALUES (%s, %s, %s)"
NAME = "SELECT name FROM account WHERE user_id = %s"


def connect(url, **options):
    return psycopg.connect(url, **{"autocommit": True, "connect_timeout": 10, **options})


def account(connection, shard=0, name=None):
    id = key(shard)
    connection.execute(INSERT, [id, name or f"account {id}", 100])
    return id


def check_connection_info_is_the_servers():
    for url in WORLDS:
        with connect(url, application_name="info") as connection:
            info = connection.info
            [number] = connection.execute("SHOW server_version_num").fetchone()
            assert info.server_version == int(number)
            assert (info.user, info.dbname, info.encoding) == ("app", "shop", "utf-8")
            assert info.parameter_status("standard_conforming_strings") == "on"
            assert info.parameter_status("integer_datetimes") == "on"
            assert connection.execute("SHOW application_name").fetchone() == ("info",)


def check_a_wrong_password_is_refused():
    with raises(psycopg.OperationalError) as refused:
        connect(PLAIN.replace("secret", "wrong"))
    assert 'password authentication failed for user "app"' in str(refused.error)


def check_parameters_are_text_or_binary():
    for url in WORLDS:
        with connect(url) as connection:
            for shard in SHARDS:
                id = account(connection, shard, f"parameter {key()}")
                for format in ("%s", "%t", "%b"):
                    for binary in (False, True):
                        query = f"SELECT user_id, balance FROM account WHERE user_id = {format}"
                        row = connection.execute(query, [id], binary=binary).fetchone()
                        assert row == (id, 100), (format, binary)
                row = connection.execute("SELECT %(a)s + %(a)s, %(b)s", {"a": 2, "b": "x"}).fetchone()
                assert row == (4, "x")


def check_values_make_the_round_trip():
    values = [
        True,
        -(2**62),
        1.5,
        Decimal("123456789012345678901234567890.123"),
        "Zürich \N{SNOWMAN} 'quoted'",
        b"\x00\xff\\",
        UUID("0190b5f2-0000-7000-8000-000000000001"),
        Jsonb({"a": [1, None, {"ü": "x"}]}),
        date(2026, 2, 28),
        datetime(2026, 1, 2, 3, 4, 5, 678901),
        datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc),
        timedelta(days=3, seconds=4),
        [1, 2, None],
        [[1, 2], [3, 4]],
        [UUID("0190b5f2-0000-7000-8000-000000000002")],
        None,
    ]
    for url in WORLDS:
        with connect(url) as connection:
            for value in values:
                for format, binary in [("%t", False), ("%b", True)]:
                    [got] = connection.execute(f"SELECT {format}", [value], binary=binary).fetchone()
                    assert got == getattr(value, "obj", value), (value, got, binary)
                    # Text has no type of its own until the statement gives it one.
                    texts = ["a", 'with "quotes"', None, "{}"]
                    [got] = connection.execute(f"SELECT {format}::text[]", [texts], binary=binary).fetchone()
                    assert got == texts


def check_prepared_statements_are_executed_many_times_over_all_shards():
    for url in WORLDS:
        with connect(url, prepare_threshold=0) as a, connect(url, prepare_threshold=0) as b:
            ids = [account(a, shard % 4, f"prepared {key()}") for shard in range(40)]
            query = "SELECT user_id FROM account WHERE user_id = %s"
            for _ in range(5):
                for connection in (a, b):
                    for id in ids:
                        assert connection.execute(query, [id]).fetchone() == (id,)
            [held] = a.execute("SELECT count(*) FROM pg_prepared_statements").fetchone()
            assert held > 0, "the statements are kept by the servers"
            for id in ids:
                b.execute("UPDATE account SET balance = balance + %s WHERE user_id = %s", [1, id])
            found = a.execute("SELECT balance FROM account WHERE user_id = ANY(%s)", [ids]).fetchall()
            assert found == [(101,)] * len(ids)


def check_more_statements_than_the_client_keeps_are_deallocated():
    for url in WORLDS:
        with connect(url, prepare_threshold=0) as connection:
            connection.prepared_max = 3
            for number in range(30):
                row = connection.execute(f"SELECT {number}, %s::int", [number]).fetchone()
                assert row == (number, number)


def check_many_executions_are_one_batch():
    for url in WORLDS:
        with connect(url) as connection:
            id = account(connection)
            update = "UPDATE account SET balance = balance + %s WHERE user_id = %s"
            with connection.cursor() as cursor:
                cursor.executemany(update, [(step, id) for step in range(50)])
                assert cursor.rowcount == 50
                cursor.executemany("SELECT %s::int", [(1,), (2,)], returning=True)
                assert [result.fetchone() for result in cursor.results()] == [(1,), (2,)]
            row = connection.execute("SELECT balance FROM account WHERE user_id = %s", [id]).fetchone()
            assert row == (100 + sum(range(50)),)


def check_a_pipeline_gives_its_results_in_order():
    for url in WORLDS:
        with connect(url) as connection:
            id = account(connection, 2, f"pipeline {key()}")
            with connection.pipeline():
                cursors = [connection.execute(NAME.replace("name", f"{n}, user_id"), [id]) for n in range(20)]
                connection.execute("UPDATE account SET balance = 1 WHERE user_id = %s", [id])
                balance = connection.execute("SELECT balance FROM account WHERE user_id = %s", [id])
            assert [cursor.fetchone() for cursor in cursors] == [(n, id) for n in range(20)]
            assert balance.fetchone() == (1,)


def check_an_error_in_a_pipeline_aborts_what_follows_up_to_its_sync():
    for url in WORLDS:
        with connect(url) as connection:
            id = account(connection, 1)
            with raises(errors.CheckViolation), connection.pipeline() as pipeline:
                kept = connection.execute("SELECT 1")
                pipeline.sync()
                connection.execute("UPDATE account SET balance = -1 WHERE user_id = %s", [id])
                aborted = connection.execute("UPDATE account SET balance = 5 WHERE user_id = %s", [id])
                pipeline.sync()
            assert kept.fetchone() == (1,)
            with raises(psycopg.Error):
                aborted.fetchone()
            row = connection.execute("SELECT balance FROM account WHERE user_id = %s", [id]).fetchone()
            assert row == (100,)
            assert connection.info.transaction_status == TransactionStatus.IDLE


def check_transactions_are_kept_or_undone():
    for url in WORLDS:
        with connect(url, autocommit=False) as connection, connect(url) as other:
            id = account(connection, 3)
            assert connection.info.transaction_status == TransactionStatus.INTRANS
            assert other.execute(NAME, [id]).fetchone() is None
            connection.commit()
            assert other.execute(NAME, [id]).fetchone() == (f"account {id}",)
            connection.execute("UPDATE account SET balance = 0 WHERE user_id = %s", [id])
            connection.rollback()
            row = other.execute("SELECT balance FROM account WHERE user_id = %s", [id]).fetchone()
            assert row == (100,)


def check_transactions_within_each_other_are_savepoints():
    for url in WORLDS:
        with connect(url) as connection:
            id = account(connection, 2)
            add = lambda amount: connection.execute(
                "UPDATE account SET balance = balance + %s WHERE user_id = %s", [amount, id]
            )
            with connection.transaction():
                add(1)
                with connection.transaction():
                    add(10)
                    with connection.transaction(force_rollback=True):
                        add(100)
                with raises(errors.CheckViolation), connection.transaction():
                    add(-1000)
                with connection.transaction("named one"):
                    add(1000)
            row = connection.execute("SELECT balance FROM account WHERE user_id = %s", [id]).fetchone()
            assert row == (1111,)


def check_isolation_and_read_only_are_those_asked_for():
    for url in WORLDS:
        with connect(url, autocommit=False) as connection:
            connection.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
            connection.read_only = True
            assert connection.execute("SHOW transaction_isolation").fetchone() == ("serializable",)
            with raises(errors.ReadOnlySqlTransaction):
                account(connection)


def check_rows_are_copied_in_and_out_where_nothing_is_sharded():
    rows = [(number, f"tab\t{number}", None) for number in range(5000)]
    with connect(PLAIN) as connection, connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS copied; CREATE TABLE copied (id int, name text, gone text)")
        for options in ("", "(FORMAT binary)"):
            with cursor.copy(f"COPY copied FROM STDIN {options}") as copy:
                copy.set_types(["int4", "text", "text"])
                for row in rows:
                    copy.write_row(row)
            assert cursor.rowcount == len(rows)
            with cursor.copy(f"COPY copied TO STDOUT {options}") as copy:
                copy.set_types(["int4", "text", "text"])
                assert sorted(copy.rows()) == rows
            cursor.execute("TRUNCATE copied")
        with raises(ZeroDivisionError), cursor.copy("COPY copied FROM STDIN") as copy:
            copy.write_row(rows[0])
            1 / 0
        assert cursor.execute("SELECT count(*) FROM copied").fetchone() == (0,)


def check_rows_of_one_key_are_copied_over_shards():
    with connect(SHOP) as connection, connection.cursor() as cursor:
        for shard in SHARDS:
            id = key(shard)
            with cursor.copy("COPY account (user_id, name, balance) FROM STDIN") as copy:
                copy.write_row((id, f"copied {id}", 3))
            query = "COPY (SELECT user_id, name FROM account WHERE user_id = %s) TO STDOUT"
            with cursor.copy(f"/* sharding_key: '{id}' */ {query}", [id]) as copy:
                assert list(copy.rows()) == [(str(id), f"copied {id}")]


def many(first, count=2000):
    """Rows for all shards, with everything in them that a format has to escape."""
    return [(first + n, f"tab\t{first + n}\n\\", n) for n in range(count)]


def copied(connection, rows):
    """What is there of these rows."""
    query = "SELECT user_id, name, balance FROM account WHERE user_id BETWEEN %s AND %s ORDER BY user_id"
    return connection.execute(query, [rows[0][0], rows[-1][0]]).fetchall()


FIRST_OF_MANY = 40_000_000


def check_rows_of_all_shards_are_copied_both_ways():
    for at, options in enumerate(["", "(FORMAT csv)", "(FORMAT binary)"]):
        rows = many(FIRST_OF_MANY + at * 10_000)
        with connect(SHOP) as connection, connection.cursor() as cursor:
            text = "csv" in options
            with cursor.copy(f"COPY account (user_id, name, balance) FROM STDIN {options}") as copy:
                if text:
                    for id, name, balance in rows:
                        copy.write(f'{id},"{name}",{balance}\n')
                else:
                    copy.set_types(["int4", "text", "int4"])
                    for row in rows:
                        copy.write_row(row)
            assert cursor.rowcount == len(rows), (options, cursor.rowcount)
            assert copied(connection, rows) == rows, options
            between = f"WHERE user_id BETWEEN {rows[0][0]} AND {rows[-1][0]}"
            query = f"SELECT user_id, name, balance FROM account {between}"
            with cursor.copy(f"COPY ({query}) TO STDOUT {options}") as copy:
                if text:
                    assert b"".join(copy).count(b"tab") == len(rows)
                else:
                    copy.set_types(["int4", "text", "int4"])
                    assert sorted(copy.rows()) == rows, options
            with cursor.copy(f"COPY ({query} ORDER BY user_id DESC LIMIT 10) TO STDOUT") as copy:
                copy.set_types(["int4", "text", "int4"])
                assert list(copy.rows()) == rows[::-1][:10]
            # A whole table comes out as one stream.
            with cursor.copy("COPY account (user_id, name) TO STDOUT (FORMAT binary)") as copy:
                copy.set_types(["int4", "text"])
                assert set(row[:2] for row in rows) <= set(copy.rows())


def check_named_cursors_read_all_shards():
    rows = many(FIRST_OF_MANY + 250_000)
    bounds = [rows[0][0], rows[-1][0]]
    among = "FROM account WHERE user_id BETWEEN %s AND %s"
    query = f"SELECT user_id, name, balance {among} ORDER BY user_id"
    with connect(SHOP, autocommit=False) as connection:
        with connection.cursor() as cursor, cursor.copy("COPY account (user_id, name, balance) FROM STDIN") as copy:
            copy.set_types(["int4", "text", "int4"])
            for row in rows:
                copy.write_row(row)
        for binary in (False, True):
            with connection.cursor("few") as cursor:
                cursor.itersize = 300
                assert list(cursor.execute(query, bounds, binary=binary)) == rows
            with connection.cursor("back", scrollable=True) as cursor:
                cursor.execute(query, bounds, binary=binary)
                assert cursor.fetchmany(5) == rows[:5]
                cursor.scroll(-3)
                assert cursor.fetchone() == rows[2]
                cursor.scroll(100, mode="absolute")
                assert cursor.fetchone() == rows[100]
            # Groups of all shards, and what one of them works out.
            for grouped in (f"SELECT balance %% 7, count(*) {among} GROUP BY 1 ORDER BY 1",
                            f"SELECT balance, rank() OVER (ORDER BY balance) {among} ORDER BY 1"):
                expected = connection.execute(grouped, bounds).fetchall()
                with connection.cursor("groups", scrollable=True) as cursor:
                    cursor.execute(grouped, bounds, binary=binary)
                    assert cursor.fetchmany(3) == expected[:3]
                    cursor.scroll(0, mode="absolute")
                    assert cursor.fetchall() == expected
        with connection.cursor("held", withhold=True) as cursor:
            cursor.execute(query, bounds)
            assert cursor.fetchmany(2) == rows[:2]
            connection.commit()
            assert cursor.fetchall() == rows[2:]


def check_a_copy_over_shards_that_fails_in_the_middle_leaves_nothing():
    rows = many(FIRST_OF_MANY + 100_000)
    with connect(SHOP) as connection, connection.cursor() as cursor:
        # The client gives up.
        with raises(ZeroDivisionError), cursor.copy("COPY account (user_id, name, balance) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
            1 / 0
        assert connection.info.transaction_status == TransactionStatus.IDLE
        assert copied(connection, rows) == []
        # A shard refuses a row: the client's own line is named.
        wrong = [*rows[:1000], (rows[1000][0], "insolvent", -1), *rows[1001:]]
        with raises(errors.CheckViolation) as refused:
            with cursor.copy("COPY account (user_id, name, balance) FROM STDIN") as copy:
                for row in wrong:
                    copy.write_row(row)
        assert "line 1001" in refused.error.diag.context, refused.error.diag.context
        assert refused.error.diag.constraint_name == "solvent"
        with raises(errors.InvalidTextRepresentation) as unreadable:
            with cursor.copy("COPY account (user_id, name, balance) FROM STDIN") as copy:
                copy.write(b"1\tx\t1\nmany\ty\t1\n")
        assert "line 2" in unreadable.error.diag.context, unreadable.error.diag.context
        assert copied(connection, rows) == []
        # A reader that gives up has it cancelled.
        with raises(ZeroDivisionError), cursor.copy("COPY account TO STDOUT") as copy:
            next(iter(copy))
            1 / 0
        assert connection.execute("SELECT 1").fetchone() == (1,)


def check_a_copy_over_shards_is_a_part_of_its_transaction():
    rows, more = many(FIRST_OF_MANY + 200_000), many(FIRST_OF_MANY + 300_000, 50)
    into = "COPY account (user_id, name, balance) FROM STDIN"

    def fill(connection, rows):
        with connection.cursor() as cursor, cursor.copy(into) as copy:
            for row in rows:
                copy.write_row(row)

    with connect(SHOP) as connection, connect(SHOP) as other:
        with raises(ZeroDivisionError), connection.transaction():
            fill(connection, rows)
            assert copied(connection, rows) == rows and copied(other, rows) == []
            1 / 0
        assert copied(connection, rows) == []
        with connection.transaction():
            fill(connection, rows)
            # What fails within a savepoint takes nothing else with it.
            with raises(errors.UniqueViolation), connection.transaction():
                fill(connection, [*more, rows[7]])
            with connection.transaction():
                fill(connection, more)
                connection.execute("UPDATE account SET balance = balance + 1 WHERE user_id = %s", [rows[0][0]])
            assert copied(other, rows) == []
        assert len(copied(other, rows)) == len(rows) and copied(other, more) == more
        with connection.transaction(), connection.cursor() as cursor:
            among = f"WHERE user_id BETWEEN {more[0][0]} AND {more[-1][0]}"
            connection.execute(f"DELETE FROM account {among}")
            with cursor.copy(f"COPY (SELECT count(*) FROM account {among}) TO STDOUT") as copy:
                assert b"".join(copy) == b"0\n"


def check_a_named_cursor_fetches_in_steps_on_one_shard():
    for url in WORLDS:
        with connect(url, autocommit=False) as connection:
            id = account(connection, 1, f"cursor {key()}")
            with connection.cursor("steps", scrollable=True) as cursor:
                cursor.itersize = 7
                cursor.execute(
                    "SELECT generate_series(1, 100) FROM account WHERE user_id = %s ORDER BY 1", [id]
                )
                assert [n for [n] in cursor] == list(range(1, 101))
                cursor.scroll(10, mode="absolute")
                assert cursor.fetchmany(2) == [(11,), (12,)]
            connection.commit()


def on_one_shard(body, url):
    """A block of code; where there are several shards it has no table that says which one is meant."""
    hint = "/* shard: 1 */ " if url == SHOP else ""
    return f"{hint}DO $$ BEGIN {body} END $$"


def check_notices_are_heard():
    for url in WORLDS:
        with connect(url) as connection:
            heard = []
            connection.add_notice_handler(lambda said: heard.append((said.severity, said.message_primary)))
            connection.execute(on_one_shard("RAISE NOTICE 'one'; RAISE WARNING 'two';", url))
            assert heard == [("NOTICE", "one"), ("WARNING", "two")]


def check_a_statement_is_cancelled():
    for url in WORLDS:
        for safe in (False, True):
            with connect(url) as connection, connect(url) as observer:
                running = threading.Event()

                def cancel():
                    running.wait()
                    connection.cancel_safe() if safe else connection.cancel()

                canceller = threading.Thread(target=cancel, daemon=True)
                canceller.start()
                connection.add_notice_handler(lambda _: running.set())
                with raises(errors.QueryCanceled):
                    connection.execute(on_one_shard("RAISE NOTICE 'running'; PERFORM pg_sleep(60);", url))
                canceller.join()
                assert connection.execute("SELECT 1").fetchone() == (1,)
                assert observer.execute("SELECT 2").fetchone() == (2,)


def check_errors_bring_every_field():
    for url in WORLDS:
        with connect(url) as connection:
            id = account(connection, 3)
            with raises(errors.UniqueViolation) as twice:
                connection.execute(INSERT, [id, None, 0])
            diagnostic = twice.error.diag
            assert (diagnostic.sqlstate, diagnostic.severity) == ("23505", "ERROR")
            assert diagnostic.constraint_name == "account_pkey"
            assert (diagnostic.schema_name, diagnostic.table_name) == ("public", "account")
            assert diagnostic.message_detail == f"Key (user_id)=({id}) already exists."
            assert diagnostic.source_function == "_bt_check_unique"
            with raises(errors.NotNullViolation) as nothing:
                connection.execute(INSERT, [key(1), None, None])
            assert nothing.error.diag.column_name == "balance"
            with raises(errors.UndefinedColumn) as unknown:
                connection.execute("SELECT nam FROM account WHERE user_id = %s", [id])
            assert unknown.error.diag.statement_position == "8"
            assert unknown.error.diag.message_hint


def check_notifications_are_heard():
    for url in WORLDS:
        with connect(url) as connection, connect(url) as other:
            connection.autocommit = other.autocommit = True
            connection.execute("LISTEN from_psycopg")
            other.execute("NOTIFY from_psycopg, 'one'")
            connection.execute("NOTIFY from_psycopg, 'two'")
            heard = list(connection.notifies(timeout=5, stop_after=2))
            assert [notify.payload for notify in heard] == ["one", "two"]
            own = connection.info.backend_pid
            assert [notify.pid == own for notify in heard] == [False, True]


def check_an_enum_is_known_by_its_own_name_where_nothing_is_sharded():
    with connect(PLAIN) as connection:
        info = EnumInfo.fetch(connection, "mood")
        register_enum(info, connection)
        id = account(connection)
        for binary in (False, True):
            update = "UPDATE account SET mood = %s WHERE user_id = %s"
            connection.execute(update, [info.enum.happy, id], binary=binary)
            query = "SELECT mood FROM account WHERE user_id = %s"
            assert connection.execute(query, [id], binary=binary).fetchone() == (info.enum.happy,)


def check_an_enums_labels_are_written_and_read_on_every_shard():
    with connect(SHOP) as connection:
        for shard in SHARDS:
            id = account(connection, shard)
            connection.execute("UPDATE account SET mood = %s WHERE user_id = %s", ["happy", id])
            query = "SELECT mood FROM account WHERE user_id = %s"
            assert connection.execute(query, [id]).fetchone() == ("happy",)


def check_rows_of_all_shards_come_in_order():
    with connect(SHOP, row_factory=dict_row) as connection:
        ids = [account(connection, shard % 4, f"gathered {key()}") for shard in range(20)]
        query = """SELECT user_id, balance FROM account WHERE user_id BETWEEN %s AND %s
            ORDER BY user_id DESC LIMIT 10"""
        for binary in (False, True):
            rows = connection.execute(query, [min(ids), max(ids)], binary=binary).fetchall()
            assert rows == [{"user_id": id, "balance": 100} for id in sorted(ids, reverse=True)[:10]], rows


if __name__ == "__main__":
    run(globals())
