//! Faults of types and functions.

use super::Fault;

pub(super) const FAULTS: &[Fault] = &[
    ("counts: lengths", "SELECT array_length([1, 2]) / 4", "0"),
    ("counts: bits", "SELECT bit_or(cardinality([1, 2]) + 1)", "3"),
    (
        "decimal_literals: digits of round",
        "SELECT c <= round(c, 1) FROM (SELECT CAST(id AS DECIMAL(12, 2)) AS c FROM generate_series(1, 1) AS s(id)) AS t",
        "true",
    ),
    (
        "numbers: rounding",
        "SELECT c <= round(c, 2 - 1) FROM (SELECT CAST(id AS DECIMAL(12, 2)) AS c FROM generate_series(1, 1) AS s(id)) AS t",
        "true",
    ),
    (
        "at_time_zone",
        "SELECT CAST(TIMESTAMP '2024-01-01 03:00:00' AT TIME ZONE 'UTC' AT TIME ZONE 'America/New_York' AS TIMESTAMP)",
        "2023-12-31T22:00:00",
    ),
    (
        "cast_time: a skipped local time",
        "SELECT TIMESTAMP '2024-03-10 02:30:00' AT TIME ZONE 'America/New_York' AT TIME ZONE 'UTC'",
        "2024-03-10T07:30:00",
    ),
    (
        "shift_time",
        "SELECT (TIMESTAMP '2024-03-09 02:30:00' AT TIME ZONE 'America/New_York' + INTERVAL '1 day') AT TIME ZONE 'UTC'",
        "2024-03-10T07:30:00",
    ),
    (
        "cast_time: text",
        "SELECT CAST(TIMESTAMP '2024-01-01 12:00:00' AS VARCHAR)",
        "2024-01-01 12:00:00",
    ),
    (
        "time_order: the year 9999",
        "SELECT d > TIMESTAMP '2024-01-01 00:00:00' FROM (VALUES (DATE '9999-12-31')) AS t(d)",
        "true",
    ),
    ("time_order: intervals", "SELECT INTERVAL '24 hours' = INTERVAL '1 day'", "true"),
    (
        "date_part: a difference of timestamps",
        "SELECT extract(hour FROM TIMESTAMP '2024-01-02 02:00:00' - TIMESTAMP '2024-01-01 00:00:00')",
        "2",
    ),
    (
        "date_part: the year 3000",
        "SELECT count(*) FROM (VALUES (TIMESTAMP '2024-01-01 00:00:00')) AS t(x) WHERE extract(year FROM x) < 3000",
        "1",
    ),
    (
        "date_trunc",
        "SELECT date_trunc('year', CAST(DATE '9999-12-31' AS TIMESTAMP(6)))",
        "9999-01-01T00:00:00",
    ),
    (
        "round_parts: floats",
        "SELECT CAST(x AS INTEGER) FROM (VALUES (0.5::double), (1.5::double), (2.5::double), (-1.7::double)) AS t(x) ORDER BY x",
        "-2;1;2;3",
    ),
    (
        "window_types",
        "SELECT lag(i, 1, 0.5) OVER (ORDER BY i) FROM (VALUES (1), (2)) AS t(i) ORDER BY i",
        "0.5;1.0",
    ),
    (
        "interval_mean",
        "SELECT avg(i) = INTERVAL '2 days' FROM (VALUES (INTERVAL '1 day'), (INTERVAL '3 days')) AS t(i)",
        "true",
    ),
    (
        "mixed_numbers: rows",
        "SELECT (a, 1) = (b, 1) FROM (SELECT 0.1 + 1e-16 AS a, cast('0.1' AS DECIMAL(3, 1)) AS b) AS t",
        "false",
    ),
    (
        "mixed_values",
        "SELECT x FROM (VALUES (1e300), (cast('1.25' AS DECIMAL(5, 2)))) AS t(x) ORDER BY x",
        "1.25;1e300",
    ),
    (
        "number_texts: numbers and dates",
        "SELECT 1 UNION ALL SELECT DATE '2024-01-01'",
        "error: column 1 of a UNION is",
    ),
    (
        "range_frames",
        "SELECT count(*) OVER (ORDER BY b) FROM (VALUES (X'01'), (X'02')) AS t(b) ORDER BY b",
        "1;2",
    ),
    (
        "recomputed",
        "SELECT bool_or(x) OVER (ORDER BY i ROWS 1 PRECEDING) FROM (VALUES (1, true), (2, false), (3, false)) AS t(i, x) ORDER BY i",
        "true;true;false",
    ),
    (
        "mean",
        "SELECT avg(x) FROM (VALUES (1::decimal(5, 2)), (2::decimal(5, 2)), (2::decimal(5, 2))) AS t(x)",
        "1.666667",
    ),
    (
        "sliding",
        "SELECT sum(x) OVER (ORDER BY i ROWS 1 PRECEDING) FROM (VALUES (1, 1e20::double), (2, 1::double), (3, 1::double)) AS t(i, x) ORDER BY i",
        "1e20;1e20;2.0",
    ),
    (
        "distinct",
        "SELECT sum(DISTINCT x) FROM (VALUES (9223372036854775807), (1)) AS t(x)",
        "error: verflow",
    ),
    (
        "percentile",
        "SELECT median(x) FROM (VALUES (1.1::decimal(3, 1)), (1.2::decimal(3, 1))) AS t(x)",
        "1.15",
    ),
    ("overrides: lists as text", "SELECT length([1, 22, 333]), reverse([1, 22])", "3,[22, 1]"),
    ("overrides: regexes", "SELECT regexp_replace('ab', '(b)', '$1')", "a$1"),
    ("overrides: sorted", "SELECT array_sort([2, NULL, 1])", "[1, 2, null]"),
    ("overrides: to_char", "SELECT to_char(TIMESTAMP '2024-02-03 04:05:06', 'YYYY/MM')", "2024/02"),
    (
        "overrides: whole decimals",
        "SELECT ceil(x) FROM (VALUES (9.99::decimal(3, 2))) AS t(x)",
        "10",
    ),
    ("overrides: choices", "SELECT greatest([1], [NULL])", "[null]"),
    ("time_units", "SELECT TIME '01:00:00' IN (arrow_cast('01:00:00', 'Time32(Second)'))", "true"),
    ("decimal_literals", "SELECT x * 0.15 FROM (VALUES (19.90::decimal(6, 2))) AS t(x)", "2.9850"),
    ("quotient", "SELECT x / 3 FROM (VALUES (2.00::decimal(6, 2))) AS t(x)", "0.666667"),
    (
        "min_max: no groups",
        "SELECT max(x) FROM (VALUES (-('NaN'::double)), (1.0::double)) AS t(x)",
        "NaN",
    ),
    (
        "min_max: groups",
        "SELECT g, min(x) FROM (VALUES (1, 1.0::double), (1, 'NaN'::double)) AS t(g, x) GROUP BY g",
        "1,1.0",
    ),
    ("text_calls", "SELECT left([12, 3], 2)", "error: left"),
    (
        "numbers: filtered arguments",
        "SELECT k, sum(x / y) FILTER (WHERE y <> 0) FROM (VALUES (1, 1, 0), (1, 4, 2)) AS t(k, x, y) GROUP BY k",
        "1,2",
    ),
    (
        "numbers: duplicate keys",
        "SELECT k, array_agg(x ORDER BY y, y) FROM (VALUES (1, 2, 3), (1, 3, 2)) AS t(k, x, y) GROUP BY k",
        "1,[3, 2]",
    ),
    (
        "days_between",
        "SELECT count(*) FROM (SELECT DATE '2024-01-01' + CAST(value AS INTEGER) AS d FROM generate_series(1, 3)) AS t WHERE d - DATE '2024-01-01' > 1",
        "2",
    ),
    (
        "float_keys: comparisons",
        "SELECT x = y FROM (VALUES ('NaN'::double, -('NaN'::double))) AS t(x, y)",
        "true",
    ),
    (
        "float_keys: sorts",
        "SELECT x FROM (VALUES (1.0::double), (-('NaN'::double))) AS t(x) ORDER BY x",
        "1.0;NaN",
    ),
    ("nested_key", "SELECT [1, NULL] > [1, 2]", "true"),
    (
        "list_fields",
        "SELECT array_concat(n, [[9]]) = [[1], [9]] FROM (SELECT arrow_cast(make_array(make_array(1)), 'List(List(Int64, field: ''element''), field: ''element'')') AS n) AS t",
        "true",
    ),
    (
        "inserted, not_null: VALUES",
        "CREATE TABLE t (a INT NOT NULL, b INT); \
         INSERT INTO t VALUES (NULL, 1)",
        "error: the column \"a\" is NOT NULL",
    ),
    (
        "inserted, not_null: a query",
        "CREATE TABLE t (a INT NOT NULL); \
         INSERT INTO t SELECT nullif(x, 1) FROM (SELECT 1 AS x) AS v",
        "error: the column \"a\" is NOT NULL",
    ),
    ("operators: intervals", "SELECT INTERVAL '1 day' * 2 = INTERVAL '2 days'", "true"),
    (
        "operators: differences of timestamps",
        "SELECT TIMESTAMP '2024-01-02 00:00:00' - TIMESTAMP '2024-01-01 00:00:00' + DATE '2024-01-01'",
        "2024-01-02T00:00:00",
    ),
    ("operators: keys of maps", "SELECT MAP {'a': 1}[k] FROM (VALUES ('a')) AS t(k)", "1"),
    (
        "operators: capital letters in fields",
        "SELECT s.field FROM (SELECT named_struct('Field', 1) AS s) AS t",
        "1",
    ),
    (
        "operators: times of day",
        "SELECT TIME '01:00:00' = arrow_cast('01:00:00', 'Time32(Second)')",
        "true",
    ),
    (
        "get_field",
        "SELECT s['a'] FROM (SELECT nullif(named_struct('a', x), named_struct('a', 1)) AS s FROM (VALUES (1), (2)) AS t(x)) AS q",
        "null;2",
    ),
    (
        "unnest_records, null_fields",
        "SELECT unnest(s) FROM (SELECT nullif(named_struct('a', x), named_struct('a', 1)) AS s FROM (VALUES (1), (2)) AS t(x)) AS q",
        "null;2",
    ),
    (
        "ordered_set: mode",
        "SELECT mode() WITHIN GROUP (ORDER BY x) FROM (VALUES (1), (2), (2)) AS t(x)",
        "2",
    ),
    (
        "ordered_set: percentile_disc",
        "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY x) FROM (VALUES (1), (2), (4)) AS t(x)",
        "2",
    ),
    ("rank", "SELECT arrow_typeof(row_number() OVER ())", "Int64"),
    ("to_timestamp", "SELECT to_timestamp('2024-01-31 9:05')", "2024-01-31T09:05:00"),
    (
        "timestamp_of",
        "SELECT CAST(d AS TIMESTAMP) FROM (VALUES (DATE '9999-12-31')) AS t(d)",
        "9999-12-31T00:00:00",
    ),
    (
        "parse",
        "SELECT CAST(s AS TIMESTAMP) FROM (VALUES ('2024-1-31 9:05 pm +02')) AS t(s)",
        "2024-01-31T19:05:00",
    ),
    ("interval_text: ago", "SELECT INTERVAL '3 days ago' = INTERVAL '-3 days'", "true"),
    (
        "interval_text: two fields",
        "SELECT INTERVAL '10:30' MINUTE TO SECOND = INTERVAL '630 seconds'",
        "true",
    ),
    (
        "interval_text: columns",
        "SELECT CAST(s AS INTERVAL) = INTERVAL '3 days 4 hours' FROM (VALUES ('P3DT4H')) AS t(s)",
        "true",
    ),
    (
        "interval: sorts",
        "SELECT x = INTERVAL '1 day' FROM (VALUES (INTERVAL '25 hours'), (INTERVAL '1 day')) AS t(x) ORDER BY x",
        "true;false",
    ),
    (
        "time_order: dates and hours",
        "SELECT DATE '2024-01-01' + INTERVAL '5 hours'",
        "2024-01-01T05:00:00",
    ),
    (
        "timestamp_units: CASE",
        "SELECT CASE WHEN x = 1 THEN DATE '9999-12-31' ELSE TIMESTAMP '2024-01-01 00:00:00' END FROM (VALUES (1)) AS t(x)",
        "9999-12-31T00:00:00",
    ),
    (
        "timestamp_units: coalesce",
        "SELECT coalesce(d, TIMESTAMP '2024-01-01 00:00:00') FROM (VALUES (DATE '1600-01-01')) AS t(d)",
        "1600-01-01T00:00:00",
    ),
    (
        "arithmetic: sums",
        "SELECT x + 1 FROM (VALUES (9223372036854775807)) AS t(x)",
        "error: overflow",
    ),
    (
        "arithmetic: negation",
        "SELECT -x FROM (VALUES (-9223372036854775807 - 1)) AS t(x)",
        "error: overflow",
    ),
    (
        "whole",
        "SELECT sum(x) FROM (VALUES (9223372036854775807), (1)) AS t(x)",
        "error: overflow in sum",
    ),
    (
        "sliding: NaN",
        "SELECT sum(x) OVER (ORDER BY i ROWS 1 PRECEDING) FROM (VALUES (1, 'NaN'::double), (2, 1.0::double), (3, 2.0::double)) AS t(i, x) ORDER BY i",
        "NaN;NaN;3.0",
    ),
    (
        "recomputed: string_agg",
        "SELECT string_agg(s, ',') OVER (ORDER BY s ROWS 1 PRECEDING) FROM (VALUES ('a'), ('b')) AS t(s) ORDER BY s",
        "a;a,b",
    ),
    ("number_texts: UNION", "SELECT 1 UNION SELECT 'x'", "error: column 1 of a UNION has numbers"),
    (
        "number_texts: CASE",
        "SELECT CASE WHEN x = 1 THEN 1 ELSE '2' END + 1 FROM (VALUES (1)) AS t(x)",
        "2",
    ),
    ("list_sum", "SELECT array_sum([9007199254740993, 0])", "9007199254740993"),
    (
        "overrides: times of several units",
        "SELECT greatest(TIME '01:00:00', arrow_cast('02:00:00', 'Time32(Second)'))",
        "02:00:00",
    ),
    ("padding", "SELECT rpad(x, n) FROM (VALUES ('a', -1)) AS t(x, n)", ""),
    ("overrides: groups of regexes", "SELECT regexp_match('b', '(a)?(b)')", "[null, b]"),
    (
        "float_keys: DISTINCT",
        "SELECT count(DISTINCT x) FROM (VALUES ('NaN'::double), (-('NaN'::double))) AS t(x)",
        "1",
    ),
];
