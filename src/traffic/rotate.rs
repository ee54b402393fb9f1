//! The files of the log: one for each hour, `YYYY/MM/DD-HH.log`, by UTC.
//!
//! A disk that fills up takes a part of what it is given. What it took of a line is cut off again,
//! now or at the latest when the file is opened, so that a crash leaves no torn line either.
//!
//! Invariant: before and after each append a file ends with a whole line, as far as the disk lets
//! us see to it.
//! Invariant: a file that was removed or renamed under our hands is not written to.
//!
//! Not here: what the lines say (`record`), what happens when the disk refuses (`writer`).

use std::{
    ffi::OsStr,
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use memchr::memrchr;

use crate::private_file;

/// Opens a file for appending.
pub type Open = Box<dyn FnMut(&Path) -> io::Result<Box<dyn Write + Send>> + Send>;

/// The file of the current hour.
pub struct Hours {
    dir: PathBuf,
    open: Open,
    current: Option<Current>,
    /// Whether a torn line would be one that an earlier run left.
    first: bool,
}

struct Current {
    hour: i64,
    path: PathBuf,
    /// Device and number: a path can come to name another file.
    identity: (u64, u64),
    file: Box<dyn Write + Send>,
}

/// Why lines were not appended, or not all of them.
#[derive(Debug)]
pub struct Cut {
    /// How many bytes of whole lines are in the file.
    pub whole: usize,
    pub error: io::Error,
}

/// What was found at the end of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Whole,
    /// Part of a line, of an earlier run; it is gone.
    Torn,
}

impl Hours {
    pub fn new(dir: PathBuf) -> Self {
        Self::with(dir, Box::new(|path| Ok(Box::new(private_file::append(path)?))))
    }

    /// With another way to open files.
    pub fn with(dir: PathBuf, open: Open) -> Self {
        Self { dir, open, current: None, first: true }
    }

    /// Sees to it that lines of the hour of `at` can be appended. Says what it found the first
    /// time, and [`End::Whole`] from then on.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened, or a torn line in it not be removed.
    pub fn ready(&mut self, at: Timestamp) -> io::Result<End> {
        let hour = at.as_second().div_euclid(3600);
        if self.current.as_ref().is_some_and(|current| current.hour == hour && current.is_there()) {
            return Ok(End::Whole);
        }
        self.current = None;
        let path = path(&self.dir, at);
        // An earlier run may have been killed in an earlier hour.
        let earlier = self.first.then(|| newest(&self.dir)).flatten();
        let file = (self.open)(&path)?;
        let mut end = cut_torn_line(&path)?;
        if let Some(earlier) = earlier.filter(|earlier| *earlier != path)
            && cut_torn_line(&earlier)? == End::Torn
        {
            end = End::Torn;
        }
        let identity = identity(&path)?;
        self.current = Some(Current { hour, path, identity, file });
        let first = std::mem::replace(&mut self.first, false);
        Ok(if first { end } else { End::Whole })
    }

    /// Appends whole lines to the file that is ready.
    ///
    /// # Errors
    ///
    /// When not all could be written. The file then ends where [`Cut::whole`] says, and has to be
    /// made ready again.
    pub fn append(&mut self, lines: &[u8]) -> Result<(), Cut> {
        let Some(current) = &mut self.current else {
            return Err(Cut { whole: 0, error: io::Error::other("no file is open") });
        };
        let Err((written, error)) = write_all(&mut current.file, lines) else { return Ok(()) };
        let whole = memrchr(b'\n', &lines[..written]).map_or(0, |newline| newline + 1);
        // If this fails, too, opening the file again will see to it.
        let error = match cut_torn_line(&current.path) {
            Ok(End::Whole | End::Torn) => error,
            Err(second) => {
                io::Error::new(error.kind(), format!("{error}; a torn line stays: {second}"))
            }
        };
        self.current = None;
        Err(Cut { whole, error })
    }
}

impl Current {
    fn is_there(&self) -> bool {
        identity(&self.path).is_ok_and(|identity| identity == self.identity)
    }
}

/// The file for the hour of `at`.
fn path(dir: &Path, at: Timestamp) -> PathBuf {
    dir.join(at.strftime("%Y/%m/%d-%H.log").to_string())
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Writes all of `bytes`, or says how many.
fn write_all(file: &mut impl Write, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
    let mut written = 0;
    while written < bytes.len() {
        match file.write(&bytes[written..]) {
            Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err((written, error)),
        }
    }
    Ok(())
}

/// The file of the last hour that has one.
fn newest(dir: &Path) -> Option<PathBuf> {
    (0..3).try_fold(dir.to_owned(), |dir, _| {
        let entries = fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path());
        // Other things may lie there, and a link could lead anywhere.
        let is_ours = |path: &PathBuf| {
            let name = path.file_name().map(OsStr::as_encoded_bytes);
            name.and_then(<[u8]>::first).is_some_and(u8::is_ascii_digit)
                && path.symlink_metadata().is_ok_and(|found| !found.is_symlink())
        };
        entries.filter(is_ours).max()
    })
}

/// Shortens the file to its last line end, if it does not end with one.
fn cut_torn_line(path: &Path) -> io::Result<End> {
    const BLOCK: usize = 64 << 10;
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let length = file.metadata()?.len();
    let mut block = vec![0; 1];
    let mut end = length;
    while end > 0 {
        let size = end.min(u64::try_from(block.len()).unwrap_or(1));
        let part = &mut block[..usize::try_from(size).unwrap_or(1)];
        file.read_exact_at(part, end - size)?;
        if let Some(newline) = memrchr(b'\n', part) {
            end = end - size + u64::try_from(newline).unwrap_or(0) + 1;
            break;
        }
        end -= size;
        // Nearly always the last byte is all there is to see.
        block.resize(BLOCK, 0);
    }
    if end == length {
        return Ok(End::Whole);
    }
    file.set_len(end)?;
    Ok(End::Torn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_named_for_its_hour() {
        for (at, expected) in [
            ("2026-11-20T11:59:59.999Z", "logs/2026/11/20-11.log"),
            ("2026-11-20T12:00:00Z", "logs/2026/11/20-12.log"),
            ("2027-01-01T00:30:00+01:00", "logs/2026/12/31-23.log"),
        ] {
            let at: Timestamp = at.parse().expect("a time");
            assert_eq!(path(Path::new("logs"), at), Path::new(expected));
        }
    }

    #[test]
    fn a_torn_line_of_an_earlier_hour_is_cut_off_too() {
        let home = tempfile::tempdir().expect("directory");
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        let earlier = path(home.path(), at("2026-11-20T23:10:00Z"));
        let oldest = path(home.path(), at("2026-10-31T23:10:00Z"));
        for path in [&earlier, &oldest] {
            private_file::replace(path, b"{}\n{").expect("written");
        }
        let mut hours = Hours::new(home.path().to_owned());
        assert_eq!(hours.ready(at("2026-12-01T00:10:00Z")).expect("ready"), End::Torn);
        assert_eq!(hours.ready(at("2026-12-01T01:10:00Z")).expect("ready"), End::Whole);
        assert_eq!(fs::read(&earlier).expect("read"), b"{}\n");
        assert_eq!(fs::read(&oldest).expect("read"), b"{}\n{", "the run after it has seen it");
        let mut empty = Hours::new(home.path().join("nothing"));
        assert_eq!(empty.ready(at("2026-12-01T00:10:00Z")).expect("ready"), End::Whole);
    }

    #[test]
    fn a_torn_line_is_cut_back_to_the_last_whole_one() {
        let home = tempfile::tempdir().expect("directory");
        let path = home.path().join("log");
        let long = "x".repeat(200_000);
        for (content, whole, end) in [
            ("", 0, End::Whole),
            ("a\n", 2, End::Whole),
            ("a\nb", 2, End::Torn),
            ("ab", 0, End::Torn),
            (&format!("a\n{long}"), 2, End::Torn),
            (&format!("{long}\n"), 200_001, End::Whole),
        ] {
            private_file::replace(&path, content.as_bytes()).expect("written");
            assert_eq!(cut_torn_line(&path).expect("cut"), end);
            let left = fs::read_to_string(&path).expect("read");
            assert!(left == content[..whole], "{} bytes are left", left.len());
        }
    }
}
