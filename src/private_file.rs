//! Files that belong to the owner alone.
//!
//! Every file that the program creates is made here: 0600 in directories of 0700 from the moment
//! it exists, replaced whole or not at all, and on disk before the caller is told so.
//!
//! Invariant: no other module creates a file.
//! Invariant: a reader of a replaced file sees the old content or the new, never a part.

mod socket;

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;
use tempfile::{Builder, NamedTempFile};

pub use self::socket::{NoSocket, SocketFile, listen, listen_watchfully};

const OWNER_ONLY_FILE: u32 = 0o600;
const OWNER_ONLY_DIR: u32 = 0o700;
/// What names of files begin with that are to replace others.
const TEMPORARY: &str = ".airelays-";

/// Makes `dir` and its missing parents, each readable by the owner only.
///
/// Directories that exist keep their mode: they may be the owner's choice.
///
/// # Errors
///
/// When a directory cannot be made, or something that is no directory stands in its place.
pub fn create_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(OWNER_ONLY_DIR).create(dir)
}

/// The mode of a directory that nobody else may look into.
pub fn owner_only_dir() -> fs::Permissions {
    fs::Permissions::from_mode(OWNER_ONLY_DIR)
}

/// Puts `content` at `path`, in one step and durably.
///
/// # Errors
///
/// When the directory cannot be made or the disk refuses; `path` is then as it was.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    create(path)?.fill(content)
}

/// Room on the disk for a content that is not known yet. Given back when dropped.
#[derive(Debug)]
pub struct Reserved {
    temporary: NamedTempFile,
    path: PathBuf,
}

/// Takes room for `size` bytes that are to stand at `path` later.
///
/// For what must not be lost and can be had only once: ask for it when there is room to keep it.
///
/// # Errors
///
/// When the directory cannot be made or the disk is full.
pub fn reserve(path: &Path, size: usize) -> io::Result<Reserved> {
    let mut reserved = create(path)?;
    reserved.temporary.write_all(&vec![0; size])?;
    reserved.temporary.as_file().sync_all()?;
    Ok(reserved)
}

impl Reserved {
    /// Puts `content` where the room was taken for, in one step and durably.
    ///
    /// # Errors
    ///
    /// When the disk refuses all the same; the old content is then as it was.
    pub fn fill(mut self, content: &[u8]) -> io::Result<()> {
        self.temporary.rewind()?;
        self.temporary.write_all(content)?;
        let length = self.temporary.stream_position()?;
        self.temporary.as_file().set_len(length)?;
        self.temporary.as_file().sync_all()?;
        self.temporary.persist(&self.path)?;
        // Without this the new name may be lost in a power cut although the content is safe.
        File::open(parent(&self.path))?.sync_all()
    }
}

/// A file whose content arrives piece by piece. Nobody sees it before it is kept; dropped, it is gone.
#[derive(Debug)]
pub struct Growing(Reserved);

/// Begins a file that is to stand at `path` once it is whole.
///
/// # Errors
///
/// When the directory or the file cannot be made.
pub fn begin(path: &Path) -> io::Result<Growing> {
    create(path).map(Growing)
}

impl Growing {
    /// Adds `piece` to what there is.
    ///
    /// # Errors
    ///
    /// When the disk refuses.
    pub fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.0.temporary.write_all(piece)
    }

    /// Puts the file where it belongs, in one step and durably.
    ///
    /// # Errors
    ///
    /// When the disk refuses; there is no such file then.
    pub fn keep(self) -> io::Result<()> {
        let Reserved { temporary, path } = self.0;
        temporary.as_file().sync_all()?;
        temporary.persist(&path)?;
        File::open(parent(&path))?.sync_all()
    }
}

/// A file for reading piece by piece, or `None` when there is no such file.
///
/// # Errors
///
/// When it cannot be opened or is no file.
pub fn open(path: &Path) -> io::Result<Option<File>> {
    opened(path, OFlags::NONBLOCK)
}

fn opened(path: &Path, how: OFlags) -> io::Result<Option<File>> {
    match OpenOptions::new().read(true).custom_flags(flags(how)).open(path) {
        Ok(file) => regular(file).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes from `dir` what writers have left that were killed. How many files that were.
///
/// Nobody may begin to write there meanwhile.
///
/// # Errors
///
/// When `dir` cannot be listed, or a file in it not be removed.
pub fn sweep(dir: &Path) -> io::Result<usize> {
    let mut swept = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let is_temporary = entry.file_name().as_encoded_bytes().starts_with(TEMPORARY.as_bytes());
        if !is_temporary || !entry.file_type()?.is_file() {
            continue;
        }
        let file = OpenOptions::new()
            .write(true)
            .custom_flags(flags(OFlags::NOFOLLOW | OFlags::NONBLOCK))
            .open(entry.path())?;
        if file.try_lock().is_ok() {
            swept += usize::from(remove(&entry.path())?);
        }
    }
    Ok(swept)
}

fn create(path: &Path) -> io::Result<Reserved> {
    let dir = parent(path);
    create_dir(dir)?;
    let temporary = Builder::new()
        .prefix(TEMPORARY)
        .permissions(fs::Permissions::from_mode(OWNER_ONLY_FILE))
        .tempfile_in(dir)?;
    // Says that its writer lives. Where there are no locks, it is never swept.
    let _held = temporary.as_file().try_lock();
    Ok(Reserved { temporary, path: path.to_owned() })
}

/// Opens `path` for appending, making it and its directory when missing.
///
/// # Errors
///
/// When it cannot be made or opened, or is a symbolic link.
pub fn append(path: &Path) -> io::Result<File> {
    create_dir(parent(path))?;
    let mut options = OpenOptions::new();
    let options = options.append(true).create(true).mode(OWNER_ONLY_FILE);
    regular(options.custom_flags(flags(OFlags::NOFOLLOW | OFlags::NONBLOCK)).open(path)?)
}

/// Whom a file or directory is open to, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// Anybody may change it.
    All,
    /// It belongs to somebody else.
    Owner,
    /// Its group may change it. On many systems that is the owner alone.
    Group,
    /// It may be read.
    Readers,
}

/// What others can do to what stands at `path`, if anything does.
///
/// Nothing that was made here is open to anybody; what was copied there may well be.
pub fn exposure(path: &Path) -> Option<Exposure> {
    let found = fs::metadata(path).ok()?;
    let is_sticky = found.is_dir() && found.mode() & 0o1000 != 0;
    let own = [0, rustix::process::geteuid().as_raw()];
    match found.mode() {
        mode if mode & 0o002 != 0 && !is_sticky => Some(Exposure::All),
        _ if !own.contains(&found.uid()) => Some(Exposure::Owner),
        mode if mode & 0o020 != 0 && !is_sticky => Some(Exposure::Group),
        mode if mode & 0o077 != 0 => Some(Exposure::Readers),
        _ => None,
    }
}

/// Whether something can be written to `path`, or made in it where it is a directory.
///
/// # Errors
///
/// When it cannot, and why not.
pub fn writable(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::access(path, rustix::fs::Access::WRITE_OK)?)
}

/// How many bytes the file system of `path` has room for.
///
/// # Errors
///
/// When there is nothing at `path`, or the system does not say.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(path)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// The content of `path`, or `None` when there is no such file.
///
/// # Errors
///
/// When it cannot be read, is no file, or is larger than `limit` bytes.
pub fn read(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    read_opened(path, OFlags::NONBLOCK, limit)
}

/// The same of a file that is going to be replaced: a link would be replaced in place of the file.
///
/// # Errors
///
/// As [`read`], and when it is a symbolic link.
pub fn read_unlinked(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    match read_opened(path, OFlags::NONBLOCK | OFlags::NOFOLLOW, limit) {
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            Err(io::Error::other("it is a symbolic link"))
        }
        read => read,
    }
}

/// What the path leads to is opened first and looked at then, so that nobody can put something else
/// there in between. Without waiting: a pipe may never have a writer.
fn read_opened(path: &Path, how: OFlags, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let Some(file) = opened(path, how)? else { return Ok(None) };
    let mut content = Vec::new();
    let read = file.take(limit.saturating_add(1)).read_to_end(&mut content)?;
    if u64::try_from(read).unwrap_or(u64::MAX) > limit {
        return Err(io::Error::other(format!("larger than {limit} bytes")));
    }
    Ok(Some(content))
}

/// Removes `path`. Whether there was such a file.
///
/// # Errors
///
/// When it is there and cannot be removed.
pub fn remove(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Held while this process alone may change what the lock stands for.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "closing it is what releases the lock")] File);

/// The lock at `path`, a file beside what it guards that is never removed, if nobody else has it.
///
/// # Errors
///
/// When the lock file cannot be made, or the file system has no locks.
pub fn try_lock(path: &Path) -> io::Result<Option<Lock>> {
    let file = append(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Lock(file))),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Where the lock of the file at `path` is.
pub fn lock_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        Some(_) | None => Path::new("."),
    }
}

/// `file` unless it is a pipe, a directory or a device.
fn regular(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("it is not a regular file"))
    }
}

fn flags(flags: OFlags) -> i32 {
    flags.bits().try_into().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("exists").permissions().mode() & 0o777
    }

    #[test]
    fn what_it_makes_is_the_owners_alone() {
        let home = tempfile::tempdir().expect("directory");
        let path = home.path().join("a/b/token");
        replace(&path, b"one").expect("written");
        replace(&path, b"two").expect("replaced");
        assert_eq!(read(&path, 9).expect("read"), Some(b"two".to_vec()));
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(&home.path().join("a")), 0o700);
        append(&home.path().join("log")).expect("opened");
        assert_eq!(mode(&home.path().join("log")), 0o600);
        let names = fs::read_dir(home.path().join("a/b")).expect("listed").count();
        assert_eq!(names, 1, "no temporary file is left");
    }

    #[test]
    fn l2_what_others_may_do_is_found() {
        use Exposure::{All, Group, Readers};
        let home = tempfile::tempdir().expect("directory");
        let (file, dir) = (home.path().join("file"), home.path().join("dir"));
        assert_eq!(exposure(&file), None, "it is not there");
        replace(&file, b"x").expect("written");
        create_dir(&dir).expect("made");
        for (path, mode, expected) in [
            (&file, 0o600, None),
            (&file, 0o400, None),
            (&file, 0o640, Some(Readers)),
            (&file, 0o601, Some(Readers)),
            (&file, 0o660, Some(Group)),
            (&file, 0o602, Some(All)),
            (&file, 0o666, Some(All)),
            (&dir, 0o700, None),
            (&dir, 0o755, Some(Readers)),
            (&dir, 0o775, Some(Group)),
            (&dir, 0o777, Some(All)),
            (&dir, 0o1777, Some(Readers)),
        ] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
            assert_eq!(exposure(path), expected, "{mode:o}");
        }
    }

    #[test]
    fn what_a_killed_writer_left_is_swept_and_nothing_else() {
        let home = tempfile::tempdir().expect("directory");
        let (left, other) = (home.path().join(".airelays-left"), home.path().join("left"));
        for path in [&left, &other] {
            append(path).expect("made");
        }
        let writing = reserve(&home.path().join("x"), 9).expect("room");
        assert_eq!(sweep(home.path()).expect("swept"), 1);
        assert!(!left.exists() && other.exists());
        writing.fill(b"new").expect("written");
        assert_eq!(sweep(home.path()).expect("swept"), 0);
        assert_eq!(read(&home.path().join("x"), 9).expect("read").as_deref(), Some(&b"new"[..]));
    }

    #[test]
    fn room_is_taken_before_and_given_back() {
        let home = tempfile::tempdir().expect("directory");
        let path = home.path().join("x");
        let entries = || fs::read_dir(home.path()).expect("listed").count();
        for content in [&b"short"[..], b"", &[7; 300]] {
            let reserved = reserve(&path, 100).expect("room");
            reserved.fill(content).expect("written");
            assert_eq!(read(&path, 999).expect("read").as_deref(), Some(content));
            assert_eq!((mode(&path), entries()), (0o600, 1));
        }
        drop(reserve(&path, 100).expect("room"));
        assert_eq!(entries(), 1);
    }

    #[test]
    fn a_log_is_never_written_through_a_link() {
        let home = tempfile::tempdir().expect("directory");
        let link = home.path().join("link");
        std::os::unix::fs::symlink(home.path().join("elsewhere"), &link).expect("linked");
        assert!(append(&link).is_err());
    }

    #[test]
    fn too_much_and_nothing_are_told_apart() {
        let home = tempfile::tempdir().expect("directory");
        let path = home.path().join("x");
        assert_eq!(read(&path, 2).expect("absent"), None);
        replace(&path, b"abc").expect("written");
        assert!(read(&path, 2).is_err());
        assert!(remove(&path).expect("removed"));
        assert!(!remove(&path).expect("absent"));
    }
}
