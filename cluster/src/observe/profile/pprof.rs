//! A profile in the format of pprof: the messages of its `profile.proto` by their field numbers, as
//! far as our profiles fill them.

use std::collections::HashMap;
use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;

use crate::observe::profile::merged::Profile;
use crate::observe::profile::stacks::Function as Frame;

#[derive(Clone, PartialEq, Message)]
struct Proto {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
    #[prost(int64, tag = "9")]
    time_nanos: i64,
    #[prost(int64, tag = "10")]
    duration_nanos: i64,
    #[prost(message, optional, tag = "11")]
    period_type: Option<ValueType>,
    #[prost(int64, tag = "12")]
    period: i64,
    #[prost(int64, repeated, tag = "13")]
    comment: Vec<i64>,
    #[prost(int64, tag = "14")]
    default_sample_type: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    kind: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    label: Vec<Label>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Label {
    #[prost(int64, tag = "1")]
    key: i64,
    #[prost(int64, tag = "2")]
    text: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function_id: u64,
    #[prost(int64, tag = "2")]
    line: i64,
}

/// Without the linker's name: where both are equal, `go tool pprof` takes the name for C++ and
/// leaves out the text between angle brackets, which in Rust is the type of a method.
#[derive(Clone, Copy, PartialEq, Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
    #[prost(int64, tag = "4")]
    filename: i64,
}

/// The tables that samples refer to, filled on demand.
struct Tables<'a> {
    proto: Proto,
    strings: HashMap<&'a str, i64>,
    functions: HashMap<(&'a str, &'a str), u64>,
    locations: HashMap<&'a Frame, u64>,
}

impl<'a> Tables<'a> {
    fn new() -> Self {
        let mut tables = Self {
            proto: Proto::default(),
            strings: HashMap::new(),
            functions: HashMap::new(),
            locations: HashMap::new(),
        };
        // The first string must be empty: it means "not set".
        tables.string("");
        tables
    }

    fn string(&mut self, text: &'a str) -> i64 {
        let table = &mut self.proto.string_table;
        *self.strings.entry(text).or_insert_with(|| {
            table.push(text.to_owned());
            table.len() as i64 - 1
        })
    }

    fn value_type(&mut self, kind: &'a str, unit: &'a str) -> ValueType {
        ValueType { kind: self.string(kind), unit: self.string(unit) }
    }

    /// The numbers of functions and locations begin at 1.
    fn location(&mut self, frame: &'a Frame) -> u64 {
        if let Some(id) = self.locations.get(frame) {
            return *id;
        }
        let function_id = self.function(frame);
        let id = self.proto.location.len() as u64 + 1;
        let line = Line { function_id, line: i64::from(frame.line) };
        self.proto.location.push(Location { id, line: vec![line] });
        self.locations.insert(frame, id);
        id
    }

    fn function(&mut self, frame: &'a Frame) -> u64 {
        let key = (frame.name.as_str(), frame.file.as_str());
        if let Some(id) = self.functions.get(&key) {
            return *id;
        }
        let (name, filename) = (self.string(&frame.name), self.string(&frame.file));
        let id = self.proto.function.len() as u64 + 1;
        self.proto.function.push(Function { id, name, filename });
        self.functions.insert(key, id);
        id
    }
}

impl Profile {
    /// As pprof's protocol buffer, compressed: the format of `go tool pprof` and most viewers. Each
    /// sample has the labels `machine` and `thread`.
    pub fn to_pprof(&self) -> Vec<u8> {
        encode(self)
    }
}

/// The profile as a compressed message.
fn encode(profile: &Profile) -> Vec<u8> {
    let notes: Vec<String> = notes(profile);
    let mut tables = Tables::new();
    let samples = tables.value_type("samples", "count");
    let cpu = tables.value_type("cpu", "nanoseconds");
    let (machine_key, thread_key) = (tables.string("machine"), tables.string("thread"));
    for (machine, stacks) in &profile.parts {
        let machine = Label { key: machine_key, text: tables.string(machine.as_str()) };
        for stack in &stacks.stacks {
            let location_id = stacks.frames(stack).map(|frame| tables.location(frame)).collect();
            let thread = Label { key: thread_key, text: tables.string(&stack.thread) };
            let nanos = stack.samples * stacks.hertz.period_nanos();
            tables.proto.sample.push(Sample {
                location_id,
                value: vec![stack.samples as i64, nanos as i64],
                label: vec![machine, thread],
            });
        }
    }
    let comment = notes.iter().map(|note| tables.string(note)).collect();
    let proto = Proto {
        sample_type: vec![samples, cpu],
        time_nanos: (profile.began_ms * 1_000_000) as i64,
        duration_nanos: i64::try_from(profile.lasted.as_nanos()).unwrap_or(i64::MAX),
        period_type: Some(cpu),
        period: profile.hertz.period_nanos() as i64,
        comment,
        default_sample_type: cpu.kind,
        ..tables.proto
    };
    compress(&proto.encode_to_vec()).unwrap_or_default()
}

fn notes(profile: &Profile) -> Vec<String> {
    let missing = profile.missing.iter().map(|(m, reason)| format!("without {m}: {reason}"));
    let omitted = profile.parts.iter().filter(|(_, stacks)| stacks.omitted > 0);
    let omitted =
        omitted.map(|(m, s)| format!("{m}: {} samples of rare stacks left out", s.omitted));
    missing.chain(omitted).collect()
}

/// Into memory, where writing does not fail.
fn compress(message: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(message)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use prost::Message;

    use super::{Proto, encode};
    use crate::observe::profile::merged::tests::profile;

    #[test]
    fn machines_share_the_tables_of_functions() {
        let mut bytes = Vec::new();
        GzDecoder::new(&*encode(&profile())).read_to_end(&mut bytes).expect("it is compressed");
        let proto = Proto::decode(&*bytes).expect("a message");
        let text = |n: i64| proto.string_table[usize::try_from(n).expect("an index")].as_str();
        assert_eq!(text(0), "");
        let names: Vec<&str> = proto.function.iter().map(|f| text(f.name)).collect();
        assert_eq!(names, ["work<T>", "main"]);
        let samples: Vec<_> = proto
            .sample
            .iter()
            .map(|s| (text(s.label[0].text), s.location_id.clone(), s.value.clone()))
            .collect();
        assert_eq!(
            samples,
            [("m0", vec![1, 2], vec![3, 30_000_000]), ("m1", vec![2], vec![1, 10_000_000])]
        );
        assert_eq!(text(proto.comment[0]), "without m2: it is \"gone\"");
        assert_eq!((proto.period, proto.time_nanos), (10_000_000, 5_000_000));
    }
}
