"""Makes the answers to the 22 TPC-H queries, with which the tests compare ours.

    bigsql tpch generate --sf 0.01 --out /tmp/tpch-0.01
    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install duckdb
    /tmp/venv/bin/python answers.py /tmp/tpch-0.01 sf0.01

The first argument is the folder of Parquet files, the second the folder for the answers. The
queries are those of the engine. Every value is written as text that loses nothing; the header
names the kind of each column (int, decimal, float, date, text).
"""

import csv
import datetime
import decimal
import pathlib
import re
import sys

import duckdb

TABLES = "nation region part supplier partsupp customer orders lineitem".split()
QUERIES = pathlib.Path(__file__).parent / "../../engine/src/tpch/queries"


def kind(type_name):
    name = type_name.upper()
    if name.startswith("DECIMAL"):
        return "decimal"
    if name in ("DOUBLE", "FLOAT"):
        return "float"
    if name == "DATE":
        return "date"
    if name == "VARCHAR":
        return "text"
    assert "INT" in name, name
    return "int"


def text(value):
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, datetime.date):
        return value.isoformat()
    assert value is not None and isinstance(value, (int, str)), value
    return str(value)


def check_cut(connection, n, sql, rows):
    """Fails if a row beyond the limit ties with the last row."""
    cut = re.search(r"order by (.*)\nlimit (\d+)", sql)
    if cut is None or len(rows) < int(cut[2]):
        return
    whole = sql.replace(cut[0], f"order by {cut[1]}")
    more = connection.sql(whole)
    keys = [key.split()[0] for key in cut[1].split(", ")]
    places = [more.columns.index(key) for key in keys]
    found = more.fetchall()
    limit = int(cut[2])
    if len(found) > limit:
        last, next_ = found[limit - 1], found[limit]
        assert [last[i] for i in places] != [next_[i] for i in places], f"query {n} has a tie"


def main(data, out):
    connection = duckdb.connect()
    for table in TABLES:
        connection.sql(f"create view {table} as from '{data}/{table}/*.parquet'")
    folder = pathlib.Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(1, 23):
        sql = (QUERIES / f"q{n:02}.sql").read_text().strip()
        answer = connection.sql(sql)
        header = [f"{c}:{kind(str(t))}" for c, t in zip(answer.columns, answer.types)]
        rows = answer.fetchall()
        check_cut(connection, n, sql, rows)
        with open(folder / f"q{n:02}.csv", "w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(header)
            # A single empty value would be an empty line.
            writer.writerows(["" if v is None else text(v) for v in row] for row in rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
