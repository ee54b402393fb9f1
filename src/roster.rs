//! Which slots there are, and what the owner decided about them: on disk, for all processes.
//!
//! The first slot's login is `auth.json` in the data directory, where a single one has always been;
//! each other's is `accounts/NAME/auth.json`, as AIRelays 0.22 has it. What the owner decided is in
//! `slots.json` beside them; without that file every login is a slot with the usual settings. No
//! secret is kept here.
//!
//! **Invariant:** the file is changed under its lock, as a whole, and on the disk before anybody
//! is told.
//! **Invariant:** nothing outside the data directory is named, whatever a file says.
//!
//! Not here: logins themselves (`auth`), what is known of a slot (`slot`).

pub mod usage;

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    private_file,
    slot::{SlotId, Wishes, policy::Policy},
};

const VERSION: u32 = 1;
const LIMIT: u64 = 1 << 20;
/// More accounts than anybody has, few enough to look at all of them often.
const MOST: usize = 256;
const LOOK: Duration = Duration::from_millis(20);

/// Why the slots cannot be listed or changed.
#[derive(Debug, thiserror::Error)]
pub enum RosterError {
    #[error("{path} cannot be read")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} cannot be written")]
    Write { path: PathBuf, source: io::Error },
    #[error("{path} is not what it should be: {why}")]
    Malformed { path: PathBuf, why: String },
    #[error("{path} was made by a newer version of this program")]
    Newer { path: PathBuf },
    #[error("another process is changing the slots")]
    Busy,
    #[error("there is no slot `{id}`; there are: {known}")]
    Unknown { id: String, known: String },
    #[error("there are {MOST} slots already")]
    Full,
}

/// A slot, as it stands on the disk.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    pub id: SlotId,
    /// Where its login is, or would be.
    pub auth_file: PathBuf,
    pub has_login: bool,
    pub wishes: Wishes,
}

/// All slots in the owner's order, and the policy that he chose while the relay ran.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listing {
    pub members: Vec<Member>,
    pub policy: Option<Policy>,
}

impl Listing {
    pub fn member(&self, id: &SlotId) -> Option<&Member> {
        self.members.iter().find(|member| member.id == *id)
    }

    /// Whether the owner need not know that there are slots.
    pub fn is_single(&self) -> bool {
        self.members.len() == 1 && self.members[0].id == SlotId::first()
    }
}

/// What `slots.json` holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Book {
    pub policy: Option<Policy>,
    /// The owner's order; slots that are not in it come behind, by name.
    pub order: Vec<SlotId>,
    pub wishes: BTreeMap<SlotId, Wishes>,
}

/// The slots of a data directory. Clones are the same.
#[derive(Clone, Debug)]
pub struct Roster {
    data_dir: PathBuf,
}

/// Tells one state of the files from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp(Vec<(PathBuf, Option<Seen>)>);

/// What tells one state of a file from another: inode, size, and when it was changed.
type Seen = (u64, u64, i64, i64);

impl Stamp {
    /// What is known of the one file.
    pub fn of(&self, path: &Path) -> Option<Seen> {
        self.0.iter().find(|(known, _)| known == path).and_then(|(_, seen)| *seen)
    }
}

impl Roster {
    pub fn new(data_dir: &Path) -> Self {
        Self { data_dir: data_dir.to_owned() }
    }

    /// The slots as they are now. The first one is there even without a login, if there is no other.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, or is not what it should be.
    pub fn read(&self) -> Result<Listing, RosterError> {
        self.listing(&self.book()?)
    }

    /// The slots by their logins alone, and why that is all, if what was decided about them cannot
    /// be read. For what concerns logins only: nobody is to be served so.
    ///
    /// # Errors
    ///
    /// When the folders cannot be read.
    pub fn logins(&self) -> Result<(Listing, Option<RosterError>), RosterError> {
        let (book, problem) = match self.book() {
            Ok(book) => (book, None),
            Err(error) => (Book::default(), Some(error)),
        };
        Ok((self.listing(&book)?, problem))
    }

    fn listing(&self, book: &Book) -> Result<Listing, RosterError> {
        let mut found = self.folders()?;
        let first = self.data_dir.join("auth.json");
        let has_first = is_file(&first);
        // Without any login the first slot is where one will be.
        let has_login = has_first || !found.is_empty();
        if has_first || !has_login {
            found.insert(SlotId::first(), first);
        }
        let order = if book.order.is_empty() { self.manifest() } else { book.order.clone() };
        let place = |id: &SlotId| order.iter().position(|listed| listed == id);
        let member = |(id, auth_file): (SlotId, PathBuf)| {
            let wishes = book.wishes.get(&id).cloned().unwrap_or_default();
            Member { id, auth_file, has_login, wishes }
        };
        let mut members: Vec<_> = found.into_iter().map(member).collect();
        // The map was in the order of names, which stays among those without a place.
        members.sort_by_key(|member| place(&member.id).unwrap_or(usize::MAX));
        Ok(Listing { members, policy: book.policy })
    }

    /// Where the login of `id` is, or would be.
    pub fn auth_file(&self, id: &SlotId) -> PathBuf {
        if *id == SlotId::first() {
            return self.data_dir.join("auth.json");
        }
        // A folder that another program named may be called a little differently.
        let known = self.folders().ok().and_then(|folders| folders.get(id).cloned());
        known.unwrap_or_else(|| self.accounts().join(id.as_str()).join("auth.json"))
    }

    /// The name for another slot: the first `slot-N` that is free.
    ///
    /// # Errors
    ///
    /// As of [`logins`](Self::logins), and when there are too many.
    pub fn free_id(&self) -> Result<SlotId, RosterError> {
        let (listing, _) = self.logins()?;
        let is_free = |id: &SlotId| listing.member(id).is_none_or(|member| !member.has_login);
        let most = u32::try_from(MOST).unwrap_or(u32::MAX);
        (1..=most).map(SlotId::numbered).find(is_free).ok_or(RosterError::Full)
    }

    /// Changes what the owner decided.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, locked or written; it is then as it was.
    pub fn change(&self, change: impl FnOnce(&mut Book)) -> Result<(), RosterError> {
        let path = self.book_file();
        let unwritten = |source| RosterError::Write { path: path.clone(), source };
        private_file::create_dir(&self.data_dir).map_err(unwritten)?;
        let lock = private_file::try_lock(&private_file::lock_of(&path)).map_err(unwritten)?;
        let Some(_alone) = lock else { return Err(RosterError::Busy) };
        let mut book = self.book()?;
        change(&mut book);
        private_file::replace(&path, &written(&book)).map_err(unwritten)
    }

    /// The same, waiting for a moment for others to finish.
    ///
    /// # Errors
    ///
    /// As of [`change`](Self::change).
    pub async fn change_soon(
        &self,
        change: impl Fn(&mut Book) + Send + Sync + Clone + 'static,
    ) -> Result<(), RosterError> {
        const TRIES: usize = 100;
        for _ in 0..TRIES {
            let (roster, change) = (self.clone(), change.clone());
            let done = tokio::task::spawn_blocking(move || roster.change(change)).await;
            match done.unwrap_or(Err(RosterError::Busy)) {
                Err(RosterError::Busy) => tokio::time::sleep(LOOK).await,
                done => return done,
            }
        }
        Err(RosterError::Busy)
    }

    /// Forgets what was decided about `id`, and its folder if nothing is left in it.
    ///
    /// # Errors
    ///
    /// As of [`change`](Self::change).
    pub fn forget(&self, id: &SlotId) -> Result<(), RosterError> {
        self.change(|book| {
            book.wishes.remove(id);
            book.order.retain(|listed| listed != id);
        })?;
        let auth_file = self.auth_file(id);
        if *id != SlotId::first()
            && !is_file(&auth_file)
            && let Some(dir) = auth_file.parent()
        {
            // Only what this program put there; whatever else there is stays, folder and all.
            if let Err(error) = private_file::remove(&private_file::lock_of(&auth_file)) {
                tracing::debug!(error = &*error.to_string(), "a lock file stays");
            }
            if let Err(error) = fs::remove_dir(dir) {
                tracing::debug!(error = &*error.to_string(), "the folder of a slot stays");
            }
        }
        Ok(())
    }

    /// What [`read`](Self::read) depends on, cheap to compare.
    pub fn stamp(&self) -> Stamp {
        let accounts = self.accounts();
        let folders = fs::read_dir(&accounts).into_iter().flatten().flatten().take(MOST);
        let mut paths: Vec<_> = folders.map(|entry| entry.path().join("auth.json")).collect();
        paths.sort();
        paths.extend([accounts, self.book_file(), self.data_dir.join("auth.json")]);
        let of = |path: PathBuf| {
            let seen = fs::symlink_metadata(&path).ok();
            let seen = seen.map(|it| (it.ino(), it.size(), it.mtime(), it.mtime_nsec()));
            (path, seen)
        };
        Stamp(paths.into_iter().map(of).collect())
    }

    /// Where what was last known of their usage is kept.
    pub fn usage_file(&self) -> PathBuf {
        self.data_dir.join("slots-usage.json")
    }

    fn accounts(&self) -> PathBuf {
        self.data_dir.join("accounts")
    }

    fn book_file(&self) -> PathBuf {
        self.data_dir.join("slots.json")
    }

    fn book(&self) -> Result<Book, RosterError> {
        let path = self.book_file();
        let json = private_file::read(&path, LIMIT);
        match json.map_err(|source| RosterError::Read { path: path.clone(), source })? {
            Some(json) => read_book(&json, path),
            None => Ok(Book::default()),
        }
    }

    /// The folders that hold a login, by the names that they have as slots.
    fn folders(&self) -> Result<BTreeMap<SlotId, PathBuf>, RosterError> {
        let path = self.accounts();
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(source) => return Err(RosterError::Read { path, source }),
        };
        let mut found = BTreeMap::new();
        let mut paths: Vec<_> = entries.flatten().take(MOST).map(|entry| entry.path()).collect();
        paths.sort();
        for dir in paths {
            let auth_file = dir.join("auth.json");
            let is_dir = fs::symlink_metadata(&dir).is_ok_and(|seen| seen.is_dir());
            let Some(id) = dir.file_name().and_then(folder_id).filter(|_| is_dir) else { continue };
            if is_file(&auth_file) {
                found.entry(id).or_insert(auth_file);
            }
        }
        Ok(found)
    }

    /// The order that AIRelays 0.22 keeps. Nothing depends on it.
    fn manifest(&self) -> Vec<SlotId> {
        #[derive(Deserialize)]
        struct Manifest {
            order: Vec<String>,
        }
        let path = self.accounts().join("manifest.json");
        let json = private_file::read(&path, LIMIT).ok().flatten().unwrap_or_default();
        let order = serde_json::from_slice(&json).map_or(Vec::new(), |Manifest { order }| order);
        let id = |slug: String| match slug.as_str() {
            "default" => Some(SlotId::first()),
            slug => folder_id(OsStr::new(slug)),
        };
        order.into_iter().filter_map(id).collect()
    }
}

fn is_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|seen| seen.is_file())
}

/// What a folder is called as a slot. `None` for those that are none, such as a login under way.
fn folder_id(name: &OsStr) -> Option<SlotId> {
    let name = name.to_str().filter(|name| !name.starts_with('.'))?;
    if let Ok(id) = SlotId::read(name) {
        // The name of the one that has no folder.
        return (id != SlotId::first()).then_some(id);
    }
    named_like(name)
}

/// The name of a slot that is as much like `name` as can be. The end of a long one stays: it tells
/// apart what begins alike.
pub fn named_like(name: &str) -> Option<SlotId> {
    const END: usize = 11;
    let plain: String = name
        .chars()
        .map(|c| c.to_ascii_lowercase())
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let plain = plain.trim_start_matches('-');
    if plain.is_empty() {
        return None;
    }
    let short = match plain.len().checked_sub(END) {
        Some(cut) if plain.len() > 32 => format!("{}{}", &plain[..32 - END], &plain[cut..]),
        Some(_) | None => plain.to_owned(),
    };
    // What means another slot is no name.
    SlotId::read(&short).or_else(|_| SlotId::read(&format!("account-{short}"))).ok()
}

#[derive(Deserialize, Serialize)]
struct BookFile {
    version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    order: Vec<String>,
    #[serde(default)]
    slots: BTreeMap<String, WishesFile>,
}

#[derive(Deserialize, Serialize)]
#[serde(default)]
struct WishesFile {
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    enabled: bool,
    paused: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<u32>,
    priority: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    reserve_percent: Option<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    models: Vec<String>,
    last_resort: bool,
}

impl Default for WishesFile {
    fn default() -> Self {
        Self::of(&Wishes::default())
    }
}

impl WishesFile {
    fn of(wishes: &Wishes) -> Self {
        Self {
            label: wishes.label.clone(),
            enabled: wishes.is_enabled,
            paused: wishes.is_paused,
            weight: wishes.weight,
            priority: wishes.priority,
            reserve_percent: wishes.reserve,
            models: wishes.models.clone(),
            last_resort: wishes.is_last_resort,
        }
    }

    fn wishes(self) -> Wishes {
        Wishes {
            label: self.label,
            is_enabled: self.enabled,
            is_paused: self.paused,
            weight: self.weight,
            priority: self.priority,
            reserve: self.reserve_percent,
            models: self.models,
            is_last_resort: self.last_resort,
        }
    }
}

fn read_book(json: &[u8], path: PathBuf) -> Result<Book, RosterError> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let malformed = |why: String| RosterError::Malformed { path: path.clone(), why };
    let Versioned { version } =
        serde_json::from_slice(json).map_err(|error| malformed(error.to_string()))?;
    if version > VERSION {
        return Err(RosterError::Newer { path });
    }
    let file: BookFile =
        serde_json::from_slice(json).map_err(|error| malformed(error.to_string()))?;
    let id = |text: &str| SlotId::read(text).map_err(|error| malformed(error.to_string()));
    let mut wishes = BTreeMap::new();
    for (name, each) in file.slots {
        if each.reserve_percent.is_some_and(|reserve| !(0.0..=100.0).contains(&reserve)) {
            return Err(malformed(format!("`reserve_percent` of {name} is no percentage")));
        }
        wishes.insert(id(&name)?, each.wishes());
    }
    Ok(Book {
        policy: file
            .policy
            .map(|name| name.parse())
            .transpose()
            .map_err(|error: crate::slot::policy::NoPolicy| malformed(error.to_string()))?,
        order: file.order.iter().map(|name| id(name)).collect::<Result<_, _>>()?,
        wishes,
    })
}

fn written(book: &Book) -> Vec<u8> {
    let file = BookFile {
        version: VERSION,
        policy: book.policy.map(|policy| policy.as_str().to_owned()),
        order: book.order.iter().map(ToString::to_string).collect(),
        slots: book
            .wishes
            .iter()
            .map(|(id, wishes)| (id.to_string(), WishesFile::of(wishes)))
            .collect(),
    };
    // Numbers and texts can be written as JSON.
    let mut json = serde_json::to_vec_pretty(&file).unwrap_or_default();
    json.push(b'\n');
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Home {
        dir: tempfile::TempDir,
        roster: Roster,
    }

    fn home() -> Home {
        let dir = tempfile::tempdir().expect("a folder");
        let roster = Roster::new(dir.path());
        Home { dir, roster }
    }

    impl Home {
        fn put(&self, path: &str, content: &str) {
            private_file::replace(&self.dir.path().join(path), content.as_bytes())
                .expect("written");
        }

        fn ids(&self) -> Vec<String> {
            let listing = self.roster.read().expect("read");
            listing.members.iter().map(|member| member.id.to_string()).collect()
        }
    }

    #[test]
    fn one_login_is_one_slot_and_none_is_one_as_well() {
        let home = home();
        assert!(home.roster.read().expect("read").is_single());
        home.put("auth.json", "{}");
        let listing = home.roster.read().expect("read");
        assert!(listing.is_single() && listing.members[0].has_login);
        assert_eq!(home.roster.free_id().expect("free"), SlotId::numbered(2));
    }

    #[test]
    fn folders_are_slots_in_the_owners_order() {
        let home = home();
        for name in ["slot-10", "slot-2", "me-0123456789", ".staging-1", "empty"] {
            private_file::create_dir(&home.dir.path().join("accounts").join(name)).expect("made");
        }
        for name in ["slot-10", "slot-2", "me-0123456789", ".staging-1"] {
            home.put(&format!("accounts/{name}/auth.json"), "{}");
        }
        assert_eq!(home.ids(), ["me-0123456789", "slot-2", "slot-10"]);
        home.put("accounts/manifest.json", r#"{"order":["slot-10","default","x"]}"#);
        home.put("auth.json", "{}");
        assert_eq!(home.ids(), ["slot-10", "slot-1", "me-0123456789", "slot-2"]);
        home.roster
            .change(|book| book.order = vec![SlotId::numbered(2), SlotId::first()])
            .expect("changed");
        assert_eq!(home.ids(), ["slot-2", "slot-1", "me-0123456789", "slot-10"]);
        assert_eq!(home.roster.free_id().expect("free"), SlotId::numbered(3));
    }

    #[test]
    fn a_folder_that_is_named_otherwise_keeps_its_login_and_its_name_fits() {
        let home = home();
        let long = "a.very.long.name.of.somebody-0123456789";
        home.put(&format!("accounts/{long}/auth.json"), "{}");
        let listing = home.roster.read().expect("read");
        assert_eq!(listing.members[0].id.as_str(), "a-very-long-name-of-s-0123456789");
        assert_eq!(home.roster.auth_file(&listing.members[0].id), listing.members[0].auth_file);
        assert!(listing.members[0].auth_file.to_string_lossy().contains(long));
        let named = |name| named_like(name).map(|id| id.to_string());
        assert_eq!(named("Me@Work").as_deref(), Some("me-work"));
        assert_eq!(named("7").as_deref(), Some("account-7"));
        assert_eq!(named("default").as_deref(), Some("account-default"));
        for nameless in ["ü", "", "---"] {
            assert_eq!(named(nameless), None, "{nameless}");
        }
    }

    #[test]
    fn decisions_survive_and_what_is_odd_is_told() {
        let home = home();
        home.put("auth.json", "{}");
        let wishes = Wishes {
            label: Some("work".to_owned()),
            is_enabled: false,
            is_paused: true,
            weight: Some(3),
            priority: -1,
            reserve: Some(12.5),
            models: vec!["gpt-5.4".to_owned()],
            is_last_resort: true,
        };
        let first = SlotId::first();
        let stamp = home.roster.stamp();
        let change = |book: &mut Book| {
            book.wishes.insert(first.clone(), wishes.clone());
            book.policy = Some(Policy::Balanced);
        };
        home.roster.change(change).expect("changed");
        assert_ne!(home.roster.stamp(), stamp);
        let listing = home.roster.read().expect("read");
        assert_eq!((&listing.members[0].wishes, listing.policy), (&wishes, Some(Policy::Balanced)));
        for (content, expected) in [
            ("[", "is not what it should be"),
            (r#"{"version":2,"new":1}"#, "newer version"),
            (r#"{"version":1,"policy":"best"}"#, "`best` is no policy"),
            (r#"{"version":1,"slots":{"../x":{}}}"#, "is no name of a slot"),
            (r#"{"version":1,"slots":{"a":{"reserve_percent":101}}}"#, "no percentage"),
        ] {
            home.put("slots.json", content);
            let error = home.roster.read().expect_err("odd").to_string();
            assert!(error.contains(expected), "{error}");
            assert!(home.roster.change(|_| {}).is_err(), "it is not overwritten");
        }
    }

    #[test]
    fn a_slot_that_is_forgotten_leaves_what_is_not_ours() {
        let home = home();
        home.put("auth.json", "{}");
        home.put("accounts/slot-2/auth.json.lock", "");
        home.put("accounts/slot-3/note.txt", "mine");
        home.roster.forget(&SlotId::numbered(2)).expect("forgotten");
        home.roster.forget(&SlotId::numbered(3)).expect("forgotten");
        assert!(!home.dir.path().join("accounts/slot-2").exists());
        assert!(home.dir.path().join("accounts/slot-3/note.txt").exists());
    }

    #[test]
    fn links_lead_nowhere() {
        let home = home();
        let other = tempfile::tempdir().expect("a folder");
        private_file::replace(&other.path().join("auth.json"), b"{}").expect("written");
        private_file::create_dir(&home.dir.path().join("accounts/slot-3")).expect("made");
        std::os::unix::fs::symlink(other.path(), home.dir.path().join("accounts/slot-2"))
            .expect("linked");
        let file = other.path().join("auth.json");
        std::os::unix::fs::symlink(file, home.dir.path().join("accounts/slot-3/auth.json"))
            .expect("linked");
        assert_eq!(home.ids(), ["slot-1"]);
    }
}
