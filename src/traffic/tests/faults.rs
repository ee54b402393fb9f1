//! What becomes of records when the disk, or someone with a shell, does the unexpected.

use std::{
    fs,
    io::{self, Write},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;

use super::{Log, PROMPT, numbered, numbers, open, read, request};
use crate::{
    private_file,
    traffic::{Patience, Settings, rotate::Open},
};

/// Gives up at the first refusal, and tries again each time.
const IMPATIENT: Patience = Patience { hold: Duration::ZERO, ..PROMPT };

/// A disk with so much room.
#[derive(Clone)]
struct Disk(Arc<Mutex<usize>>);

impl Disk {
    fn new(room: usize) -> Self {
        Self(Arc::new(Mutex::new(room)))
    }

    fn room(&self, bytes: usize) {
        *self.0.lock() = bytes;
    }

    fn open(&self) -> Open {
        let disk = self.clone();
        Box::new(move |path| {
            Ok(Box::new(OnDisk { file: private_file::append(path)?, disk: disk.clone() }))
        })
    }
}

struct OnDisk {
    file: fs::File,
    disk: Disk,
}

impl Write for OnDisk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut room = self.disk.0.lock();
        if *room == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let written = self.file.write(&bytes[..bytes.len().min(*room)])?;
        *room -= written;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[tokio::test]
async fn a_line_that_an_earlier_run_left_torn_is_removed_and_told() {
    let log = Log::start();
    let path = log.path("2026/11/20-11.log");
    private_file::replace(&path, b"{\"n\":7}\n{\"n\":8,\"to").expect("written");
    log.traffic.record(numbered(&request(), 9)).await;
    let (lines, stats) = log.close();
    assert_eq!(numbers(&lines), [7, -1, 9]);
    assert_eq!((stats.lines_written, stats.lines_lost), (2, 1));
}

#[tokio::test]
async fn a_disk_that_was_full_for_a_moment_loses_nothing() {
    // Room for a line and a half.
    let disk = Disk::new(150);
    let log = Log::with(Settings::QUEUE_BYTES, PROMPT, disk.open());
    for n in 0..100 {
        log.traffic.record(numbered(&request(), n)).await;
    }
    log.until(|stats| stats.last_error.is_some());
    // The file is whole although the disk is full, and what it took is not written again.
    log.until(|stats| stats.lines_written == 1);
    disk.room(usize::MAX);
    log.until(|stats| stats.lines_written == 100);
    let (lines, stats) = log.close();
    assert_eq!(numbers(&lines), (0..100).collect::<Vec<_>>());
    assert_eq!((stats.lines_lost, stats.last_error.as_deref()), (0, Some("no storage space")));
}

#[tokio::test]
async fn a_full_disk_is_left_with_whole_lines() {
    let disk = Disk::new(50);
    let log = Log::with(Settings::QUEUE_BYTES, IMPATIENT, disk.open());
    log.traffic.record(numbered(&request(), 1)).await;
    log.until(|stats| stats.lines_lost == 1);
    assert_eq!(numbers(&read(&log.path("2026/11/20-11.log"))), [0_i64; 0]);
    let (lines, stats) = log.close();
    assert_eq!((lines.len(), stats.lines_written), (0, 0));
}

#[tokio::test]
async fn a_disk_that_stays_full_costs_records_but_stops_nobody() {
    let disk = Disk::new(150);
    let log = Log::with(1, IMPATIENT, disk.open());
    for n in 0..1_000 {
        log.traffic.record(numbered(&request(), n)).await;
    }
    log.until(|stats| stats.lines_written + stats.lines_lost == 1_000);
    let lost = log.traffic.stats().lines_lost;
    assert_eq!(numbers(&read(&log.path("2026/11/20-11.log"))), [0], "a whole file");
    disk.room(usize::MAX);
    log.traffic.record(numbered(&request(), 1_000)).await;
    log.traffic.record(numbered(&request(), 1_001)).await;
    let (lines, stats) = log.close();
    assert_eq!(numbers(&lines), [0, -999, 1_000, 1_001]);
    assert_eq!(lines[1]["last_error"], "no storage space");
    assert_eq!((lost, stats.lines_lost, stats.lines_written), (999, 999, 4));
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_is_tried_again() {
    let log = Log::with(1, PROMPT, Box::new(open));
    let path = log.path("2026/11/20-11.log");
    private_file::create_dir(&path).expect("in its place");
    log.traffic.record(numbered(&request(), 1)).await;
    log.until(|stats| stats.last_error.is_some());
    fs::remove_dir(&path).expect("removed");
    log.until(|stats| stats.lines_written == 1);
    let (lines, stats) = log.close();
    assert_eq!((numbers(&lines), stats.lines_lost), (vec![1], 0));
}

#[tokio::test]
async fn closing_does_not_wait_for_a_full_disk() {
    let disk = Disk::new(0);
    let log =
        Log::with(Settings::QUEUE_BYTES, Patience { retry: PROMPT.hold, ..PROMPT }, disk.open());
    for n in 0..10 {
        log.traffic.record(numbered(&request(), n)).await;
    }
    log.until(|stats| stats.last_error.is_some());
    let (lines, stats) = log.close();
    assert_eq!((lines.len(), stats.lines_lost, stats.queued_bytes), (0, 10, 0));
}

#[tokio::test]
async fn a_file_that_is_removed_or_renamed_is_made_anew() {
    let log = Log::start();
    let path = log.path("2026/11/20-11.log");
    let aside = log.path("aside.log");
    log.traffic.record(numbered(&request(), 1)).await;
    log.until(|stats| stats.lines_written == 1);
    fs::rename(&path, &aside).expect("renamed");
    log.traffic.record(numbered(&request(), 2)).await;
    log.until(|stats| stats.lines_written == 2);
    assert_eq!(numbers(&read(&path)), [2]);
    fs::remove_file(&path).expect("removed");
    log.traffic.record(numbered(&request(), 3)).await;
    log.writer.close();
    assert_eq!((numbers(&read(&aside)), numbers(&read(&path))), (vec![1], vec![3]));
}
