//! Folders that dead sessions left, and those that must be left alone.

use std::fs::{self, File};

use super::harness::{Place, in_process, run};

pub(crate) const TESTS: &[(&str, fn())] =
    &[("folders::only_what_is_dead_is_swept", only_what_is_dead_is_swept)];

fn only_what_is_dead_is_swept() {
    run(async {
        let place = Place::new();
        let make = |name: &str| {
            let path = place.root().join(name);
            fs::create_dir_all(path.join("m0/deep")).expect("a folder");
            fs::write(path.join("m0/deep/rows"), "rows").expect("a file");
            path
        };
        let dead = make("bigslice-0123abc");
        let alive = make("bigslice-77");
        let driver = File::open(&alive).expect("a folder");
        driver.lock().expect("the lock is free");
        let dying = make("bigslice-78");
        fs::create_dir(dying.join("driver")).expect("a folder");
        let worker = File::open(dying.join("m0")).expect("a folder");
        worker.lock().expect("the lock is free");
        let unrelated = make("bigslice-Photos of 2019");
        let link = place.root().join("bigslice-99");
        std::os::unix::fs::symlink(&unrelated, &link).expect("a link");

        let fleet = place.start(in_process(), 1).await;
        assert!(!dead.exists());
        assert!(alive.join("m0/deep/rows").is_file());
        assert!(dying.join("m0/deep/rows").is_file());
        assert!(!dying.join("driver").exists());
        assert!(unrelated.join("m0/deep/rows").is_file());
        assert!(link.exists());
        fleet.shutdown().await;

        drop(worker);
        place.start(in_process(), 1).await.shutdown().await;
        assert!(!dying.exists());
    });
}
