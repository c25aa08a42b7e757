//! Verbs with expressions and SQL.

use std::collections::BTreeMap;

use bigslice::expr::{DataType, avg, cast, coalesce, col, count, lit, max, sum, upper};
use bigslice::prelude::*;

use crate::cases;
use crate::world::World;

cases![
    expressions_do_what_closures_do,
    closures_and_expressions_take_turns,
    fields_have_the_columns_with_their_names,
    what_does_not_fit_the_row_is_said_at_the_verb,
    nulls_that_the_row_cannot_hold_end_the_run,
    queries_give_what_they_give_over_tables,
    keys_that_are_equal_to_sql_meet_in_one_shard,
    files_are_pruned_by_expressions,
    what_differs_from_process_to_process_is_refused,
    statements_of_the_session_are_slices,
    slices_are_data_frames,
    an_error_within_an_expression_ends_the_run,
];

#[derive(Row, Debug, Clone, PartialEq, PartialOrd)]
struct Sale {
    shop: String,
    item: Option<i64>,
    price: Option<f64>,
}

/// Sales in random order, with gaps.
fn sales() -> Vec<Sale> {
    let sale = |n: i64| Sale {
        shop: format!("shop {}", n * 7 % 5),
        item: (n % 11 != 0).then_some(n % 13),
        price: (n % 6 != 0).then_some((n * 37 % 100) as f64 / 4.0),
    };
    (0..500).map(sale).collect()
}

#[derive(Row, Debug, PartialEq, PartialOrd)]
struct Total {
    shop: String,
    sold: i64,
    revenue: Option<f64>,
}

#[bigslice::func]
fn totals(shards: usize) -> Result<Slice<Total>> {
    Slice::const_(shards, sales())
        .filter_expr(col("item").gt(lit(3)))?
        .aggregate([col("shop")], [count(lit(1)).alias("sold"), sum(col("price")).alias("revenue")])
}

async fn expressions_do_what_closures_do(world: &World) {
    let mut right: BTreeMap<String, (i64, Option<f64>)> = BTreeMap::new();
    for sale in sales().into_iter().filter(|sale| sale.item > Some(3)) {
        let (sold, revenue) = right.entry(sale.shop).or_default();
        *sold += 1;
        *revenue = match (*revenue, sale.price) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        };
    }
    let right: Vec<Total> =
        right.into_iter().map(|(shop, (sold, revenue))| Total { shop, sold, revenue }).collect();
    for shards in 1..=4 {
        let found = world.shards(totals(shards)).await;
        assert_eq!(found.len(), shards, "as many shards as before");
        let mut found = found.concat_rows();
        found.sort_by(|a, b| a.shop.cmp(&b.shop));
        assert_eq!(found, right, "{shards} shards");
    }
}

trait ConcatRows<T> {
    fn concat_rows(self) -> Vec<T>;
}

impl<T> ConcatRows<T> for Vec<Vec<T>> {
    fn concat_rows(self) -> Vec<T> {
        self.into_iter().flatten().collect()
    }
}

#[bigslice::func]
fn turns(least: i64) -> Result<Slice<(String, i64)>> {
    let lengths = Slice::const_(3, sales())
        .filter(move |sale| sale.item.is_some_and(|item| item >= least))
        .with_column::<(String, Option<i64>, Option<f64>, i64)>("twice", col("item") * lit(2))?
        .map(|(shop, _, _, twice)| (shop.to_uppercase(), twice))
        .filter_expr(col("_1").lt(lit(20)))?
        .reduce(|a, b| a + b);
    lengths
        .select::<(String, i64)>([upper(col("_0")), col("_1") + lit(1)])?
        .sort_by_expr([col("_1").sort(false, false), col("_0").sort(true, true)])
}

async fn closures_and_expressions_take_turns(world: &World) {
    let mut right: BTreeMap<String, i64> = BTreeMap::new();
    for sale in sales() {
        if let Some(item) = sale.item.filter(|item| (5..10).contains(item)) {
            *right.entry(sale.shop.to_uppercase()).or_default() += 2 * item;
        }
    }
    let mut right: Vec<(String, i64)> = right.into_iter().map(|(k, v)| (k, v + 1)).collect();
    right.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let found = world.shards(turns(5)).await;
    assert_eq!(found, [right]);
}

#[derive(Row, Debug, PartialEq)]
struct Renamed {
    #[row(rename = "Total")]
    total: f64,
    shop: String,
}

#[bigslice::func]
fn renamed() -> Result<Slice<Renamed>> {
    Slice::const_(2, sales()).sql(
        "select shop, sum(price) as \"Total\", count(*) as more from self where price is not null \
         group by shop order by shop",
    )
}

async fn fields_have_the_columns_with_their_names(world: &World) {
    let found = world.rows(renamed()).await;
    assert_eq!(found.len(), 5);
    assert!(found.is_sorted_by_key(|row| row.shop.clone()), "{found:?}");
    let total: f64 = sales().iter().filter_map(|sale| sale.price).sum();
    assert_eq!(found.iter().map(|row| row.total).sum::<f64>(), total);
}

async fn what_does_not_fit_the_row_is_said_at_the_verb(_: &World) {
    let said = |error: Error, parts: &[&str]| {
        let text = format!("{error} {:?}", error.hint());
        parts.iter().for_each(|part| assert!(text.contains(part), "no {part:?} in: {text}"));
    };
    let sales = || Slice::const_(2, sales());
    let place = "tests/slices/expr.rs:";
    let error = sales().select::<(String, i64)>([col("shop"), col("price")]).unwrap_err();
    said(error, &["select at", place, "\"price\" is Float64", "the row has Int64", "cast"]);
    let error = sales().select::<(String, i64)>([col("shop")]).unwrap_err();
    said(error, &["select at", place, "2 unnamed fields", "1 columns"]);
    let error = sales().select::<Total>([col("shop"), lit(1i64).alias("solt")]).unwrap_err();
    said(error, &["no column \"sold\"", "solt"]);
    let error = sales().filter_expr(col("shap").eq(lit("x"))).unwrap_err();
    said(error, &["filter_expr at", place, "shap", "shop"]);
    let error = sales().filter_expr(col("price")).unwrap_err();
    said(error, &["filter_expr at", place]);
    let error = sales().sql::<i64>("select count(*) from sales").unwrap_err();
    said(error, &["sql at", place, "no table \"sales\""]);
    let error = sales().sql::<i64>("selec 1").unwrap_err();
    said(error, &["sql at", place]);
    let error = sales().sql::<i64>("drop table self").unwrap_err();
    said(error, &["only a query"]);
    let error = sales().aggregate::<i64>([], [sum(col("shop"))]).unwrap_err();
    said(error, &["aggregate at", place]);
    assert!(sales().select::<f32>([cast(col("price"), DataType::Float32)]).is_ok());
}

#[bigslice::func]
fn without_prices() -> Result<Slice<(String, f64)>> {
    Slice::const_(2, sales()).select([col("shop"), col("price")])
}

#[bigslice::func]
fn with_prices() -> Result<Slice<(String, f64)>> {
    Slice::const_(2, sales()).select([col("shop"), coalesce(vec![col("price"), lit(0.0)])])
}

async fn nulls_that_the_row_cannot_hold_end_the_run(world: &World) {
    let text = world.error(without_prices()).await.to_string();
    for part in ["select at", "tests/slices/expr.rs:", "\"_1\" is null in row", "Option"] {
        assert!(text.contains(part), "no {part:?} in: {text}");
    }
    assert_eq!(world.rows(with_prices()).await.len(), 500);
}

/// Queries over `sales` and `items(item, name, weight)`; all have one text column.
const QUERIES: &[&str] = &[
    "select shop from sales where price > 10",
    "select shop || ':' || count(*) from sales group by shop",
    "select count(*)::text from sales",
    "select count(*)::text from (select item from sales union all select item from items)",
    "select count(distinct item)::text || '/' || max(price)::text from sales",
    "select shop || ':' || count(distinct item) from sales group by shop having count(*) > 3",
    "select distinct item::text from sales",
    "select coalesce(item, -1)::text from sales union select item::text from items",
    "select shop from sales union all select name from items",
    "select s.shop || i.name from sales s join items i on s.item = i.item",
    "select s.shop || coalesce(i.name, '-') from sales s left join items i on s.item = i.item",
    "select coalesce(s.shop, '+') || coalesce(i.name, '-') \
     from sales s full join items i on s.item = i.item and s.price > 20",
    "select shop from sales where item in (select item from items where weight > 2)",
    "select shop from sales where item not in (select item from items where item is not null)",
    "select shop from sales where item not in (select item from items)",
    "select name from items i where not exists (select 1 from sales s where s.item = i.item)",
    "select name from items where weight > (select avg(weight) from items)",
    "select shop from sales where price = (select max(price) from sales)",
    "select name || shop from items cross join (select distinct shop from sales)",
    "select i.name || j.name from items i join items j on i.weight < j.weight",
    "select i.name || coalesce(j.name, '-') from items i left join items j on i.weight < j.weight",
    "select shop || ':' || row_number() over (partition by shop order by price, item) from sales",
    "select (sum(weight) over (order by item nulls first))::text from items",
    "select shop || item || rank() over (partition by shop, item order by price) from sales \
     where item is not null",
    "select price::text as p from sales order by price desc nulls last, item limit 7",
    "select price::text as p from sales order by price nulls first limit 5 offset 90",
    "select shop from (select shop, price from sales order by price desc limit 20) where price > 20",
    "select n || '' from (values ('a'), ('b'), ('b')) t(n)",
    "select t.n from (values (1, 'a'), (2, 'b')) t(i, n) join sales s on s.item = t.i",
    "select 'one' from sales where false",
    "select max(price)::text from sales where false",
    "select shop from sales group by grouping sets ((shop), (shop, item))",
    "select coalesce(shop, 'all') || ':' || sum(price) from sales group by rollup (shop)",
    "with best as (select item, max(price) p from sales group by item) \
     select b.item::text || s.shop from best b join sales s on s.item = b.item and s.price = b.p",
    "select unnest([shop, 'x']) from sales where price > 24",
    "select i.name from items i where i.weight > \
     (select count(*) from sales s where s.item = i.item and s.price < 2)",
    "select shop from sales intersect select 'shop 1'",
    "select shop from sales except select 'shop 1'",
    "select s.shop || t.shop from (select shop, sum(price) p from sales group by shop) s join \
     (select shop, min(price) q from sales group by shop) t on s.shop = t.shop",
];

fn items() -> Vec<(Option<i64>, String, i64)> {
    let mut items: Vec<_> = (0..20).map(|n| (Some(n), format!("item {n}"), n % 7)).collect();
    items.push((None, "no item".to_owned(), 3));
    items
}

#[bigslice::func]
fn all_sales(shards: usize) -> Slice<Sale> {
    Slice::const_(shards, sales())
}

#[derive(Row, Debug)]
struct Item {
    item: Option<i64>,
    name: String,
    weight: i64,
}

fn item_rows() -> Slice<Item> {
    let rows = items().into_iter().map(|(item, name, weight)| Item { item, name, weight });
    Slice::const_(2, rows)
}

#[bigslice::func]
fn all_items() -> Slice<Item> {
    item_rows()
}

#[bigslice::func]
fn answer(shards: usize, query: usize) -> Result<Slice<Option<String>>> {
    let sales = Slice::const_(shards, sales());
    Slice::query(QUERIES[query], [("sales", sales.table()), ("items", item_rows().table())])
}

async fn queries_give_what_they_give_over_tables(world: &World) {
    let (sales, items) = (world.done(all_sales(1)).await, world.done(all_items()).await);
    world.session.register("sales", &sales).unwrap();
    world.session.register("items", &items).unwrap();
    for (n, query) in QUERIES.iter().enumerate() {
        let table = world.session.sql(query).await.unwrap().collect().await.unwrap();
        let text = arrow::util::pretty::pretty_format_batches(&table).unwrap().to_string();
        let mut right: Vec<&str> =
            text.lines().skip(3).map(|line| line.trim_matches(['|', ' '])).collect();
        right.retain(|line| !line.starts_with("+-"));
        right.sort_unstable();
        for shards in [1, 3] {
            let run = world.session.run(answer(shards, n)).await;
            let run = run.unwrap_or_else(|e| panic!("{query}, {shards} shards: {e}"));
            let found = run.collect().await.unwrap();
            let mut found: Vec<String> =
                found.into_iter().map(|text| text.unwrap_or_default().trim().to_owned()).collect();
            found.sort_unstable();
            assert_eq!(found, right, "{query}, {shards} shards");
        }
    }
}

#[bigslice::func]
fn float_keys() -> Result<Slice<(Option<f64>, i64)>> {
    let other_nan = f64::from_bits(f64::NAN.to_bits() | 1 << 63 | 1);
    let keys = [Some(f64::NAN), Some(other_nan), Some(0.0), Some(-0.0), None];
    let keys = (0..100).map(move |n| (keys[n % keys.len()], 1i64));
    Slice::const_(4, keys).aggregate([col("_0")], [sum(col("_1"))])
}

#[bigslice::func]
fn pair_keys() -> Result<Slice<(i64, i64, i64)>> {
    let keys = Slice::const_(4, (0..4000i64).map(|n| (n % 100, n % 100)));
    keys.aggregate([col("_0"), col("_1")], [count(lit(1))])
}

async fn keys_that_are_equal_to_sql_meet_in_one_shard(world: &World) {
    let found = world.rows(float_keys()).await;
    let sum_of = |is: &dyn Fn(Option<f64>) -> bool| -> Vec<i64> {
        found.iter().filter(|(key, _)| is(*key)).map(|(_, n)| *n).collect()
    };
    assert_eq!(sum_of(&|key| key.is_none()), [20]);
    assert_eq!(sum_of(&|key| key == Some(0.0)), [40]);
    assert_eq!(sum_of(&|key| key.is_some_and(f64::is_nan)).iter().sum::<i64>(), 40);
    let shards = world.shards(pair_keys()).await;
    assert!(shards.iter().all(|shard| !shard.is_empty()), "two equal columns are skewed");
    assert!(shards.concat().iter().all(|(a, b, n)| a == b && *n == 40));
}

#[derive(Row, Debug)]
struct Flight {
    carrier: String,
    origin: String,
    dep_delay: Option<f64>,
    distance: Option<i64>,
}

fn flights() -> String {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    root.join("testdata/flights/flights/*.parquet").to_str().unwrap().to_owned()
}

fn late_slice(path: String) -> Result<Slice<(String, f64, i64)>> {
    Slice::<Flight>::read_parquet(path)?
        .filter_expr(col("origin").eq(lit("JFK")))?
        .filter_expr(col("dep_delay").gt(lit(60.0)))?
        .aggregate([col("carrier")], [avg(col("dep_delay")), count(lit(1))])
}

#[bigslice::func]
fn late(path: String) -> Result<Slice<(String, f64, i64)>> {
    late_slice(path)
}

#[derive(Row, Debug)]
struct Number {
    x: f64,
}

#[bigslice::func]
fn above(path: String, least: f64) -> Result<Slice<Number>> {
    Slice::<Number>::read(path)?.filter_expr(col("x").gt(lit(least)))
}

async fn files_are_pruned_by_expressions(world: &World) {
    let text = late_slice(flights()).unwrap().explain();
    let scan = text.lines().find(|line| line.contains("columns=")).unwrap();
    assert!(scan.contains("columns=[carrier, dep_delay]"), "{text}");
    for filter in ["origin = ", "JFK", "(dep_delay) > "] {
        assert!(scan.contains(filter), "{text}");
    }
    assert!(!text.contains("FilterExec"), "filtered twice: {text}");
    let mut found = world.rows(late(flights())).await;
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let right = world
        .sql(&format!(
            "select carrier, avg(dep_delay) a, count(*) n from '{}' \
             where origin = 'JFK' and dep_delay > 60 group by carrier order by 1",
            flights()
        ))
        .await;
    assert_eq!(found.len(), right.lines().count() - 4, "{right}");
    for (line, (carrier, _, n)) in right.lines().skip(3).zip(&found) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        assert_eq!((cells[1], cells[3]), (carrier.as_str(), n.to_string().as_str()), "{line}");
    }
    // The maximum in the file's statistics is 4.
    let path = world.path("nan.parquet");
    world
        .sql(&format!("copy (select 4.0::double as x union all select 'NaN'::double) to '{path}'"))
        .await;
    let found = world.rows(above(path.clone(), 5.0)).await;
    assert!(found.len() == 1 && found[0].x.is_nan(), "{found:?}");
    // Filtered rows need not have the row type.
    let path = world.path("nulls.parquet");
    world
        .sql(&format!("copy (select null::double as x union all select 7::double) to '{path}'"))
        .await;
    assert_eq!(world.rows(above(path, 5.0)).await.len(), 1);
}

async fn what_differs_from_process_to_process_is_refused(_: &World) {
    let numbers = || Slice::const_(2, 0..10i64);
    for query in [
        "select random() from self",
        "select value from self where random() < 0.5",
        "select extract(year from now()) from self",
        "select value from (select value, uuid() from self order by current_date)",
        "select value from self where value > (select max(random()) from self)",
    ] {
        let error = numbers().sql::<f64>(query).unwrap_err();
        assert!(
            error.to_string().contains("does not depend on its arguments alone"),
            "{query}: {error}"
        );
        assert!(error.hint().unwrap().contains("argument of the func"), "{error:?}");
    }
}

#[derive(Row, Debug, PartialEq)]
struct Day {
    month: i64,
    flights: i64,
}

#[bigslice::func]
fn of_one_carrier(path: String) -> Slice<(String, Option<f64>)> {
    Slice::read_sql(format!("select carrier, dep_delay from '{path}' where carrier = 'HA'"))
}

#[bigslice::func]
fn busy_months(path: String) -> Slice<Day> {
    Slice::read_sql(format!(
        "select month, count(*) as flights from '{path}' where month <= 3 and \
         distance > (select avg(distance) from '{path}') group by month order by month;"
    ))
}

#[bigslice::func]
fn of_nothing() -> Slice<i64> {
    Slice::read_sql("select x from nowhere")
}

async fn statements_of_the_session_are_slices(world: &World) {
    let found = world.shards(of_one_carrier(flights())).await;
    assert!(found.len() > 1, "one shard");
    let right =
        world.sql(&format!("select count(*) as n from '{}' where carrier = 'HA'", flights())).await;
    assert!(right.contains(&format!(" {} ", found.concat().len())), "{right}");
    let months = world.rows(busy_months(flights())).await;
    assert_eq!(months.iter().map(|day| day.month).collect::<Vec<_>>(), [1, 2, 3]);
    let error = world.error(of_nothing()).await.to_string();
    assert!(error.contains("nowhere") && error.contains("expr.rs:"), "{error}");
}

async fn slices_are_data_frames(world: &World) {
    let frame = world.session.to_dataframe(totals(3)).await.unwrap();
    let few = frame.clone().filter(col("sold").lt(lit(1000))).unwrap();
    assert_eq!(few.count().await.unwrap(), 5);
    let most = frame.aggregate(vec![], vec![max(col("sold"))]).unwrap().collect().await.unwrap();
    assert_eq!(most.iter().map(|batch| batch.num_rows()).sum::<usize>(), 1);
    let run = world.done(totals(2)).await;
    assert_eq!(run.to_dataframe().unwrap().count().await.unwrap(), 5);
}

#[bigslice::func]
fn divided(by: i64) -> Result<Slice<i64>> {
    Slice::const_(2, 0..10i64).select([lit(100i64) / (col("value") - lit(by))])
}

#[bigslice::func]
fn several_rows() -> Result<Slice<i64>> {
    Slice::const_(2, 0..10i64).sql("select value from self where value = (select value from self)")
}

async fn an_error_within_an_expression_ends_the_run(world: &World) {
    let error = world.error(divided(3)).await;
    assert!(matches!(error, Error::Function { .. }), "{error:?}");
    for part in ["select at", "tests/slices/expr.rs:", "shard 0", "ivi"] {
        assert!(error.to_string().contains(part), "no {part:?} in: {error}");
    }
    assert_eq!(world.rows(divided(-1)).await.len(), 10);
    let error = world.error(several_rows()).await;
    assert!(error.to_string().contains("row"), "{error}");
}
