//! Where the file of settings and the data directory are.
//!
//! Both had another name once. Whoever has only the old one keeps it, each decided by itself.

use std::path::{Path, PathBuf};

use super::{
    layer::{Origin, Sourced, Values},
    table::{CONFIG, DATA_DIR, Setting},
};

/// The former names, below the home directory.
const FORMER_CONFIG: &str = ".config/airelay/config.toml";
const FORMER_DATA_DIR: &str = ".airelay";

/// The path of the file, which need not exist. `None` only after a problem was noted.
pub fn config_file(values: &mut Values<'_>) -> Option<Sourced<PathBuf>> {
    given_or_former(values, &CONFIG, FORMER_CONFIG)
}

/// The data directory, which need not exist. `None` only after a problem was noted.
pub fn data_dir(values: &mut Values<'_>) -> Option<Sourced<PathBuf>> {
    given_or_former(values, &DATA_DIR, FORMER_DATA_DIR)
}

/// Where the data directory was when the program had another name.
pub fn former_data_dir(home: &Path) -> PathBuf {
    home.join(FORMER_DATA_DIR)
}

/// The data directory as it would be without the flags.
pub fn data_dir_below_flags(values: &mut Values<'_>) -> Option<PathBuf> {
    match values.below_flags(&DATA_DIR) {
        Some(given) => Some(given),
        None => default(values, &DATA_DIR, FORMER_DATA_DIR),
    }
}

fn given_or_former(
    values: &mut Values<'_>,
    setting: &'static Setting<PathBuf>,
    former: &str,
) -> Option<Sourced<PathBuf>> {
    match values.given(setting) {
        Some(given) => Some(given),
        None => {
            default(values, setting, former).map(|value| Sourced { value, origin: Origin::Default })
        }
    }
}

fn default(
    values: &mut Values<'_>,
    setting: &'static Setting<PathBuf>,
    former: &str,
) -> Option<PathBuf> {
    let path = values.default_of(setting)?;
    let former = values.home.map(|home: &Path| home.join(former));
    Some(former.filter(|former| !path.exists() && former.exists()).unwrap_or(path))
}
