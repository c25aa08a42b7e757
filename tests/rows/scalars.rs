//! Every type of a single value, with its edges.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};

use super::{arrays, round_trip, round_trip_optional, rows};
use bigslice::row::{Decimal, DecimalError, Row, Value};

#[test]
fn numbers() {
    round_trip_optional(&[i8::MIN, -1, 0, i8::MAX]);
    round_trip_optional(&[i16::MIN, -1, 0, i16::MAX]);
    round_trip_optional(&[i32::MIN, -1, 0, i32::MAX]);
    round_trip_optional(&[i64::MIN, -1, 0, i64::MAX]);
    round_trip_optional(&[0, u8::MAX]);
    round_trip_optional(&[0, u16::MAX]);
    round_trip_optional(&[0, u32::MAX]);
    round_trip_optional(&[0, u64::MAX]);
    round_trip_optional(&[f32::MIN, -0.0, f32::INFINITY]);
    round_trip_optional(&[f64::MIN, -0.0, f64::INFINITY]);
    round_trip_optional(&[true, false, true, true]);
    assert!(rows::<f64>(&arrays(&[f64::NAN])).unwrap()[0].is_nan());
}

#[test]
fn texts() {
    let texts = ["", "short", "twelve bytes", "one more byte", "grüße", &"long ".repeat(5000)];
    round_trip_optional(&texts.map(String::from));
    round_trip_optional(&texts.map(Box::<str>::from));
    round_trip_optional(&texts.map(Arc::<str>::from));
    round_trip_optional(&texts.map(|text| Bytes::copy_from_slice(text.as_bytes())));
    round_trip_optional(&[Bytes::from_static(b"\xff\x00")]);
}

#[test]
fn nothing() {
    round_trip::<String>(&[]);
    round_trip::<Option<i64>>(&[]);
    round_trip::<Option<i64>>(&[None]);
    round_trip::<Vec<String>>(&[]);
    round_trip::<[bool; 3]>(&[]);
    round_trip::<Decimal<38, 10>>(&[]);
}

#[test]
fn times() {
    let date = |text: &str| text.parse::<NaiveDate>().unwrap();
    round_trip_optional(&[date("1969-12-31"), date("2024-02-29"), NaiveDate::MIN, NaiveDate::MAX]);
    let moments =
        ["1969-12-31T23:59:59.999999", "2024-02-29T12:00:00.000001", "0001-01-01T00:00:00"];
    let moments = moments.map(|text| text.parse::<NaiveDateTime>().unwrap());
    round_trip_optional(&moments);
    round_trip_optional(&moments.map(|moment| moment.and_utc()));
    let times = ["00:00:00", "23:59:59.999999", "12:34:56.000001"];
    round_trip_optional(&times.map(|text| text.parse::<NaiveTime>().unwrap()));
    let deltas = [i64::MIN, -1, 0, i64::MAX].map(TimeDelta::microseconds);
    round_trip_optional(&deltas);
}

/// Dates of the years 1900 to 2099 come out of a table, and batches with others do not.
#[test]
fn dates_within_and_around_the_table() {
    let date = |year| NaiveDate::from_ymd_opt(year, 1, 1).unwrap();
    for years in [1900..2100, 1899..2100, 1900..2101, 1000..1001, 2099..2101] {
        let days = date(years.start).to_epoch_days()..date(years.end).to_epoch_days();
        let dates: Vec<_> = days.filter_map(NaiveDate::from_epoch_days).collect();
        assert_eq!(rows::<NaiveDate>(&arrays(&dates)).unwrap(), dates);
        let last = date(years.end).and_time(NaiveTime::MIN) - TimeDelta::microseconds(1);
        let at_noon = |date: &NaiveDate| date.and_hms_micro_opt(12, 34, 56, 789).unwrap();
        let moments: Vec<_> = dates.iter().map(at_noon).chain([last]).collect();
        assert_eq!(rows::<NaiveDateTime>(&arrays(&moments)).unwrap(), moments);
        let moments: Vec<_> = moments.iter().map(NaiveDateTime::and_utc).collect();
        assert_eq!(rows::<DateTime<Utc>>(&arrays(&moments)).unwrap(), moments);
    }
}

#[test]
fn times_are_cut_to_microseconds() {
    fn stored<T: Row + Clone>(value: T) -> T {
        rows(&arrays(&[value])).unwrap().remove(0)
    }
    let nanos = |text: &str| text.parse::<NaiveDateTime>().unwrap();
    assert_eq!(stored(nanos("2024-01-01T00:00:00.000001999")), nanos("2024-01-01T00:00:00.000001"));
    assert_eq!(stored(nanos("1969-12-31T23:59:59.999999999")), nanos("1969-12-31T23:59:59.999999"));
    let leap = NaiveTime::from_num_seconds_from_midnight_opt(86_399, 1_500_000_000).unwrap();
    assert_eq!(stored(leap), "23:59:59.999999".parse().unwrap());
    assert_eq!(stored(TimeDelta::MAX), TimeDelta::microseconds(i64::MAX));
    assert_eq!(stored(TimeDelta::MIN), TimeDelta::microseconds(i64::MIN));
    let whole = |moment: DateTime<Utc>| moment.timestamp_micros();
    assert_eq!(whole(stored(DateTime::<Utc>::MAX_UTC)), whole(DateTime::<Utc>::MAX_UTC));
    assert_eq!(whole(stored(DateTime::<Utc>::MIN_UTC)), whole(DateTime::<Utc>::MIN_UTC));
}

#[test]
fn decimals() {
    type Price = Decimal<10, 2>;
    let parse = |text: &str| text.parse::<Price>();
    round_trip_optional(&["0.01", "-99999999.99", "0"].map(|text| parse(text).unwrap()));
    let shown = [
        ("12.5", "12.50"),
        ("-0.05", "-0.05"),
        ("+7", "7.00"),
        (".5", "0.50"),
        ("5.", "5.00"),
        ("0012.3400", "12.34"),
        ("-0", "0.00"),
        ("0.000", "0.00"),
    ];
    for (text, expected) in shown {
        assert_eq!(parse(text).unwrap().to_string(), expected, "{text}");
    }
    for text in ["", "-", ".", "1e5", "+-1", "1.2.3", "1 ", "٣"] {
        let expected = DecimalError::Malformed { text: text.to_owned() };
        assert_eq!(parse(text).unwrap_err(), expected);
    }
    let wrong = |text| parse(text).unwrap_err().to_string();
    assert_eq!(wrong("x"), "\"x\" is not a decimal number");
    assert_eq!(wrong("1.234"), "\"1.234\" would lose digits with a scale of 2");
    let digits = "has more digits than a precision of 10 and scale of 2 allow";
    assert_eq!(wrong("100000000"), format!("\"100000000\" {digits}"));
    let long = "9".repeat(99);
    assert_eq!(wrong(&long), format!("\"{long}\" {digits}"));

    assert_eq!(Price::from_unscaled(10_i128.pow(10)), None);
    assert_eq!(Price::from_unscaled(i128::MIN), None);
    assert_eq!(Price::from_unscaled(-9_999_999_999).unwrap().to_string(), "-99999999.99");
    assert!(parse("-1").unwrap() < parse("0.5").unwrap());
    assert_eq!(
        format!("{:>8}|{:?}", parse("1.5").unwrap(), parse("1.5").unwrap()),
        "    1.50|1.50"
    );
}

#[test]
fn decimals_of_other_scales() {
    let thousands: Decimal<4, -3> = "1234000".parse().unwrap();
    assert_eq!((thousands.unscaled(), thousands.to_string()), (1234, "1234000".to_owned()));
    assert_eq!("0".parse::<Decimal<4, -3>>().unwrap().to_string(), "0");
    assert!("1234500".parse::<Decimal<4, -3>>().is_err());
    let small: Decimal<5, 5> = "-0.00001".parse().unwrap();
    assert_eq!((small.unscaled(), small.to_string()), (-1, "-0.00001".to_owned()));
    let most = "9".repeat(38);
    assert_eq!(most.parse::<Decimal<38, 0>>().unwrap().to_string(), most);
    round_trip_optional(&[thousands]);
    round_trip_optional(&[small]);
    assert_eq!(<Decimal<4, -3> as Value>::data_type().to_string(), "Decimal128(4, -3)");
}
