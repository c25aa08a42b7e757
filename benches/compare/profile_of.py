"""Where the time of our engine goes, and what the scans of a query cost at least."""

import glob
import re
import tempfile
import time
from pathlib import Path

import pyarrow.parquet
from peers import tables

# Classes of operators, by the beginning of their names.
CLASSES = {
    "DataSourceExec": "decode", "FilterExec": "filter", "Projection": "filter", "HashJoin": "join",
    "NestedLoopJoin": "join", "CrossJoin": "join", "SortMergeJoin": "join", "SymmetricHashJoin": "join",
    "Aggregate": "aggregate", "Sort": "sort", "Window": "sort", "BoundedWindow": "sort",
    "Repartition": "exchange", "Coalesce": "exchange", "Network": "exchange", "Broadcast": "exchange",
    "Distributed": "exchange",
}
UNITS = {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0}
TIME = re.compile(r"\b(\w+)=([0-9.]+)(ns|µs|ms|s)\b")
SCAN = re.compile(r"TableScan: (\w+) projection=\[([^\]]*)\]")


def table(engine, queries, folder):
    """For each query: planning, the time of each class of operators, and the bound of its scans."""
    decoders = Decoders(folder)
    classes = ["plan", "decode", "filter", "join", "aggregate", "sort", "exchange", "other"]
    lines = ["seconds of our operators, all partitions together; bound: CPU seconds to decode the columns it reads once"]
    lines.append("query  " + "  ".join(name.rjust(9) for name in classes) + "     bound")
    sums = dict.fromkeys([*classes, "bound"], 0.0)
    for number, sql in queries.items():
        spent = dict.fromkeys(classes, 0.0)
        planned = text_of(engine, f"EXPLAIN {sql}", spent)
        for line in text_of(engine, f"EXPLAIN ANALYZE {sql}").splitlines():
            add(line.strip(), spent)
        bound = sum(
            decoders.cost(name, column.strip())
            for name, columns in set(SCAN.findall(planned))
            for column in columns.split(",") if column.strip()
        )
        for name in classes:
            sums[name] += spent[name]
        sums["bound"] += bound
        lines.append(f"{number:>5}  " + "  ".join(f"{spent[name]:9.3f}" for name in classes) + f"  {bound:8.3f}")
    lines.append("  sum  " + "  ".join(f"{sums[name]:9.3f}" for name in classes) + f"  {sums['bound']:8.3f}")
    return "\n".join(lines)


def text_of(engine, sql, spent=None):
    """The text that EXPLAIN returns; its time goes to `spent` as that of planning."""
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "plan.arrow")
        answer = engine.run(sql, to=file)
        if "error" in answer:
            return ""
        if spent is not None:
            spent["plan"] += answer["seconds"]
        with pyarrow.memory_map(file) as mapped:
            rows = pyarrow.ipc.open_file(mapped).read_all().to_pylist()
    return "\n".join(str(value) for row in rows for value in row.values())


def add(line, spent):
    """Adds the times of an operator's line of EXPLAIN ANALYZE."""
    times = {name: float(number) * UNITS[unit] for name, number, unit in TIME.findall(line)}
    if not times:
        return
    kind = next((kind for start, kind in CLASSES.items() if line.startswith(start)), "other")
    # Scans decode in a stream of their own.
    spent[kind] += times.get("time_elapsed_processing", times.get("elapsed_compute", 0.0))
    spent["exchange"] += sum(times.get(name, 0.0) for name in ("repartition_time",))


class Decoders:
    """What decoding a column costs at least, with the fastest of the decoders at hand."""

    def __init__(self, folder):
        import duckdb

        self.files = dict(tables(folder))
        self.connection = duckdb.connect()
        self.costs = {}

    def cost(self, table, column):
        """CPU seconds."""
        if (table, column) not in self.costs:
            decoders = [self.arrow, self.duckdb]
            self.costs[table, column] = min(timed(d, table, column) for d in decoders for _ in range(2))
        return self.costs[table, column]

    def arrow(self, table, column):
        for path in glob.glob(self.files[table]):
            for _ in pyarrow.parquet.ParquetFile(path).iter_batches(columns=[column]):
                pass

    def duckdb(self, table, column):
        rows = self.connection.sql(f"""SELECT "{column}" FROM read_parquet('{self.files[table]}')""")
        for _ in rows.to_arrow_reader(65536):
            pass


def timed(decoder, table, column):
    start = time.process_time()
    decoder(table, column)
    return time.process_time() - start
