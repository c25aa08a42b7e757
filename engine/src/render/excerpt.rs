//! The rows that a table shows of a long result: the first and the last.

use std::collections::VecDeque;

use arrow::array::RecordBatch;

/// The first and the last rows of a result, and how many there were.
pub(super) struct Excerpt {
    head_max: usize,
    tail_max: usize,
    pub(super) head: Vec<RecordBatch>,
    pub(super) head_rows: usize,
    pub(super) tail: VecDeque<RecordBatch>,
    tail_rows: usize,
    pub(super) rows: usize,
}

impl Excerpt {
    pub(super) fn new(rows_max: usize) -> Self {
        Self {
            head_max: rows_max.div_ceil(2),
            tail_max: rows_max / 2,
            head: Vec::new(),
            head_rows: 0,
            tail: VecDeque::new(),
            tail_rows: 0,
            rows: 0,
        }
    }

    pub(super) fn push(&mut self, batch: &RecordBatch) {
        self.rows += batch.num_rows();
        let head = batch.num_rows().min(self.head_max - self.head_rows);
        if head > 0 {
            self.head.push(batch.slice(0, head));
            self.head_rows += head;
        }
        if batch.num_rows() > head && self.tail_max > 0 {
            let rest = batch.num_rows() - head;
            let kept = rest.min(self.tail_max);
            self.tail.push_back(batch.slice(batch.num_rows() - kept, kept));
            self.tail_rows += kept;
        }
        while self.tail_rows > self.tail_max {
            let surplus = self.tail_rows - self.tail_max;
            let Some(first) = self.tail.pop_front() else { return };
            self.tail_rows -= first.num_rows();
            if first.num_rows() > surplus {
                let rest = first.slice(surplus, first.num_rows() - surplus);
                self.tail_rows += rest.num_rows();
                self.tail.push_front(rest);
            }
        }
    }
}
