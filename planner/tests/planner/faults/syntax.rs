//! Faults of parsing and of names, which rewrites of the syntax tree work around.

use super::Fault;

pub(super) const FAULTS: &[Fault] = &[
    ("time: without seconds", "SELECT TIMESTAMP '2024-01-01 12:00'", "2024-01-01T12:00:00"),
    (
        "time: the year 9999",
        "SELECT TIMESTAMP '9999-12-31 00:00:00' > TIMESTAMP '2024-01-01 00:00:00'",
        "true",
    ),
    ("headers: casts", "SELECT CAST(x AS BIGINT) FROM (VALUES (2), (1)) AS t(x) ORDER BY x", "1;2"),
    ("calls: power", "SELECT 2 ^ 3", "8.0"),
    ("calls: any", "SELECT 1 = ANY([2, NULL])", "null"),
    ("calls: mod", "SELECT mod(7, 4)", "3"),
    ("calls: a list of rows", "SELECT ARRAY(SELECT 1)", "[1]"),
    (
        "item_names: the name of another column of a branch",
        "SELECT 1 AS a, id FROM (VALUES (2)) AS t(id) UNION ALL SELECT id, 1 FROM (VALUES (2)) AS t(id)",
        "1,2;2,1",
    ),
    (
        "named_casts: the key of an order",
        "SELECT k AS id, CAST(id AS VARCHAR) AS y FROM (VALUES (0, 3), (1, -1)) AS t(id, k) GROUP BY k, CAST(id AS VARCHAR) ORDER BY id",
        "-1,1;3,0",
    ),
    (
        "named_casts: aggregates",
        "SELECT sum(CAST(x AS INT)) + sum(CAST(x AS DOUBLE)) FROM (VALUES (1), (2)) AS t(x)",
        "6.0",
    ),
    (
        "named_casts: keys",
        "SELECT x + 0, CAST(x AS VARCHAR) FROM (VALUES (1)) AS t(x) GROUP BY x, CAST(x AS VARCHAR)",
        "1,1",
    ),
    ("ordinals", "SELECT DISTINCT abs(x) FROM (VALUES (2), (-1)) AS t(x) ORDER BY abs(x)", "1;2"),
    ("lateral: rows in IN", "SELECT (1, 2) IN (SELECT 1, 2)", "true"),
    (
        "lateral: series",
        "SELECT n, g.value FROM (VALUES (2)) AS t(n), generate_series(1, t.n) AS g(value) ORDER BY 2",
        "2,1;2,2",
    ),
    ("decimals", "SELECT 1.005::decimal(8, 2)", "1.01"),
    (
        "reshape: rollup",
        "SELECT x, count(*) FROM (VALUES (1), (1)) AS t(x) GROUP BY ROLLUP (x, x) ORDER BY x, 2",
        "1,2;1,2;null,2",
    ),
    (
        "windows: a definition in ORDER BY",
        "SELECT x FROM (VALUES (1), (2)) AS t(x) WINDOW w AS (ORDER BY x DESC) ORDER BY row_number() OVER w",
        "2;1",
    ),
    (
        "dialect: IS DISTINCT FROM",
        "SELECT a IS DISTINCT FROM b AND c FROM (VALUES (1, 1, false)) AS t(a, b, c)",
        "false",
    ),
    ("dialect: LIKE", "SELECT p = s LIKE 'a' FROM (VALUES (true, 'a')) AS t(p, s)", "true"),
    ("dialect: ||", "SELECT 'n' || 2 * 3", "n6"),
    ("parse: spaces to trim", "SELECT trim(BOTH FROM ' x ')", "x"),
    (
        "calls: NULL treatment of the outer call",
        "SELECT first_value(abs(x) IGNORE NULLS) OVER (ORDER BY i) FROM (VALUES (1, NULL), (2, 5)) AS t(i, x) ORDER BY i",
        "null;5",
    ),
    (
        "calls: ordered arguments of other aggregates",
        "SELECT min(x ORDER BY y) FROM (VALUES (1, 1, 2), (1, 2, 1)) AS t(k, x, y) GROUP BY k",
        "1",
    ),
    ("calls: bitwise NOT", "SELECT ~x FROM (VALUES (1)) AS t(x)", "-2"),
    (
        "calls: lists with outer columns",
        "SELECT u FROM (VALUES (1)) AS t(x), UNNEST([t.x, 2]) AS v(u) ORDER BY u",
        "1;2",
    ),
    ("calls: IN (VALUES ...)", "SELECT x IN (VALUES (1), (2)) FROM (VALUES (1)) AS t(x)", "true"),
    (
        "calls: intervals in frames",
        "SELECT count(*) OVER (ORDER BY d RANGE INTERVAL 1 DAY PRECEDING) FROM (VALUES (DATE '2024-01-01')) AS t(d)",
        "1",
    ),
    (
        "headers: subqueries",
        "SELECT (SELECT x FROM (VALUES (1)) AS t(x)), (SELECT x FROM (VALUES (2)) AS t(x))",
        "1,2",
    ),
    (
        "materialized_ctes",
        "WITH u AS (SELECT uuid() AS k FROM (VALUES (1), (2)) AS t(a)) SELECT count(*) FROM u AS a JOIN u AS b ON a.k = b.k",
        "2",
    ),
    ("pattern: ESCAPE", "SELECT s LIKE 'a!%' ESCAPE '!' FROM (VALUES ('a%')) AS t(s)", "true"),
    ("pattern: SIMILAR TO", "SELECT 'abc' SIMILAR TO 'b'", "false"),
    ("like_pattern", "SELECT s LIKE p ESCAPE '!' FROM (VALUES ('a%', 'a!%')) AS t(s, p)", "true"),
    (
        "sample: a share",
        "SELECT count(*) FROM (VALUES (1), (2)) AS t(n) TABLESAMPLE BERNOULLI (0)",
        "0",
    ),
    ("sample: rows", "SELECT count(*) FROM (VALUES (1), (2)) AS t(n) TABLESAMPLE (1 ROWS)", "1"),
    (
        "unnested",
        "SELECT unnest(xs) FROM (VALUES (2, [1]), (1, [2])) AS t(id, xs) ORDER BY id",
        "2;1",
    ),
    (
        "clauses: query",
        "SELECT n FROM (VALUES (1)) AS t(n) FOR UPDATE",
        "error: FOR UPDATE or FOR SHARE is not supported",
    ),
    (
        "clauses: select",
        "SELECT n FROM (VALUES (1), (2)) AS t(n) PREWHERE n > 1",
        "error: PREWHERE is not supported",
    ),
    ("clauses: keys", "CREATE TABLE t (a INT PRIMARY KEY)", "error: PRIMARY KEY is not supported"),
    (
        "names: clauses of scalar functions",
        "SELECT abs(n) OVER () FROM (VALUES (1)) AS t(n)",
        "error: OVER is only allowed",
    ),
    (
        "names: fields of list elements",
        "SELECT ls[1].k FROM (SELECT [named_struct('k', 1)] AS ls) AS t",
        "1",
    ),
    (
        "names: fields of expressions",
        "SELECT (s).k FROM (SELECT named_struct('k', 1) AS s) AS t",
        "1",
    ),
    ("names: open slices", "SELECT xs[2:] FROM (SELECT [1, 2, 3] AS xs) AS t", "[2, 3]"),
    (
        "names: USING of a FULL JOIN",
        "SELECT k FROM (VALUES (1)) AS a(k) FULL JOIN (VALUES (2)) AS b(k) USING (k) ORDER BY k",
        "1;2",
    ),
    (
        "names: NATURAL FULL JOIN",
        "SELECT * FROM (VALUES (1, 2)) AS a(k, x) NATURAL FULL JOIN (VALUES (2, 3)) AS b(k, y) ORDER BY k",
        "1,2,null;2,null,3",
    ),
    (
        "names: USING of several joins",
        "SELECT k FROM (VALUES (1)) AS a(k) JOIN (VALUES (1)) AS b(k) USING (k) JOIN (VALUES (1)) AS c(k) USING (k) WHERE k = 1",
        "1",
    ),
    (
        "names: aliases of the first columns",
        "SELECT a, y FROM (SELECT 1 AS x, 2 AS y) AS t(a)",
        "1,2",
    ),
    ("names: capital letters", "SELECT UserID FROM (SELECT 1 AS \"UserID\") AS t", "1"),
    ("names: columns of one name in a result", "SELECT k, k FROM (VALUES (1)) AS t(k)", "1,1"),
    (
        "names: columns of one name in a subquery",
        "SELECT s.* FROM (SELECT 1 AS k, 2 AS k) AS s",
        "1,2",
    ),
    (
        "names: columns before aliases in ORDER BY",
        "SELECT -x AS x FROM (VALUES (1), (2)) AS t(x) ORDER BY x + 0",
        "-1;-2",
    ),
    (
        "names: outer tables before inner columns",
        "SELECT (SELECT count(*) FROM (SELECT named_struct('x', 2) AS t) AS u WHERE t.x = 1) FROM (SELECT 1 AS x) AS t",
        "1",
    ),
    (
        "names: fields of outer columns",
        "SELECT (SELECT t.s.f FROM (VALUES (1)) AS u(a)) FROM (SELECT named_struct('f', 7) AS s) AS t",
        "7",
    ),
    (
        "names: queries of WITH of one name",
        "WITH q AS (SELECT 1 AS x) SELECT (WITH q AS (SELECT 2 AS x) SELECT x FROM q), x FROM q",
        "2,1",
    ),
    ("reshape: FROM alone", "FROM (VALUES (1)) AS t(x)", "1"),
    (
        "reshape: FETCH FIRST",
        "SELECT x FROM (VALUES (1), (2)) AS t(x) ORDER BY x FETCH FIRST 1 ROW ONLY",
        "1",
    ),
    ("reshape: TOP", "SELECT TOP 1 x FROM (VALUES (1), (2)) AS t(x) ORDER BY x", "1"),
    (
        "reshape: WITH ROLLUP",
        "SELECT n, count(*) FROM (VALUES (1)) AS t(n) GROUP BY n WITH ROLLUP ORDER BY n",
        "1,1;null,1",
    ),
    ("reshape: GROUP BY ()", "SELECT count(*) FROM (VALUES (1)) AS t(n) GROUP BY ()", "1"),
    (
        "reshape: ROLLUP in GROUPING SETS",
        "SELECT x, y, count(*) FROM (VALUES (1, 2)) AS t(x, y) GROUP BY GROUPING SETS (ROLLUP (x), (y)) ORDER BY 1, 2",
        "1,null,1;null,2,1;null,null,1",
    ),
    (
        "reshape: CUBE in GROUPING SETS",
        "SELECT x, y, count(*) FROM (VALUES (1, 2)) AS t(x, y) GROUP BY GROUPING SETS (CUBE (x, y)) ORDER BY 1, 2",
        "1,2,1;1,null,1;null,2,1;null,null,1",
    ),
    ("reshape: ORDER BY ALL", "SELECT 2 AS a UNION ALL SELECT 1 ORDER BY ALL", "1;2"),
    (
        "reshape: LIMIT in WITH RECURSIVE",
        "WITH RECURSIVE a AS (SELECT 1 AS n UNION ALL SELECT 2 LIMIT 1) SELECT count(*) FROM a",
        "1",
    ),
];
