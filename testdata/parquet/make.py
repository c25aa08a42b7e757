"""Makes Parquet files that our writers cannot: with page checksums (pyarrow), and with every DuckDB
type. Needs pyarrow and duckdb."""

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

rows = pa.table({"i": pa.array(range(1000), pa.int64()), "s": [f"text {i % 7}" for i in range(1000)]})
pq.write_table(
    rows, "checksums.parquet", write_page_checksum=True, use_dictionary=["s"], compression="snappy",
    row_group_size=600, data_page_size=2000,
)
duckdb.sql("""
    copy (
        select uuid '12345678-1234-5678-1234-567812345678' as u, interval '1 month 2 days 3 seconds' as iv,
            time '12:34:56.789' as t, '{"a": 1}'::json as j, 'ok'::enum('ok', 'no') as e,
            170141183460469231731687303715884105727::hugeint as h, [[1, 2], [3]] as ll, {'x': {'y': [1]}} as s,
            map {'k': [1, 2]} as m, null as n, '1011'::bit as bits, 255::utinyint as u8,
            18446744073709551615::ubigint as u64, timetz '12:00:00+02' as tz,
            {'u': uuid '12345678-1234-5678-1234-567812345678', 'iv': interval '5 months'} as nested
        union all select null, null, null, null, null, null, null, null, null, null, null, null, null, null, null
    ) to 'duckdb.parquet' (format parquet)
""")
