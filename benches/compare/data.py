"""Writes the tables of a set as Parquet. The same size gives the same rows."""

import subprocess
from pathlib import Path

# A number in 0..n that looks random, for row i of column `of`.
DRAWN = "CREATE MACRO drawn(i, n, \"of\") AS (hash(i, \"of\") % n::UBIGINT)::BIGINT"
# The same, with few values that are frequent and many that are rare.
SKEWED = (
    'CREATE MACRO skewed(i, n, "of") AS '
    "floor(n * pow((hash(i, \"of\") % 1000003) / 1000003.0, 4))::BIGINT"
)

GROUPBY = {
    "x": """SELECT format('id{:03d}', drawn(i, 100, 1) + 1) AS id1,
        format('id{:03d}', drawn(i, 100, 2) + 1) AS id2,
        format('id{:010d}', drawn(i, {n} // 100, 3) + 1) AS id3,
        drawn(i, 100, 4) + 1 AS id4, drawn(i, 100, 5) + 1 AS id5,
        drawn(i, {n} // 100, 6) + 1 AS id6,
        (drawn(i, 5, 7) + 1)::INT AS v1, (drawn(i, 15, 8) + 1)::INT AS v2,
        round(drawn(i, 100000000, 9) / 1e6, 6) AS v3
        FROM range({n}) AS t(i)""",
}

JOIN = {
    "x": """SELECT drawn(i, greatest({n} // 1000000, 10), 1) AS id1,
        drawn(i, {n} // 1000, 2) AS id2, drawn(i, {n}, 3) AS id3,
        format('id{:d}', drawn(i, {n} // 1000, 5)) AS id5, drawn(i, 10000, 6) / 100.0 AS v1
        FROM range({n}) AS t(i)""",
    "small": "SELECT i AS id1, drawn(i, 10000, 7) / 100.0 AS v2 "
    "FROM range(greatest({n} // 1000000, 10)) AS t(i)",
    # A tenth of the keys of the fact table finds no row.
    "medium": "SELECT i AS id2, format('id{:d}', i) AS id5, drawn(i, 10000, 8) / 100.0 AS v2 "
    "FROM range({n} // 1000) AS t(i) WHERE drawn(i, 10, 9) > 0",
    "big": "SELECT i AS id3, drawn(i, 10000, 10) / 100.0 AS v2 "
    "FROM range({n}) AS t(i) WHERE drawn(i, 10, 11) > 0",
}

CLICKS = {
    "hits": """SELECT TIMESTAMP '2024-03-01' + to_seconds(drawn(i, 2592000, 1)) AS event_time,
        (TIMESTAMP '2024-03-01' + to_seconds(drawn(i, 2592000, 1)))::DATE AS event_date,
        skewed(i, {n} // 8, 2) * 2654435761 % 4294967296 AS user_id,
        skewed(i, 6000, 3)::INT AS counter_id, skewed(i, 5000, 4)::INT AS region_id,
        CASE WHEN drawn(i, 5, 5) = 0 THEN 'https://www.google.com/url?q=' ELSE 'http://site' END
            || skewed(i, 900, 6) || '.example/' || skewed(i, {n} // 4, 7) AS url,
        CASE WHEN drawn(i, 3, 8) = 0 THEN '' ELSE
            'https://ref' || skewed(i, 300, 9) || '.example/p/' || skewed(i, {n} // 9, 10) END
            AS referer,
        'Page ' || skewed(i, {n} // 6, 7) || ' of site ' || skewed(i, 900, 6) AS title,
        CASE WHEN drawn(i, 8, 11) > 0 THEN '' ELSE
            'buy ' || skewed(i, {n} // 30, 12) || ' cheap' END AS search_phrase,
        CASE WHEN drawn(i, 30, 13) > 0 THEN 0 ELSE drawn(i, 12, 14) END::SMALLINT AS adv_engine_id,
        drawn(i, 30, 15)::SMALLINT AS search_engine_id,
        (drawn(i, 20, 16) * 80 + 320)::SMALLINT AS resolution_width,
        drawn(i, 20, 17) = 0 AS is_refresh, drawn(i, 9, 18)::SMALLINT AS traffic_source_id
        FROM range({n}) AS t(i)""",
}

SALES = {
    "date_dim": """SELECT i AS d_date_sk, DATE '2020-01-01' + i::INT AS d_date,
        year(DATE '2020-01-01' + i::INT) AS d_year, month(DATE '2020-01-01' + i::INT) AS d_month,
        dayname(DATE '2020-01-01' + i::INT) AS d_day FROM range(1826) AS t(i)""",
    "item": """SELECT i AS i_item_sk, 'brand ' || drawn(i, 300, 1) AS i_brand,
        'class ' || drawn(i, 40, 2) AS i_class, 'category ' || drawn(i, 10, 3) AS i_category,
        (drawn(i, 9900, 4) / 100 + 1)::DECIMAL(7, 2) AS i_price FROM range(18000) AS t(i)""",
    "store": """SELECT i AS s_store_sk, 'store ' || i AS s_name, 'state ' || drawn(i, 9, 1) AS s_state
        FROM range(40) AS t(i)""",
    "customer": """SELECT i AS c_customer_sk, 'name ' || drawn(i, 5000, 1) AS c_name,
        drawn(i, 60, 2)::INT + 1940 AS c_birth_year,
        CASE WHEN drawn(i, 30, 3) = 0 THEN NULL ELSE 'country ' || drawn(i, 200, 4) END AS c_country
        FROM range({n} // 40) AS t(i)""",
    "store_sales": """SELECT i AS ss_ticket, drawn(i, 1826, 1) AS ss_date_sk,
        skewed(i, 18000, 2) AS ss_item_sk,
        CASE WHEN drawn(i, 25, 3) = 0 THEN NULL ELSE drawn(i, {n} // 40, 4) END AS ss_customer_sk,
        drawn(i, 40, 5) AS ss_store_sk, (drawn(i, 100, 6) + 1)::INT AS ss_quantity,
        (drawn(i, 20000, 7) / 100)::DECIMAL(7, 2) AS ss_price,
        (drawn(i, 10000, 8) / 100 - 20)::DECIMAL(7, 2) AS ss_profit FROM range({n}) AS t(i)""",
    "store_returns": """SELECT i AS sr_ticket, drawn(i, 1826, 1) AS sr_date_sk,
        skewed(i, 18000, 2) AS sr_item_sk, (drawn(i, 5000, 9) / 100)::DECIMAL(7, 2) AS sr_amount
        FROM range({n}) AS t(i) WHERE drawn(i, 10, 10) = 0""",
}

SETS = {"groupby": GROUPBY, "join": JOIN, "clicks": CLICKS, "sales": SALES}


def write(name, size, folder, bigsql, log=print):
    """Writes the tables of the set to `folder`, unless they are there: `size` is the number of rows
    of the largest table, or the scale factor of TPC-H."""
    folder = Path(folder)
    done = folder / ".done"
    if done.exists():
        return
    log(f"writing {name} {size} to {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    if name == "tpch":
        command = [bigsql, "tpch", "generate", "--sf", f"{size:g}", "--out", str(folder)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    else:
        import duckdb

        connection = duckdb.connect()
        for macro in (DRAWN, SKEWED):
            connection.execute(macro)
        for table, rows in SETS[name].items():
            files = folder / table
            files.mkdir(exist_ok=True)
            rows = rows.replace("{n}", str(int(size)))
            connection.execute(
                f"COPY ({rows}) TO '{files / 'part-0.parquet'}' "
                "(FORMAT parquet, COMPRESSION snappy, ROW_GROUP_SIZE 500000)"
            )
    done.touch()
