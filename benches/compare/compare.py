"""Races Bigslice against DuckDB, Polars and DataFusion over one folder of Parquet files.

    python3 benches/compare/compare.py                        TPC-H SF 1, all engines
    python3 benches/compare/compare.py --set clicks --rounds 5
    python3 benches/compare/compare.py --size 10 --engines ours,polars --queries 17,18 --profile

The engines are processes. Each query runs on all of them in turn before the next one does, so that
outside load affects all; the engine that begins changes from round to round. The first round does
not count: its results are compared, and a query counts for an engine only if its result is that of
the others.

Prints, for each query, the least and the median time of each engine, then sums, CPU time, peak
memory, and ratios. Needs python3 with venv, cargo, and PyPI for the first run. CPU time and memory
are those of the whole process tree, and are measured on Linux only.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
PEERS = ["duckdb==2.0.1", "polars==2.1.0", "datafusion==55.0.0", "pyarrow"]
SIZES = {"tpch": 1, "groupby": 10_000_000, "join": 10_000_000, "clicks": 5_000_000, "sales": 5_000_000}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--set", default="tpch", choices=SIZES, help="the queries and their tables")
    parser.add_argument("--size", type=float, help="scale factor of TPC-H; otherwise rows")
    parser.add_argument("--data", help="a folder with the tables, instead of generated ones")
    parser.add_argument(
        "--engines",
        default="ours,workers,duckdb,polars,datafusion",
        help="the engines, separated by commas: ours[@PROGRAM][:KEY=VALUE+KEY=VALUE], workers, duckdb, polars, datafusion",
    )
    parser.add_argument("--workers", type=int, default=2, help="the processes of the engine workers")
    parser.add_argument("--cores", type=int, help="use this many cores [default: all]")
    parser.add_argument("--rounds", type=int, default=3, help="the rounds that count")
    parser.add_argument("--queries", help="the numbers of the queries, separated by commas")
    parser.add_argument("--profile", action="store_true", help="show where our time goes, and the least that the scans cost")
    parser.add_argument("--json", help="write the figures to this file")
    parser.add_argument("--svg", help="write a bar chart to this file")
    return parser.parse_args()


def environment():
    """The Python of a virtual environment with the peers."""
    venv = TARGET / "compare-venv"
    python = venv / "bin" / "python"
    marker = venv / ".installed"
    wanted = "\n".join(PEERS)
    if not marker.exists() or marker.read_text() != wanted:
        print("installing", ", ".join(PEERS), file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PEERS], check=True)
        marker.write_text(wanted)
    return str(python)


def programs():
    """Builds our side, and returns the two programs: bigsql and the engine process."""
    subprocess.run(
        ["cargo", "build", "--release", "-p", "bigsql", "-p", "bigslice-benches", "--bin", "bigsql", "--bin", "compared"], cwd=ROOT, check=True
    )
    return str(TARGET / "release" / "bigsql"), str(TARGET / "release" / "compared")


def queries(args, bigsql):
    """Pairs of a number and a text."""
    if args.set == "tpch":
        def text(n):
            command = [bigsql, "tpch", "query", str(n)]
            return subprocess.run(command, check=True, capture_output=True, text=True).stdout

        texts = [text(n).strip().rstrip(";") for n in range(1, 23)]
    else:
        lines = (HERE / "queries" / f"{args.set}.sql").read_text().splitlines()
        texts = [line.rstrip(";") for line in lines if line and not line.startswith("--")]
    numbered = list(enumerate(texts, 1))
    if args.queries:
        chosen = [int(n) for n in args.queries.split(",")]
        numbered = [(n, text) for n, text in numbered if n in chosen]
    return numbered


def main():
    args = arguments()
    python = environment()
    if Path(sys.executable) != Path(python):
        os.execv(python, [python, str(HERE / "compare.py"), *sys.argv[1:]])
    import data
    import profile_of
    import report
    from race import Race

    bigsql, compared = programs()
    size = args.size or SIZES[args.set]
    folder = args.data or str(TARGET / "compare-data" / f"{args.set}-{size:g}")
    if not args.data:
        data.write(args.set, size, folder, bigsql)
    cores = sorted(os.sched_getaffinity(0))[: args.cores]
    os.sched_setaffinity(0, cores)
    commands = {}
    for engine in args.engines.split(","):
        name, _, setting = engine.partition(":")
        name, _, program = name.partition("@")
        settings = [word for pair in setting.split("+") if pair for word in ("--set", pair)]
        commands[engine] = {
            "ours": [program or compared, folder, *settings],
            "workers": [program or compared, folder, "--workers", str(args.workers), *settings],
        }.get(name) or [python, str(HERE / "peers.py"), name, folder, str(len(cores))]
    with Race(commands) as race:
        for number, text in queries(args, bigsql):
            race.run(number, text, args.rounds)
            print(report.line(race, number), file=sys.stderr)
        figures = report.figures(race, title=f"{args.set} {size:g}", cores=len(cores), rounds=args.rounds)
        print(report.table(figures))
        if args.profile:
            engine = race.engines.get("ours") or next(iter(race.engines.values()))
            print(profile_of.table(engine, dict(queries(args, bigsql)), folder))
    if args.json:
        report.write_json(figures, args.json)
    if args.svg:
        report.write_svg(figures, args.svg)


if __name__ == "__main__":
    main()
