"""Runs the differential tester's queries on DuckDB and SQLite.

Reads one JSON object a line: {"tables": folder} reads every folder of Parquet files in there as a table of
that name, {"sql": ..., "engine": "duckdb" | "sqlite"} asks. Answers {"rows": [[text or null]]} or
{"error": text}, a line each.
"""

import datetime
import decimal
import json
import math
import pathlib
import sqlite3
import sys
import threading

import duckdb

# Time limit of a query in seconds.
PATIENCE = 20


def text(value):
    """A value in the tester's format."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if math.isnan(value):
            return "NaN"
        if math.isinf(value):
            return "inf" if value > 0 else "-inf"
        return repr(value)
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, datetime.datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, list):
        return "[" + ", ".join("null" if v is None else text(v) for v in value) + "]"
    return str(value)


class Oracle:
    def __init__(self):
        self.duck = duckdb.connect()
        self.duck.execute("SET threads = 1; SET TimeZone = 'UTC'; SET enable_progress_bar = false")
        self.duck.execute("SET default_null_order = 'nulls_last_on_asc_first_on_desc'")
        self.duck.execute("SET memory_limit = '2GB'; SET max_temp_directory_size = '0GB'")
        self.duck.execute("SET ieee_floating_point_ops = true")
        self.lite = sqlite3.connect(":memory:")
        self.lite.execute("PRAGMA case_sensitive_like = on")

    def tables(self, folder):
        for path in sorted(pathlib.Path(folder).iterdir()):
            name = path.name
            self.duck.execute(f"CREATE OR REPLACE TABLE {name} AS SELECT * FROM read_parquet('{path}/*.parquet')")
            columns = self.duck.execute(f"DESCRIBE {name}").fetchall()
            # SQLite has the columns whose values it has.
            plain = [c[0] for c in columns if c[1] in ("TINYINT", "INTEGER", "BIGINT", "VARCHAR")]
            rows = self.duck.execute(f"SELECT {', '.join(plain)} FROM {name}").fetchall()
            self.lite.execute(f"DROP TABLE IF EXISTS {name}")
            self.lite.execute(f"CREATE TABLE {name} ({', '.join(plain)})")
            marks = ", ".join("?" for _ in plain)
            self.lite.executemany(f"INSERT INTO {name} VALUES ({marks})", rows)
        return {"rows": []}

    def ask(self, sql, engine):
        connection = self.duck if engine == "duckdb" else self.lite
        # What takes longer has no answer: it would hold up all others.
        late = threading.Timer(PATIENCE, connection.interrupt)
        late.start()
        try:
            rows = connection.execute(sql).fetchall()
        finally:
            late.cancel()
        return {"rows": [[text(value) for value in row] for row in rows]}


def main():
    oracle = Oracle()
    for line in sys.stdin:
        question = json.loads(line)
        try:
            if "tables" in question:
                answer = oracle.tables(question["tables"])
            else:
                answer = oracle.ask(question["sql"], question["engine"])
        except Exception as e:  # whatever an engine says is an answer
            answer = {"error": f"{type(e).__name__}: {e}"}
        print(json.dumps(answer), flush=True)


main()
