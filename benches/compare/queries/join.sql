-- One fact table with dimensions of three sizes, as in the db-benchmark of H2O.ai.
select count(*) as n, sum(x.v1) as v1, sum(small.v2) as v2 from x join small on x.id1 = small.id1;
select count(*) as n, sum(x.v1) as v1, sum(medium.v2) as v2 from x join medium on x.id2 = medium.id2;
select count(*) as n, sum(x.v1) as v1, sum(medium.v2) as v2 from x left join medium on x.id2 = medium.id2;
select count(*) as n, sum(x.v1) as v1, sum(medium.v2) as v2 from x join medium on x.id5 = medium.id5;
select count(*) as n, sum(x.v1) as v1, sum(big.v2) as v2 from x join big on x.id3 = big.id3;
