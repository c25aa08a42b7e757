//! Faults of rules over plans, which rules of ours work around.

use super::Fault;

pub(super) const FAULTS: &[Fault] = &[
    (
        "filters_above: a literal on the left below a filter",
        "SELECT count(*) FROM (VALUES (5), (6)) AS a(x) LEFT JOIN (VALUES (5), (7)) AS b(x) ON a.x = b.x AND 5 = a.x LEFT JOIN (VALUES (1)) AS c(y) ON true WHERE b.x >= 1",
        "1",
    ),
    (
        "set_all: dates and timestamps",
        "SELECT arrow_typeof(x) FROM (SELECT DATE '2024-01-01' AS x EXCEPT SELECT arrow_cast('2024-01-01 03:00:00', 'Timestamp(Microsecond, None)')) AS t",
        "Timestamp(µs)",
    ),
    (
        "filters_above: a literal on the left",
        "SELECT b.x FROM generate_series(5, 6) AS a(x) LEFT JOIN generate_series(5, 6) AS b(x) ON a.x = b.x AND 5 = a.x ORDER BY 1 NULLS LAST",
        "5;null",
    ),
    (
        "filters_above: a bound on the left",
        "SELECT count(*) FROM (VALUES (5), (6)) AS a(x) LEFT JOIN (VALUES (5), (6)) AS b(x) ON a.x = b.x AND a.x >= 5 AND 5 < a.x WHERE b.x IS NOT NULL",
        "1",
    ),
    (
        "in_lists",
        "SELECT x IN (1) AND x IN (2), x NOT IN (1) OR x NOT IN (2) FROM (VALUES (NULL), (1)) AS t(x) ORDER BY x NULLS FIRST",
        "null,null;false,true",
    ),
    (
        "simplify: regex",
        "SELECT x ~ '.*' FROM (VALUES (NULL), ('a')) AS t(x) ORDER BY x",
        "true;null",
    ),
    ("simplify: backslash", r"SELECT x ~ 'a\\b' FROM (VALUES ('a\b')) AS t(x)", "true"),
    (
        "simplify: half a second",
        "SELECT count(*) FROM (SELECT CAST(x AS TIMESTAMP(0)) AS t FROM (VALUES ('2024-01-01 00:00:00')) AS v(x)) WHERE t < TIMESTAMP '2024-01-01 00:00:00.5'",
        "1",
    ),
    ("simplify: signs", "SELECT -(x & 3) FROM (VALUES (6)) AS t(x)", "-2"),
    (
        "leaves",
        "SELECT count(*) FROM (SELECT s['a'] AS f, s AS w FROM (SELECT named_struct('a', random()) AS s FROM generate_series(1, 9)) AS q) AS t WHERE f <> w['a']",
        "0",
    ),
    (
        "aggregates_some_rows",
        "SELECT min(1) FILTER (WHERE true) FROM (SELECT count(*) AS n FROM (VALUES (1), (2)) AS t(x)) AS q WHERE n > 1",
        "1",
    ),
    (
        "unnest: NOT IN of a nullable value",
        "SELECT count(*) FROM generate_series(1, 2) AS t(id) WHERE nullif(1, id) NOT IN (SELECT 1)",
        "0",
    ),
    (
        "unnest: NOT IN of a value that becomes a constant",
        "SELECT count(*) FROM (VALUES (1)) AS t(id) WHERE coalesce(1, id) NOT IN (SELECT x FROM (VALUES (NULL), (2)) AS u(x))",
        "0",
    ),
    (
        "volatile_once",
        "SELECT count(*) BETWEEN 400 AND 800 FROM generate_series(1, 5000) WHERE random() BETWEEN 0.45 AND 0.55",
        "true",
    ),
    (
        "nullable",
        "SELECT (SELECT 1 FROM (VALUES (1)) AS u(a) WHERE a > 5) IS NULL, (SELECT count(*) FROM (VALUES (1)) AS u(a) HAVING count(*) > 5) IS NULL",
        "true,true",
    ),
    (
        "short_circuit",
        "SELECT count(*) FROM (VALUES (1, 0), (4, 2)) AS t(x, y) WHERE y <> 0 AND x / y > 1",
        "1",
    ),
    (
        "kept_order",
        "SELECT string_agg(s, ',') FROM (SELECT s FROM (VALUES (2, 'b'), (1, 'a')) AS t(i, s) ORDER BY i) AS q",
        "a,b",
    ),
    (
        "nulled_properties",
        "SELECT a FROM (SELECT value % 3 AS a, value AS b FROM generate_series(1, 9)) AS t WHERE a = 1 GROUP BY ROLLUP (a, b) ORDER BY a NULLS FIRST LIMIT 1",
        "null",
    ),
    (
        "requirements",
        "SELECT a FROM (SELECT a FROM (VALUES (1), (2), (3), (4), (5), (6), (7)) AS t(a) LIMIT 4 OFFSET 3) AS q ORDER BY a DESC",
        "7;6;5;4",
    ),
    (
        "shield",
        "SELECT count(*) FROM (SELECT value AS x, value % 2 AS y FROM generate_series(1, 4)) AS a LEFT JOIN (SELECT value AS z FROM generate_series(0, 9)) AS b ON z <> y AND y <> 0 AND x / y > z",
        "5",
    ),
    (
        "order_columns: a comparison with a CASE",
        "SELECT x FROM (SELECT value AS x FROM generate_series(1, 4) UNION ALL SELECT value FROM generate_series(5, 6)) AS t ORDER BY CASE WHEN x > 3 THEN 1 ELSE 5 END > 2, x",
        "4;5;6;1;2;3",
    ),
    (
        "order_columns: a comparison with a subquery",
        "SELECT x FROM (SELECT value AS x FROM generate_series(1, 4) UNION ALL SELECT value FROM generate_series(5, 6)) AS t ORDER BY x > (SELECT 2), x",
        "1;2;3;4;5;6",
    ),
    (
        "order_columns: window partitions",
        "SELECT x, row_number() OVER (PARTITION BY CASE WHEN x > 3 THEN 1 ELSE 5 END > 2 ORDER BY x) FROM (SELECT value AS x FROM generate_series(1, 4)) AS t ORDER BY x",
        "1,1;2,2;3,3;4,1",
    ),
    (
        "order_columns: aggregates",
        "SELECT array_agg(x ORDER BY x > (SELECT 3), x) FROM (SELECT value AS x FROM generate_series(1, 4)) AS t",
        "[1, 2, 3, 4]",
    ),
    (
        "outer_aggregates",
        "SELECT (SELECT sum(t.a) FROM (VALUES (1), (2)) AS u(b)) FROM (VALUES (1), (2)) AS t(a)",
        "error: belongs to the outer query",
    ),
    (
        "set_all",
        "SELECT x FROM (VALUES (1), (1), (1)) AS l(x) INTERSECT ALL SELECT x FROM (VALUES (1)) AS r(x)",
        "1",
    ),
    (
        "set_all: EXCEPT ALL",
        "SELECT x FROM (VALUES (1), (1), (1)) AS l(x) EXCEPT ALL SELECT x FROM (VALUES (1)) AS r(x)",
        "1;1",
    ),
    (
        "null_equal: keys",
        "SELECT count(*) FROM (VALUES (1, NULL)) AS a(x, y) JOIN (VALUES (1, NULL)) AS b(x, y) ON a.x IS NOT DISTINCT FROM b.x WHERE a.y = b.y",
        "0",
    ),
    (
        "null_equal: flattened joins",
        "SELECT count(*) FROM (VALUES (NULL, 1)) AS a(n, id) JOIN (VALUES (NULL, 1)) AS b(n, id) ON (a.n IS NOT DISTINCT FROM b.n) JOIN (VALUES (1)) AS c(id) ON b.id = c.id",
        "1",
    ),
    (
        "filters: columns by name",
        "SET datafusion.execution.batch_size = 64; \
         COPY (SELECT value AS id, 100000 + value AS amount FROM generate_series(0, 1999)) TO '{folder}/o.parquet' OPTIONS ('format.max_row_group_size' 100); \
         COPY (SELECT value AS id, 5000 - value AS amount FROM generate_series(0, 899)) TO '{folder}/p.parquet' OPTIONS ('format.max_row_group_size' 100); \
         COPY (SELECT value AS id FROM generate_series(0, 499)) TO '{folder}/c.parquet'; \
         CREATE EXTERNAL TABLE o STORED AS PARQUET LOCATION '{folder}/o.parquet'; \
         CREATE EXTERNAL TABLE p STORED AS PARQUET LOCATION '{folder}/p.parquet'; \
         CREATE EXTERNAL TABLE c STORED AS PARQUET LOCATION '{folder}/c.parquet'; \
         SELECT o.amount, p.amount FROM o JOIN p ON o.id = p.id JOIN c ON p.id = c.id ORDER BY p.amount LIMIT 2",
        "100499,4501;100498,4502",
    ),
    (
        "joined_order: hash join",
        "SELECT r.b, l.a FROM (SELECT * FROM (VALUES (1, 2), (2, 1), (3, 3)) AS t(a, k) ORDER BY a LIMIT 5) AS l JOIN (SELECT * FROM (VALUES (1, 1), (1, 2), (1, 3)) AS t(b, k) ORDER BY b LIMIT 5) AS r ON l.k = r.k ORDER BY r.b, l.a",
        "1,1;1,2;1,3",
    ),
    (
        "joined_order: sort-merge join",
        "SET datafusion.optimizer.prefer_hash_join = false; \
         SELECT l.a, r.b FROM (SELECT * FROM (VALUES (1, 1), (1, 1)) AS t(a, k) ORDER BY k, a LIMIT 5) AS l JOIN (SELECT * FROM (VALUES (1, 1), (2, 1)) AS t(b, k) ORDER BY k, b LIMIT 5) AS r ON l.k = r.k ORDER BY l.k, l.a, r.k, r.b",
        "1,1;1,1;1,2;1,2",
    ),
    (
        "window_limits: stacked windows",
        "CREATE TABLE t AS SELECT value AS i FROM generate_series(1, 10); \
         SELECT i, sum(n) OVER (ORDER BY i ROWS BETWEEN CURRENT ROW AND 2 FOLLOWING) FROM (SELECT i, sum(i) OVER (ORDER BY i ROWS BETWEEN CURRENT ROW AND 2 FOLLOWING) AS n FROM t) AS q ORDER BY i LIMIT 1",
        "1,27",
    ),
    (
        "window_limits: a negative offset",
        "CREATE TABLE t AS SELECT value AS i FROM generate_series(1, 10); \
         SELECT i, lag(i, -3) OVER (ORDER BY i ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) FROM t ORDER BY i LIMIT 1",
        "1,4",
    ),
    (
        "window_limits: IGNORE NULLS",
        "CREATE TABLE t AS SELECT value AS i FROM generate_series(1, 10); \
         SELECT i, lead(nullif(i, 2), 1) IGNORE NULLS OVER (ORDER BY i ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) FROM t ORDER BY i LIMIT 1",
        "1,3",
    ),
    ("simplify: negative bits", "SELECT -a & a FROM (VALUES (6)) AS t(a)", "2"),
    (
        "simplify: casts of decimals",
        "SELECT count(*) FROM (VALUES (1.4::decimal(2, 1)), (1.2::decimal(2, 1))) AS t(x) WHERE CAST(x AS INTEGER) = 1",
        "2",
    ),
    (
        "simplify: TRY_CAST",
        "SELECT (TRY_CAST(x AS SMALLINT) = 5) IS NULL FROM (VALUES (70000)) AS t(x)",
        "true",
    ),
];
