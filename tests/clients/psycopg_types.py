"""Types of one's own, registered by psycopg 3 as it reads them from the catalogs."""

import os
from enum import Enum

import psycopg
from psycopg.types.composite import CompositeInfo, register_composite
from psycopg.types.enum import EnumInfo, register_enum
from psycopg.types.range import Range, RangeInfo, register_range


class Mood(Enum):
    sad = "sad"
    ok = "ok"
    happy = "happy"


class Hue(Enum):
    red = "red"
    green = "green"
    blue = "blue"


with psycopg.connect(os.environ["SHOP_URL"], autocommit=True) as connection:
    register_enum(EnumInfo.fetch(connection, "mood"), connection, Mood)
    register_enum(EnumInfo.fetch(connection, "hue"), connection, Hue)
    spot = CompositeInfo.fetch(connection, "spot")
    register_composite(spot, connection)
    register_range(RangeInfo.fetch(connection, "span"), connection)
    Spot = spot.python_type
    row = (
        Mood.ok,
        Hue.blue,
        [Mood.ok, None, Mood.sad],
        Spot(1, Mood.ok, [Hue.red, None]),
        [Spot(1, Mood.happy, [Hue.blue, Hue.green]), None, Spot(None, None, None)],
        [Mood.happy],
        Range(Spot(1, Mood.ok, [Hue.red]), Spot(2, Mood.sad, []), "[)"),
    )
    columns = "m, h, ms, s, ss, d, r"
    for key in range(1000, 1024):
        for format in "sbt":
            places = ", ".join([f"%{format}"] * (len(row) + 1))
            connection.execute("DELETE FROM written WHERE user_id = %s", [key])
            # A range of composites has no binary dumper of its own.
            values = row if format != "b" else row[:-1] + (row[-1],)
            connection.execute(f"INSERT INTO written (user_id, {columns}) VALUES ({places})", [key, *values])
            for binary in (False, True):
                query = f"SELECT {columns} FROM written WHERE user_id = %s"
                read = connection.execute(query, [key], binary=binary).fetchone()
                assert read == row, (key, format, binary, read)
    for binary in (False, True):
        query = f"SELECT {columns} FROM written WHERE user_id >= 1000 ORDER BY user_id"
        read = connection.execute(query, binary=binary).fetchall()
        assert read == [row] * 24, (binary, read)
    for binary in (False, True):
        query = "SELECT DISTINCT s FROM written WHERE user_id >= 1000"
        assert connection.execute(query, binary=binary).fetchall() == [(row[3],)]
    connection.execute("DELETE FROM written WHERE user_id >= 1000")
print("every type was known")
