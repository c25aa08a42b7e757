"""Remakes the input tables of the SQL cases: one folder of Parquet files per table in data/.

    python3 -m venv /tmp/sql-venv
    /tmp/sql-venv/bin/pip install pyarrow==26.0.1 duckdb==2.0.0
    /tmp/sql-venv/bin/python testdata/sql/make.py
    /tmp/sql-venv/bin/python testdata/sql/answers.py          # checks every answer

Every table is several files, so that machines have something to share out. No random numbers:
what looks like noise is a small multiplicative hash, the same everywhere.
"""

import datetime as dt
import decimal
import pathlib
import shutil
import struct

import pyarrow as pa
import pyarrow.parquet as pq

DATA = pathlib.Path(__file__).parent / "data"
UTC = dt.timezone.utc


def mix(i, modulo, salt=1):
    """A number below modulo that depends on i and salt alone."""
    x = (i * 2654435761 + salt * 40503 + 12345) & 0xFFFFFFFF
    x ^= x >> 15
    x = (x * 2246822519) & 0xFFFFFFFF
    x ^= x >> 13
    return x % modulo


def every(i, n, value):
    """The value, or null for each n-th row."""
    return None if i % n == n - 1 else value


def write(name, schema, rows, files):
    """One folder of `files` Parquet files, with the rows divided in order."""
    folder = DATA / name
    folder.mkdir(parents=True)
    table = pa.Table.from_pylist(rows, schema=schema)
    each = -(-len(rows) // files) if rows else 0
    for n in range(files):
        part = table.slice(n * each, each)
        pq.write_table(part, folder / f"part-{n}.parquet", compression="zstd")


def types():
    """Every type that Parquet and Arrow share, with some nulls in each column."""
    schema = pa.schema([
        ("id", pa.int64()), ("i8", pa.int8()), ("i16", pa.int16()), ("i32", pa.int32()),
        ("i64", pa.int64()), ("u8", pa.uint8()), ("u16", pa.uint16()), ("u32", pa.uint32()),
        ("u64", pa.uint64()), ("f32", pa.float32()), ("f64", pa.float64()),
        ("price", pa.decimal128(9, 2)), ("big", pa.decimal128(38, 10)), ("b", pa.bool_()),
        ("s", pa.string()), ("ls", pa.large_string()),
        ("code", pa.dictionary(pa.int32(), pa.string())), ("bin", pa.binary()),
        ("d", pa.date32()), ("t", pa.time64("us")), ("ts", pa.timestamp("us")),
        ("utc", pa.timestamp("us", tz="UTC")), ("ny", pa.timestamp("us", tz="America/New_York")),
    ])
    start = dt.datetime(2024, 2, 27, 22, 30)
    rows = []
    for i in range(240):
        moment = start + dt.timedelta(hours=7 * i, microseconds=mix(i, 1_000_000))
        rows.append({
            "id": i,
            "i8": every(i, 11, mix(i, 256) - 128),
            "i16": every(i, 13, mix(i, 65536) - 32768),
            "i32": every(i, 17, mix(i, 2**32) - 2**31),
            "i64": every(i, 19, (mix(i, 2**32) - 2**31) * 2**31 + mix(i, 2**31, 2)),
            "u8": every(i, 7, mix(i, 256, 3)),
            "u16": every(i, 9, mix(i, 65536, 4)),
            "u32": every(i, 10, mix(i, 2**32, 5)),
            "u64": every(i, 12, mix(i, 2**32, 6) * 2**31),
            "f32": every(i, 8, mix(i, 4000, 7) / 8 - 250),
            "f64": every(i, 14, mix(i, 100000, 8) / 7 - 5000),
            "price": every(i, 15, decimal.Decimal(mix(i, 2_000_000, 9) - 1_000_000).scaleb(-2)),
            "big": every(i, 16, decimal.Decimal(mix(i, 2**32, 10) * 10**17 + i).scaleb(-10)),
            "b": every(i, 5, mix(i, 3, 11) == 0),
            "s": every(i, 18, ["", "apple", "Banana", "cherry pie", "date's", "100%_x"][mix(i, 6, 12)]),
            "ls": every(i, 21, "x" * mix(i, 40, 13)),
            "code": every(i, 6, ["red", "green", "blue"][mix(i, 3, 14)]),
            "bin": every(i, 20, bytes([i % 256, mix(i, 256, 15), 0, 255])[: mix(i, 5, 16)]),
            "d": every(i, 22, moment.date()),
            "t": every(i, 23, moment.time()),
            "ts": every(i, 24, moment),
            "utc": every(i, 25, moment.replace(tzinfo=UTC)),
            "ny": every(i, 26, moment.replace(tzinfo=UTC)),
        })
    write("types", schema, rows, 4)


def joins():
    """Two sides with duplicates, nulls and unmatched keys."""
    schema = pa.schema([("id", pa.int64()), ("k", pa.int32()), ("s", pa.string()), ("x", pa.int64())])
    names = ["ä", "a", "日本", "", "z z", "É"]
    left = [{"id": i, "k": every(i, 9, mix(i, 80)), "s": every(i, 14, names[mix(i, 6, 2)]),
             "x": every(i, 21, mix(i, 1000, 3))} for i in range(600)]
    write("l", schema, left, 5)
    schema = pa.schema([("id", pa.int64()), ("k", pa.int64()), ("s", pa.string()), ("y", pa.int64())])
    right = [{"id": i, "k": every(i, 8, 40 + mix(i, 80, 4)), "s": every(i, 10, names[mix(i, 6, 5)]),
              "y": every(i, 17, mix(i, 1000, 6))} for i in range(250)]
    write("r", schema, right, 3)
    # A column without a null and one with: NOT IN differs by it.
    schema = pa.schema([("k", pa.int64()), ("n", pa.int64())])
    keys = [{"k": i * 3, "n": None if i == 7 else i * 3} for i in range(20)]
    write("keys", schema, keys, 2)


def nulls():
    """Three-valued logic and groups of nulls."""
    schema = pa.schema([("id", pa.int64()), ("a", pa.bool_()), ("b", pa.bool_()),
                        ("k", pa.int64()), ("s", pa.string()), ("none", pa.int64())])
    three = [True, False, None]
    rows = [{"id": i, "a": three[i % 3], "b": three[(i // 3) % 3],
             "k": None if mix(i, 3) == 0 else mix(i, 4, 2), "s": None if mix(i, 4, 3) == 0 else "v" + str(mix(i, 3, 4)),
             "none": None} for i in range(90)]
    write("nulls", schema, rows, 3)


def floats():
    """The values that compare strangely."""
    schema = pa.schema([("id", pa.int64()), ("g", pa.string()), ("x", pa.float64())])
    special = [float("nan"), float("inf"), float("-inf"), 0.0, -0.0, None, 1.5, -1.5, 1e300, 1e-300]
    rows = [{"id": i, "g": "abcd"[i % 4], "x": special[mix(i, 10)]} for i in range(60)]
    write("floats", schema, rows, 3)


def bits(text):
    """The float of these bits: NaN of either sign come from processors, and both go into files."""
    return struct.unpack(">d", bytes.fromhex(text))[0]


def ends():
    """Extreme numbers, floats that are equal but not identical, and text, some of it numeric."""
    schema = pa.schema([
        ("id", pa.int64()), ("g", pa.string()), ("tiny", pa.int8()), ("small", pa.int16()), ("i", pa.int32()),
        ("n", pa.int64()), ("u", pa.uint64()), ("money", pa.decimal128(38, 2)), ("x", pa.float64()),
        ("f", pa.float32()), ("y", pa.int64()), ("s", pa.string()),
    ])
    nan, minus_nan, odd_nan = bits("7ff8000000000000"), bits("fff8000000000000"), bits("7ff0000000000abc")
    floats = [0.0, -0.0, nan, minus_nan, odd_nan, 2.5, -2.5, float("inf"), float("-inf"), None]
    whole = [0, 1, -1, None, 7, -7]
    top = decimal.Decimal("9" * 36 + ".99")
    rows = []
    for i in range(60):
        def end(bits, signed=True):
            ends = [2 ** (bits - 1) - 1, -(2 ** (bits - 1))] if signed else [2 ** bits - 1, 0]
            return ends[i % 2] if i % 20 < 2 else abs(i) if not signed else whole[mix(i, 6, bits)]
        rows.append({
            "id": i, "g": "pqrs"[i // 15], "tiny": end(8), "small": end(16), "i": end(32), "n": end(64),
            "u": end(64, signed=False), "money": top if i % 20 == 0 else decimal.Decimal(i).scaleb(-2),
            "x": floats[mix(i, 10, 5)], "f": floats[mix(i, 10, 6)], "y": i % 4 - 1, "s": str(i) if i % 3 else f"no{i}",
        })
    write("ends", schema, rows, 3)


def skew():
    """Nine rows in ten have the same key."""
    schema = pa.schema([("id", pa.int64()), ("k", pa.int64()), ("v", pa.int64())])
    rows = [{"id": i, "k": 7 if mix(i, 10) else mix(i, 500, 2), "v": mix(i, 1000, 3)} for i in range(20000)]
    write("skew", schema, rows, 6)


def nested():
    """Lists, structs, maps and lists of structs, with nulls and empties at each level."""
    schema = pa.schema([
        ("id", pa.int64()), ("tags", pa.list_(pa.string())), ("nums", pa.list_(pa.int64())),
        ("point", pa.struct([("x", pa.int64()), ("y", pa.float64())])),
        ("attrs", pa.map_(pa.string(), pa.int64())),
        ("items", pa.list_(pa.struct([("sku", pa.string()), ("n", pa.int64())]))),
    ])
    rows = [{
        "id": i,
        "tags": every(i, 7, [None if mix(i + j, 5) == 0 else "t" + str(mix(i + j, 4, 2)) for j in range(mix(i, 4, 3))]),
        "nums": every(i, 5, [mix(i + j, 10, 4) for j in range(mix(i, 5, 5))]),
        "point": every(i, 6, {"x": mix(i, 10, 6), "y": every(i, 4, mix(i, 8, 7) / 4)}),
        "attrs": every(i, 8, [("a", i), ("b", None)][: mix(i, 3, 8)]),
        "items": every(i, 9, [{"sku": "s" + str(mix(i + j, 3, 9)), "n": j} for j in range(mix(i, 3, 10))]),
    } for i in range(48)]
    write("nested", schema, rows, 4)


def small():
    """No rows (but files), one row, text of many scripts, 500 columns, a tree."""
    plain = pa.schema([("id", pa.int64()), ("k", pa.int64()), ("s", pa.string())])
    write("empty", plain, [], 3)
    write("one", plain, [{"id": 1, "k": 42, "s": "only"}], 1)
    words = ["naïve", "NAÏVE", "Straße", "STRASSE", "日本語テキスト", "한국어", "Ελληνικά", "עברית", "🚀", "👩‍🚀 astro",
             "e\u0301", "é", "İstanbul", "ı", "ﬁ", "a\tb", "a\nb", "'", '"', "\\", "%", "_", " ", "", "Ω", "ω", "z", "Z"]
    text = pa.schema([("id", pa.int64()), ("s", pa.string()), ("n", pa.int64())])
    write("words", text, [{"id": i, "s": words[i % len(words)], "n": mix(i, 9)} for i in range(84)], 3)
    wide = pa.schema([("id", pa.int64())] + [(f"c{n}", pa.int32()) for n in range(499)])
    write("wide", wide, [{"id": i} | {f"c{n}": i * n % 97 for n in range(499)} for i in range(90)], 3)
    tree = pa.schema([("id", pa.int64()), ("parent", pa.int64()), ("name", pa.string())])
    write("tree", tree, [{"id": i, "parent": None if i == 0 else (i - 1) // 3, "name": f"n{i}"} for i in range(100)], 4)


def events():
    """Timestamps around two clock changes in New York, for windows and time zones."""
    schema = pa.schema([("id", pa.int64()), ("who", pa.string()), ("utc", pa.timestamp("us", tz="UTC")),
                        ("amount", pa.decimal128(12, 2)), ("score", pa.int64())])
    start = dt.datetime(2023, 3, 11, 3, 15, tzinfo=UTC)
    rows = [{"id": i, "who": ["ann", "bob", "cat", "dan", "eve"][mix(i, 5)],
             "utc": start + dt.timedelta(minutes=97 * i * 12), "amount": every(i, 11, decimal.Decimal(mix(i, 100000, 2)).scaleb(-2)),
             "score": mix(i, 6, 3)} for i in range(320)]
    write("events", schema, rows, 4)


if DATA.exists():
    shutil.rmtree(DATA)
for make in [types, joins, nulls, floats, ends, skew, nested, small, events]:
    make()
