//! What DataFusion's spill pools do when two tasks spill at the same time, with files of many
//! batches and with those that [`settings`](crate::base::settings) give them.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use bytes::Bytes;
use datafusion::arrow::array::{ArrayRef, Int64Array};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::Result;
use datafusion::execution::disk_manager::DiskManagerBuilder;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{SpillFile, SpillWriter, TempFileFactory};
use datafusion::physical_plan::SpillManager;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, SpillMetrics};
use datafusion::physical_plan::spill::spill_pool;
use futures::{Stream, StreamExt};
use parking_lot::Mutex;

use crate::base::memory::spill::{ONE_BATCH, SpillFiles};

/// Files of which the first is slow to open: its writer says so and waits.
struct SlowFirst {
    files: SpillFiles,
    slow: Mutex<Option<(SyncSender<()>, Receiver<()>)>>,
}

struct SlowFile {
    file: Arc<dyn SpillFile>,
    slow: Mutex<Option<(SyncSender<()>, Receiver<()>)>>,
}

impl TempFileFactory for SlowFirst {
    fn create_temp_file(&self, description: &str) -> Result<Arc<dyn SpillFile>> {
        let file = self.files.create_temp_file(description)?;
        Ok(Arc::new(SlowFile { file, slow: Mutex::new(self.slow.lock().take()) }))
    }
}

impl SpillFile for SlowFile {
    fn size(&self) -> Option<u64> {
        self.file.size()
    }

    fn read_stream(&self) -> Result<Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>> {
        self.file.read_stream()
    }

    fn open_writer(&self) -> Result<Box<dyn SpillWriter>> {
        if let Some((says_so, waits)) = self.slow.lock().take() {
            says_so.send(()).unwrap();
            waits.recv().unwrap();
        }
        self.file.open_writer()
    }
}

/// The batches that a reader gets within a moment of the two that two tasks spill at the same time,
/// while the tasks may spill more.
async fn read_of_two(file_bytes_max: usize) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let ((says_so, heard), (go_on, waits)) = (sync_channel(1), sync_channel(1));
    let slow = Mutex::new(Some((says_so, waits)));
    let files = SlowFirst { files: SpillFiles::within(folder.path().to_owned()), slow };
    let disk = DiskManagerBuilder::default().with_temp_file_factory(Arc::new(files));
    let runtime = RuntimeEnvBuilder::new().with_disk_manager_builder(disk).build_arc().unwrap();
    let column: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let batch = RecordBatch::try_from_iter([("a", column)]).unwrap();
    let metrics = SpillMetrics::new(&ExecutionPlanMetricsSet::new(), 0);
    let manager = Arc::new(SpillManager::new(runtime, metrics, batch.schema()));
    let (pool, mut rows) = spill_pool::mpsc_channel(file_bytes_max, manager);
    let (one, other) = (pool.new_sink(), pool.new_sink());

    let same = batch.clone();
    let first = std::thread::spawn(move || {
        one.push_batch(&same).unwrap();
        one
    });
    heard.recv().unwrap();
    other.push_batch(&batch).unwrap();
    go_on.send(()).unwrap();
    let _open = (first.join().unwrap(), other);

    let mut read = 0;
    while let Ok(Some(next)) = tokio::time::timeout(Duration::from_millis(500), rows.next()).await {
        next.unwrap();
        read += 1;
    }
    read
}

#[tokio::test]
async fn two_tasks_that_spill_at_once_leave_nothing_to_wait_for() {
    assert_eq!(read_of_two(ONE_BATCH).await, 2);
}

/// This fails when DataFusion reads the batch that is there: then files may be larger again.
#[tokio::test]
async fn one_batch_a_file_is_still_needed() {
    assert_eq!(read_of_two(128 << 20).await, 1);
}
