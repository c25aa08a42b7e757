"""One engine as a process: reads a request per line from standard input, answers on standard output.

    {"sql": "...", "to": "result.arrow"}   ->   {"seconds": 0.12, "rows": 10}   or   {"error": "..."}

The time is from the text of the query to its last row in memory. With "to", the result is also
written to that file, outside of the measured time. `compared.rs` is the same for Bigslice.

    python peers.py duckdb|polars|datafusion FOLDER CORES
"""

import json
import os
import sys
import time
from pathlib import Path


def tables(folder):
    """The tables of a folder: a folder of Parquet files, or one file, for each."""
    for entry in sorted(Path(folder).iterdir()):
        if entry.is_dir():
            yield entry.name, str(entry / "*.parquet")
        elif entry.suffix == ".parquet":
            yield entry.stem, str(entry)


def duckdb(folder, cores):
    import duckdb

    connection = duckdb.connect()
    connection.execute(f"SET threads = {cores}")
    # The order of rows is that of ORDER BY, as in the other engines.
    connection.execute("SET preserve_insertion_order = false")
    for name, files in tables(folder):
        connection.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet('{files}')")
    return lambda sql: connection.execute(sql).to_arrow_table()


def polars(folder, cores):
    os.environ["POLARS_MAX_THREADS"] = str(cores)
    import polars

    frames = {name: polars.scan_parquet(files) for name, files in tables(folder)}
    context = polars.SQLContext(frames=frames)
    return lambda sql: context.execute(sql, eager=False).collect(engine="streaming").to_arrow()


def datafusion(folder, cores):
    import datafusion
    import pyarrow

    config = datafusion.SessionConfig().with_target_partitions(cores)
    context = datafusion.SessionContext(config)
    for name, files in tables(folder):
        context.register_parquet(name, files.removesuffix("*.parquet"))

    def run(sql):
        frame = context.sql(sql)
        batches = frame.collect()
        # The rows may have a stricter schema than the plan.
        return pyarrow.Table.from_batches(batches, None if batches else frame.schema())

    return run


ENGINES = {"duckdb": duckdb, "polars": polars, "datafusion": datafusion}


def write(table, path):
    import pyarrow.feather

    pyarrow.feather.write_feather(table, path, compression="uncompressed")


def main():
    engine, folder, cores = sys.argv[1:4]
    run = ENGINES[engine](folder, int(cores))
    # Libraries may print: standard output is for answers only.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            start = time.perf_counter()
            table = run(request["sql"])
            answer = {"seconds": time.perf_counter() - start, "rows": table.num_rows}
            if request.get("to"):
                write(table, request["to"])
            del table
        except BaseException as error:  # Polars panics with an exception of its own.
            answer = {"error": " ".join(str(error).split())[:300] or type(error).__name__}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
