//! The slots of a data directory, put together from the settings.

use std::{path::Path, sync::Arc};

use super::store;
use crate::{
    auth::file::Store,
    clock::Clock,
    config::Config,
    relay::{
        self,
        slots::{self, Account, Slots},
    },
    roster::{Member, Roster, RosterError},
    slot::{affinity, pool},
};

/// How many dialogues are known to belong to a slot. Each takes about a hundred bytes.
const MOST_DIALOGUES: usize = 8192;

/// Which slots there are, for commands that need no more.
pub(crate) fn roster(config: &Config) -> Roster {
    Roster::new(&config.paths.data_dir)
}

/// The slots of the data directory that `store` is in. All have their own `first`, so to speak.
pub(super) fn slots(
    config: &Config,
    store: &Store,
    first: Account,
    clock: &Clock,
) -> Result<Slots, RosterError> {
    let (of_slots, store) = (&config.slots, store.clone());
    let home = store.path().parent().unwrap_or(&config.paths.data_dir).to_owned();
    let connect = move |member: &Member| {
        if member.auth_file == store.path() {
            return first.clone();
        }
        let login = first.login.beside(store.beside(&member.auth_file));
        Account { login, catalogue: first.catalogue.beside() }
    };
    let settings = slots::Settings {
        pool: pool::Settings {
            policy: of_slots.policy,
            thresholds: of_slots.thresholds,
            reserve: of_slots.reserve,
            concurrent: of_slots.concurrent,
            affinity: affinity::Settings { most: MOST_DIALOGUES, keep: of_slots.affinity },
        },
        waiting: usize::try_from(of_slots.waiting).unwrap_or(usize::MAX),
        patience: of_slots.patience,
    };
    Slots::new(Roster::new(&home), Arc::new(connect), clock.clone(), settings)
}

pub(super) fn relay_settings(config: &Config) -> relay::Settings {
    relay::Settings {
        limits: relay::Limits {
            first_event: config.upstream.first_event_timeout,
            silence: config.upstream.silence_timeout,
        },
        total: config.upstream.total_timeout,
        learn: config.upstream.learn_parameters,
        aliases: config.models.aliases.clone(),
        retries: config.slots.retries,
        backoff: config.slots.backoff,
        image_timeout: config.upstream.image_timeout,
    }
}

/// The login at `path`, kept as the owner's first one is.
pub(crate) fn store_at(config: &Config, path: &Path) -> Store {
    let first = store(config);
    if path == first.path() { first } else { first.beside(path) }
}
