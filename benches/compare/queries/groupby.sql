-- Groups of all sizes over one table, as in the db-benchmark of H2O.ai.
select id1, sum(v1) as v1 from x group by id1;
select id1, id2, sum(v1) as v1 from x group by id1, id2;
select id3, sum(v1) as v1, avg(v3) as v3 from x group by id3;
select id4, avg(v1) as v1, avg(v2) as v2, avg(v3) as v3 from x group by id4;
select id6, sum(v1) as v1, sum(v2) as v2, sum(v3) as v3 from x group by id6;
select id4, id5, median(v3) as middle, stddev(v3) as deviation from x group by id4, id5;
select id3, max(v1) - min(v2) as range from x group by id3;
select id6, v3 from (select id6, v3, row_number() over (partition by id6 order by v3 desc) as place from x) as ranked where place <= 2;
select id2, id4, pow(corr(v1, v2), 2) as r2 from x group by id2, id4;
select id1, id2, id3, id4, id5, id6, sum(v3) as v3, count(*) as n from x group by id1, id2, id3, id4, id5, id6;
