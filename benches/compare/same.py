"""Compares results: the same rows in any order, with numbers that differ by rounding."""

import datetime
import decimal
import math

import pyarrow
import pyarrow.compute

# Results with more rows are compared by what their columns add up to.
ROWS_MAX = 100_000


def read(path):
    """The rows of an Arrow file, sorted, as tuples of texts, numbers and None."""
    with pyarrow.memory_map(path) as file:
        table = pyarrow.ipc.open_file(file).read_all()
    if table.num_rows > ROWS_MAX:
        return [(float(table.num_rows),)] + [summary(column) for column in table.columns]
    columns = [[plain(value) for value in column.to_pylist()] for column in table.columns]
    return sorted(zip(*columns), key=key)


def summary(column):
    """Nulls and, for numbers, the sum; for others the number of values."""
    kind = column.type
    if pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind):
        total = pyarrow.compute.sum(column.cast("float64")).as_py()
    elif pyarrow.types.is_decimal(kind):
        total = float(pyarrow.compute.sum(column).as_py() or 0)
    else:
        total = pyarrow.compute.count_distinct(column.cast("string")).as_py()
    return (float(column.null_count), float(total or 0))


def plain(value):
    if isinstance(value, (bool, int, decimal.Decimal)):
        return float(value)
    if isinstance(value, datetime.datetime):
        value = value.replace(tzinfo=None)
        return value.date().isoformat() if value.time() == datetime.time.min else value.isoformat()
    if isinstance(value, datetime.date):
        return value.isoformat()
    return value


def key(row):
    """Texts first, then numbers without the digits that rounding changes."""
    return (
        [value or "" for value in row if not isinstance(value, float)],
        [float(f"{value:.7g}") for value in row if isinstance(value, float)],
    )


def difference(left, right):
    """What differs, as a text; None if nothing does."""
    if len(left) != len(right):
        return f"{len(right)} rows, not {len(left)}"
    for index, (expected, found) in enumerate(zip(left, right)):
        if len(expected) != len(found):
            return f"{len(found)} columns, not {len(expected)}"
        if not all(is_same(a, b) for a, b in zip(expected, found)):
            return f"row {index}: {found}, not {expected}"
    return None


def is_same(left, right):
    if isinstance(left, float) and isinstance(right, float):
        both = math.isnan(left) and math.isnan(right)
        return both or math.isclose(left, right, rel_tol=1e-6, abs_tol=1e-6)
    return left == right
