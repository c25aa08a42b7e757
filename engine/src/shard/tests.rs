//! Tests that written rows are read back, and that errors are found.

use std::fs::{self, File};
use std::io::BufReader;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int64Array, ListArray, RecordBatch, RecordBatchOptions, StringArray, StringViewArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::ipc::reader::StreamReader;
use tempfile::TempDir;

use super::samples::{KINDS, Numbers, batches, of_partition, texts};
use super::*;

struct Written {
    folder: TempDir,
    schema: SchemaRef,
    index: Index,
}

impl Written {
    fn of(schema: &SchemaRef, partitions: usize, work: impl FnOnce(&mut ShardWriter)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shard");
        let mut writer = ShardWriter::create(&path, Arc::clone(schema), partitions).unwrap();
        work(&mut writer);
        let index = writer.finish().unwrap();
        Self { folder, schema: Arc::clone(schema), index }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("shard")
    }

    fn file(&self) -> File {
        File::open(self.path()).unwrap()
    }

    fn batches(&self, partition: usize) -> Vec<RecordBatch> {
        let (file, decoder) = (self.file(), Decoder::new(&self.schema).unwrap());
        let decode = |block: &Block| {
            let bytes = read_block(&file, block).unwrap();
            let batch = decoder.decode(bytes, block.crc).unwrap();
            assert_eq!(batch.num_rows(), block.rows as usize);
            assert_eq!(batch.schema(), self.schema);
            batch
        };
        self.index.blocks(partition).iter().map(decode).collect()
    }

    fn texts(&self, partition: usize) -> Vec<String> {
        self.batches(partition).iter().flat_map(texts).collect()
    }

    fn stream(&self) -> Vec<RecordBatch> {
        let reader = StreamReader::try_new(BufReader::new(self.file()), None).unwrap();
        assert_eq!(reader.schema(), self.schema);
        reader.map(|batch| batch.unwrap()).collect()
    }
}

fn numbers(rows: usize) -> RecordBatch {
    let column: ArrayRef = Arc::new((0..rows as i64).collect::<Int64Array>());
    RecordBatch::try_from_iter([("n", column)]).unwrap()
}

fn long_texts(rows: usize, length: usize) -> RecordBatch {
    let mut of = Numbers::new(rows as u64);
    let texts: StringViewArray = (0..rows).map(|_| Some(of.text(length))).collect();
    RecordBatch::try_from_iter([("text", Arc::new(texts) as ArrayRef)]).unwrap()
}

fn check_round_trip(kinds: &[usize], seed: u64) {
    let mut of = Numbers::new(seed);
    let n = 1 + of.below(12);
    let batches = batches(kinds, 1 + of.below(30), &mut of);
    let mut expected = vec![Vec::new(); n];
    let written = Written::of(&batches[0].schema(), n, |writer| {
        for batch in &batches {
            match of.below(4) {
                0 => {
                    let partition = of.below(n);
                    writer.append(partition, batch.clone()).unwrap();
                    expected[partition].extend(texts(batch));
                }
                _ => {
                    let rows = 0..batch.num_rows();
                    let ids: Vec<u32> = rows.map(|_| of.below(n) as u32).collect();
                    writer.scatter(&ids, batch).unwrap();
                    for (partition, expected) in expected.iter_mut().enumerate() {
                        expected.extend(of_partition(batch, &ids, partition as u32));
                    }
                }
            }
            if of.below(5) == 0 {
                writer.flush_largest().unwrap();
            }
        }
    });
    for (partition, expected) in expected.iter().enumerate() {
        assert_eq!(&written.texts(partition), expected, "kinds {kinds:?}, seed {seed}");
        assert_eq!(written.index.rows(partition), expected.len() as u64);
    }
    let mut streamed: Vec<_> = written.stream().iter().flat_map(texts).collect();
    let mut expected = expected.concat();
    streamed.sort_unstable();
    expected.sort_unstable();
    assert_eq!(streamed, expected, "kinds {kinds:?}, seed {seed}");
}

#[test]
fn rows_of_every_type_come_back_in_order() {
    for kind in 0..KINDS {
        for seed in 0..6 {
            check_round_trip(&[kind], seed);
        }
    }
}

#[test]
fn rows_of_many_columns_come_back_in_order() {
    for seed in 100..130 {
        let mut of = Numbers::new(seed);
        let kinds: Vec<_> = (0..1 + of.below(6)).map(|_| of.below(KINDS)).collect();
        check_round_trip(&kinds, seed);
    }
}

#[test]
fn rows_without_columns_are_counted() {
    let options = |rows| RecordBatchOptions::new().with_row_count(Some(rows));
    let schema = Arc::new(Schema::empty());
    let batch = |rows| {
        RecordBatch::try_new_with_options(Arc::clone(&schema), Vec::new(), &options(rows)).unwrap()
    };
    let written = Written::of(&schema, 3, |writer| {
        writer.append(0, batch(5_000_000)).unwrap();
        writer.append(0, batch(0)).unwrap();
        writer.scatter(&[2, 0, 2], &batch(3)).unwrap();
    });
    let rows = |p| written.batches(p).iter().map(RecordBatch::num_rows).sum::<usize>();
    assert_eq!([rows(0), rows(1), rows(2)], [5_000_001, 0, 2]);
    assert!(written.index.blocks(1).is_empty());
}

#[test]
fn what_compresses_best_can_be_decoded() {
    let zeros: ArrayRef = Arc::new(Int64Array::from(vec![0; 1_000_000]));
    let zeros = RecordBatch::try_from_iter([("zero", zeros)]).unwrap();
    let written = Written::of(&zeros.schema(), 1, |w| w.append(0, zeros).unwrap());
    assert!(written.index.bytes() < 50_000, "{}", written.index.bytes());
    assert_eq!(written.texts(0), vec!["0"; 1_000_000]);
}

#[test]
fn nothing_makes_no_block() {
    let batch = numbers(10).slice(3, 0);
    let written = Written::of(&batch.schema(), 2, |writer| {
        writer.append(1, batch.clone()).unwrap();
        writer.scatter(&[], &batch).unwrap();
        writer.flush_largest().unwrap();
        assert_eq!(writer.buffered_bytes(), 0);
    });
    assert_eq!((written.index.bytes(), written.index.blocks(1).len()), (0, 0));
    assert!(written.stream().is_empty());
    Written::of(&batch.schema(), 0, |writer| writer.flush_largest().unwrap());
}

#[test]
fn blocks_are_neither_small_nor_large() {
    let (small, large) = (numbers(100), numbers(1_000_000));
    let written = Written::of(&small.schema(), 64, |writer| {
        writer.append(0, large.clone()).unwrap();
        for i in 0..3000 {
            let ids: Vec<u32> = (0..100).map(|row| (i + row) % 7 * 9).collect();
            writer.scatter(&ids, &small).unwrap();
            // A partition that gets two rows now and then.
            writer.append(1, small.slice(i as usize % 98, 2)).unwrap();
        }
    });
    assert_eq!(written.index.rows(0), 1_000_000 + 42_857);
    assert_eq!(written.index.blocks(1).len(), 1);
    assert_eq!(written.index.blocks(9).len(), 2);
    for block in written.index.blocks(0).split_last().unwrap().1 {
        assert!((8192..200_000).contains(&block.rows), "{block:?}");
    }
}

#[test]
fn what_rows_do_not_refer_to_is_not_written() {
    let texts = long_texts(1000, 1000);
    let (values, offsets) = (texts.column(0), OffsetBuffer::<i32>::from_lengths([4; 250]));
    let item = Arc::new(Field::new_list_field(DataType::Utf8View, true));
    let lists: ArrayRef = Arc::new(ListArray::new(item, offsets, Arc::clone(values), None));
    let lists = RecordBatch::try_from_iter([("lists", lists)]).unwrap();
    let words: ArrayRef =
        Arc::new((0..1000).map(|i| Some(format!("{i:0500}"))).collect::<StringArray>());
    let kind = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8View));
    let words = arrow::compute::cast(&words, &kind).unwrap();
    let words = RecordBatch::try_from_iter([("words", words)]).unwrap();
    for batch in [texts, lists, words] {
        let ids: Vec<u32> = (0..batch.num_rows() as u32).collect();
        let written = Written::of(&batch.schema(), 1000, |writer| {
            writer.append(0, batch.slice(7, 2)).unwrap();
            assert!(writer.buffered_bytes() < 20_000, "{}", writer.buffered_bytes());
            writer.scatter(&ids, &batch).unwrap();
        });
        assert!(written.index.bytes() < 4_000_000, "{}", written.index.bytes());
        for partition in [0, 7, 249] {
            assert!(written.index.blocks(partition).iter().all(|block| block.bytes < 14_000));
        }
    }
}

#[test]
fn memory_is_counted_and_freed() {
    let batch = long_texts(10_000, 100);
    let ids: Vec<u32> = (0..10_000).map(|i| i * i % 31).collect();
    let written = Written::of(&batch.schema(), 31, |writer| {
        for _ in 0..10 {
            writer.scatter(&ids, &batch).unwrap();
            assert!(writer.buffered_bytes() > 1_000_000, "{}", writer.buffered_bytes());
            while writer.buffered_bytes() > 500_000 {
                let before = writer.buffered_bytes();
                writer.flush_largest().unwrap();
                assert!(writer.buffered_bytes() < before + 100_000);
            }
        }
        while writer.buffered_bytes() > 0 {
            writer.flush_largest().unwrap();
        }
    });
    let rows: u64 = (0..31).map(|partition| written.index.rows(partition)).sum();
    assert_eq!(rows, 100_000);
}

#[test]
fn a_partition_of_small_pieces_holds_little_more_than_its_rows() {
    let batch = numbers(1000);
    Written::of(&batch.schema(), 1, |writer| {
        for i in 0..10_000 {
            writer.append(0, batch.slice(i % 1000, 1)).unwrap();
            assert!(writer.buffered_bytes() < 300_000, "{i}: {}", writer.buffered_bytes());
        }
    });
}

#[test]
fn a_dictionary_that_outgrows_its_keys_is_in_several_blocks() {
    let batches = batches(&[19], 60, &mut Numbers::new(5));
    let expected: Vec<_> = batches.iter().flat_map(texts).collect();
    let written = Written::of(&batches[0].schema(), 1, |writer| {
        for batch in &batches {
            writer.scatter(&vec![0; batch.num_rows()], batch).unwrap();
        }
    });
    assert_eq!(written.texts(0), expected);
    assert!(written.index.blocks(0).len() > 1);
}

#[test]
fn rows_that_do_not_fit_are_refused() {
    let check = |work: &dyn Fn(&mut ShardWriter) -> Result<()>, text: &str| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shard");
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        let mut writer = ShardWriter::create(&path, schema, 4).unwrap();
        let error = work(&mut writer).unwrap_err().to_string();
        assert_eq!(error, text);
        let error = writer.append(0, numbers(1)).unwrap_err().to_string();
        assert!(error.contains("is not complete"), "{error}");
        let error = writer.finish().unwrap_err().to_string();
        assert!(error.contains("is not complete"), "{error}");
        assert!(!path.exists());
    };
    check(&|w| w.append(4, numbers(1)), "no partition 4: the shard file has 4");
    check(&|w| w.scatter(&[0, 4], &numbers(2)), "no partition 4: the shard file has 4");
    check(&|w| w.scatter(&[0, 0], &numbers(3)), "2 partition numbers for 3 rows");
    let text = "column \"n\" is Utf8View, but Int64 in its shard file";
    check(&|w| w.append(0, long_texts(1, 1)), text);
    let nulls: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
    let nulls = RecordBatch::try_from_iter([("x", nulls)]).unwrap();
    let text = "column \"n\" has nulls, but is not nullable in its shard file";
    check(&|w| w.scatter(&[0, 0], &nulls), text);
    let none = RecordBatch::try_new_with_options(
        Arc::new(Schema::empty()),
        Vec::new(),
        &RecordBatchOptions::new().with_row_count(Some(2)),
    );
    let none = none.unwrap();
    check(&|w| w.append(0, none.clone()), "0 columns for a shard file of 1");
}

#[test]
fn a_row_larger_than_a_block_can_be_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shard");
    let batch = long_texts(4, 3_000_000);
    let open = |bytes_max| {
        let file = File::create(&path).unwrap();
        ShardWriter::over(file, path.clone(), batch.schema(), 1, bytes_max).unwrap()
    };
    let error = open(2_000_000).append(0, batch.clone()).unwrap_err().to_string();
    let text = "a row of 3000016 bytes is too large: a shard block holds at most 2000000";
    assert_eq!(error, text);
    let mut writer = open(3_100_000);
    writer.append(0, batch.clone()).unwrap();
    assert_eq!(writer.finish().unwrap().blocks(0).len(), 4);
}

#[test]
fn a_full_disk_is_an_error_with_path_and_cause() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("never created");
    let batch = numbers(10);
    let file = File::options().write(true).open("/dev/full").unwrap();
    let error = ShardWriter::over(file, path.clone(), batch.schema(), 1, usize::MAX).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(path.to_str().unwrap()) && text.contains("No space left"), "{text}");
}

#[test]
fn a_file_that_is_not_finished_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shard");
    let mut writer = ShardWriter::create(&path, numbers(1).schema(), 1).unwrap();
    writer.append(0, numbers(1_000_000)).unwrap();
    assert!(fs::metadata(&path).unwrap().len() > 1_000_000);
    drop(writer);
    assert!(!path.exists());
    fs::write(&path, "of another").unwrap();
    let error = ShardWriter::create(&path, numbers(1).schema(), 1).unwrap_err().to_string();
    assert!(error.contains("exists") && error.contains(path.to_str().unwrap()), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"of another");
}

#[test]
fn every_flipped_bit_is_found() {
    let batch = samples::batch(&[0, 1, 19], 5, &mut Numbers::new(1));
    let written = Written::of(&batch.schema(), 1, |w| w.append(0, batch.clone()).unwrap());
    let block = written.index.blocks(0)[0];
    let bytes = read_block(&written.file(), &block).unwrap().to_vec();
    let decoder = Decoder::new(&batch.schema()).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let error = decoder.decode(changed.into(), block.crc).unwrap_err().to_string();
        let n = bytes.len();
        let text = format!("shard block of {n} bytes was changed on disk: its checksum is wrong");
        assert_eq!(error, text);
    }
    assert_eq!(texts(&decoder.decode(bytes.into(), block.crc).unwrap()), texts(&batch));
}

#[test]
fn a_block_that_means_nothing_is_an_error() {
    let schema = numbers(1).schema();
    let decoder = Decoder::new(&schema).unwrap();
    let decode = |bytes: Vec<u8>, decoder: &Decoder| {
        let crc = crc32fast::hash(&bytes);
        decoder.decode(bytes.into(), crc)
    };
    for bytes in [Vec::new(), vec![0; 4], vec![0; 100], vec![0xff; 100]] {
        assert!(matches!(decode(bytes, &decoder), Err(Error::Malformed(_))));
    }
    let batch = samples::batch(&[0, 1, 13, 20], 9, &mut Numbers::new(2));
    let written = Written::of(&batch.schema(), 1, |w| w.append(0, batch.clone()).unwrap());
    let bytes = read_block(&written.file(), &written.index.blocks(0)[0]).unwrap().to_vec();
    // With the schema of other columns.
    let error = decode(bytes.clone(), &decoder).unwrap_err();
    assert!(matches!(error, Error::Malformed(_)), "{error}");
    // With bits flipped before the checksum: any result but a crash.
    let decoder = Decoder::new(&batch.schema()).unwrap();
    let mut wrong = 0;
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        wrong += usize::from(decode(changed, &decoder).is_err());
    }
    assert!(wrong > bytes.len(), "{wrong}");
    for length in 0..bytes.len() {
        assert!(decode(bytes[..length].to_vec(), &decoder).is_err());
    }
    let twice = [bytes.clone(), bytes].concat();
    assert!(decode(twice, &decoder).unwrap_err().to_string().contains("after its rows"));
}

#[test]
fn a_truncated_file_is_an_error() {
    let written = Written::of(&numbers(1).schema(), 1, |w| w.append(0, numbers(100)).unwrap());
    let block = written.index.blocks(0)[0];
    let file = File::options().write(true).read(true).open(written.path()).unwrap();
    file.set_len(block.offset + u64::from(block.bytes) / 2).unwrap();
    let error = read_block(&file, &block).unwrap_err().to_string();
    assert!(error.contains("shard file is truncated"), "{error}");
    file.set_len(block.offset + u64::from(block.bytes)).unwrap();
    let bytes = read_block(&file, &block).unwrap();
    let decoder = Decoder::new(&written.schema).unwrap();
    assert!(matches!(decoder.decode(bytes, block.crc), Err(Error::Changed { .. })));
    file.write_all_at(b"x", 0).unwrap();
}

#[test]
fn an_index_can_be_sent() {
    let written = Written::of(&numbers(1).schema(), 3, |w| w.append(1, numbers(100)).unwrap());
    let bytes = postcard::to_allocvec(&written.index).unwrap();
    assert_eq!(postcard::from_bytes::<Index>(&bytes).unwrap(), written.index);
    let total = fs::metadata(written.path()).unwrap().len();
    let block = written.index.blocks(1)[0];
    assert_eq!(total, block.offset + written.index.bytes() + 8);
    fn sendable(_: impl Send) {}
    sendable(ShardWriter::create(&written.path(), numbers(1).schema(), 1));
}
