//! Wrong numbers given to a verb or to the builder are errors of the user, and no panics.

use futures::stream;

use crate::row::Mismatch;
use crate::session::testing::TestHooks;
use crate::tests::here;
use crate::{Error, Session, Slice};

#[tokio::test]
async fn a_wrong_number_is_an_error_of_the_run_with_its_place() {
    let session = here().await;
    let one = || Slice::const_(1, [(1, 2)]);
    let none = || std::iter::empty::<Result<(i32, i32), String>>();
    let no_batches = |_: usize| stream::empty::<Result<_, String>>();
    let slices = [
        (Slice::const_(0, [(1, 2)]), "const_ at ", "shards"),
        (Slice::reader(0, move |_| none()), "reader at ", "shards"),
        (Slice::batches(0, no_batches), "batches at ", "shards"),
        (Slice::push_reader(0, |_, _| Ok::<_, Mismatch>(())), "push_reader at ", "shards"),
        (one().reshard(0), "reshard at ", "shards"),
        (one().reshard(0).map(|pair| pair), "reshard at ", "shards"),
        (one().procs(0), "procs at ", "slots"),
        (one().procs(0).reduce(|a, b| a + b), "procs at ", "slots"),
    ];
    for (slice, verb, what) in slices {
        let error = session.run(slice).await.unwrap_err();
        assert!(matches!(error, Error::Query { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.starts_with(verb) && text.contains("mistakes.rs:"), "{text}");
        assert!(text.ends_with(&format!("the number of {what} must be at least 1")), "{text}");
    }
}

#[tokio::test]
async fn a_session_that_cannot_be_is_refused() {
    let faults = crate::cluster::faults::Faults::new(1);
    for (builder, said) in [
        (Session::builder().elastic(0), "the limit must be at least 1"),
        (Session::builder().workers(65), "more than the 64"),
        (Session::builder().partitions(0), "must be from 1 to 256"),
        (Session::builder().faults(faults), "tasks of this process"),
    ] {
        let error = builder.build().await.unwrap_err();
        assert!(matches!(error, Error::Config { .. }), "{error:?}");
        assert!(error.to_string().contains(said), "{error}");
    }
}
