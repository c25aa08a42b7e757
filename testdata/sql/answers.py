"""Derives the answers of the SQL cases from an independent engine (DuckDB), never from ours.

    answers.py            compares every answer with DuckDB's; says where they differ
    answers.py --write    fills in the answers of the records that have none yet

A comment right above a record says how it was answered where the two engines do not speak the
same SQL:

    # duckdb: SELECT ...        DuckDB answers this instead (further lines: "#   ...")
    # by hand: why              the answer was worked out by hand from what SQL or we promise

make.py says how to get the two packages this needs.
"""

import datetime as dt
import decimal
import pathlib
import sys

import duckdb
import pyarrow as pa

HERE = pathlib.Path(__file__).parent


def connect():
    """DuckDB with the same tables and the same habits: nulls ordered as in PostgreSQL, UTC."""
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'; SET threads = 2")
    con.execute("SET default_null_order = 'nulls_last_on_asc_first_on_desc'")
    folders = [*sorted((HERE / "data").iterdir()), HERE.parent / "flights" / "flights"]
    for path in [*folders, *sorted((HERE.parent / "flights").glob("*.parquet"))]:
        files = f"{path}/*.parquet" if path.is_dir() else path
        con.execute(f"CREATE VIEW {path.stem} AS SELECT * FROM read_parquet('{files}')")
    return con


def number(x):
    """A float as the driver prints it: nine significant digits, an exponent only if far from 1."""
    if x != x:
        return "NaN"
    if x in (float("inf"), float("-inf")):
        return "inf" if x > 0 else "-inf"
    text = f"{x:.8e}"
    if x == 0 or 1e-5 <= abs(x) < 1e17:
        return plain(decimal.Decimal(text))
    digits, exponent = text.split("e")
    return f"{plain(decimal.Decimal(digits))}e{int(exponent)}"


def plain(x):
    """A decimal without exponent and without zeros at its end."""
    text = format(x, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def moment(text):
    """Without zeros at the end of a fraction."""
    return text.rstrip("0").rstrip(".") if "." in text else text


def cell(value, kind):
    """One value as the driver (tests/sql/cells.rs) prints it."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        text = value.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t")
        return text if text.strip() else "(blank)" if text else "(empty)"
    if pa.types.is_floating(kind):
        return number(value)
    if isinstance(value, decimal.Decimal):
        return plain(value)
    if isinstance(value, dt.datetime):
        if value.tzinfo:
            return moment(value.astimezone(dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")) + "Z"
        return moment(value.strftime("%Y-%m-%dT%H:%M:%S.%f"))
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, dt.time):
        return moment(value.strftime("%H:%M:%S.%f"))
    if isinstance(value, bytes):
        return value.hex() or "(empty)"
    if pa.types.is_map(kind):
        pairs = [f"{cell(k, kind.key_type)}: {cell(v, kind.item_type)}" for k, v in value]
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(cell(v, kind.value_type) for v in value) + "]"
    if isinstance(value, dict):
        pairs = [f"{f.name}: {cell(value[f.name], f.type)}" for f in kind]
        return "{" + ", ".join(pairs) + "}"
    return str(value)


def letter(kind):
    """The type letter of a column."""
    if pa.types.is_integer(kind) or (pa.types.is_decimal(kind) and kind.scale == 0):
        return "I"
    return "R" if pa.types.is_floating(kind) or pa.types.is_decimal(kind) else "T"


def answer(con, sql, sort):
    """The type letters and the lines of DuckDB's answer."""
    table = con.sql(sql).to_arrow_table()
    columns = [[cell(v, c.type) for v in c.to_pylist()] for c in table.columns]
    rows = list(map(list, zip(*columns)))
    if sort == "rowsort":
        rows.sort()
    lines = [" ".join(" ".join(cell.split()) for cell in row) for row in rows]
    return "".join(letter(c.type) for c in table.columns), lines


def override(comments):
    """DuckDB's own wording of a record, or None."""
    found = None
    for line in comments:
        if line.startswith("# duckdb:"):
            found = [line[len("# duckdb:"):]]
        elif found is not None and line.startswith("#  "):
            found.append(line[1:])
        else:
            continue
    return "\n".join(found) if found else None


def check(con, path, write):
    """One file; returns how many of its answers are wrong and how many were compared."""
    wrong = compared = 0
    blocks = path.read_text().split("\n\n")
    mode = None
    for n, block in enumerate(blocks):
        lines = block.strip("\n").split("\n")
        comments = [line for line in lines if line.startswith("#")]
        body = [line for line in lines if not line.startswith("#")]
        if body and body[0].startswith("control sortmode"):
            mode = body[0].split()[2]
            continue
        if body and body[0] == "statement ok" and mode is None:
            con.execute("\n".join(body[1:]))
            continue
        if not body or not body[0].startswith("query") or body[0].startswith("query error"):
            continue
        if any(line.startswith("# by hand") for line in comments):
            continue
        head = body[0].split()
        sort = head[2] if len(head) > 2 else mode
        empty = "----" not in body
        cut = len(body) if empty else body.index("----")
        sql = override(comments) or "\n".join(body[1:cut])
        try:
            letters, rows = answer(con, sql, sort)
        except Exception as err:
            print(f"{path.name}: {err}\n  {sql}\n")
            wrong += 1
            continue
        compared += 1
        if empty and write:
            head[1] = letters if head[1] == "?" else head[1]
            blocks[n] = "\n".join([*comments, " ".join(head), *body[1:], "----", *rows])
        elif [" ".join(line.split()) for line in body[cut + 1:]] != rows:
            wrong += 1
            print(f"{path.name}: {sql}\n  expected {body[cut + 1:]}\n  DuckDB   {rows}\n")
    if write:
        path.write_text("\n\n".join(blocks).rstrip("\n") + "\n")
    return wrong, compared


def main():
    """Checks the files named, or all."""
    names = [pathlib.Path(a) for a in sys.argv[1:] if not a.startswith("--")]
    con = connect()
    totals = [check(con, p, "--write" in sys.argv) for p in names or sorted(HERE.glob("*.slt"))]
    print(f"{sum(c for _, c in totals)} answers compared, {sum(w for w, _ in totals)} wrong")
    sys.exit(any(w for w, _ in totals))


main()
