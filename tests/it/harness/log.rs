//! The traffic log as somebody finds it afterwards.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// Every file below `dir`, with its mode.
pub fn files(dir: &Path) -> Vec<(PathBuf, u32)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let mode = entry.metadata().expect("there").permissions().mode() & 0o777;
            found.push((path, mode));
        }
    }
    found.sort();
    found
}

/// All records of the relay that had `home`, in their order.
pub fn records(home: &Path) -> Vec<Value> {
    let mut records = Vec::new();
    for (path, _) in files(&home.join(".airelays/logs")) {
        let text = fs::read_to_string(&path).expect("text");
        assert!(text.is_ascii(), "{}", path.display());
        assert!(text.ends_with('\n'), "{}", path.display());
        let line =
            |line: &str| serde_json::from_str::<Value>(line).expect("one JSON object a line");
        records.extend(text.lines().map(line));
    }
    records
}
