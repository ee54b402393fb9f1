//! What a client's name of a model means to the upstream.
//!
//! The owner's own names count first. A name may carry an effort: `gpt-5.6-luna(high)`, or
//! `gpt-5.6-luna-high` where the catalogue has the one and not the other. Without a catalogue the
//! second is left as it is: nothing is guessed.
//!
//! **Invariant:** a name that the catalogue has and the owner gave no meaning is never changed but
//! in its capitals.

use std::sync::Arc;

use super::{Relay, failover::Usable};
use crate::{
    upstream::catalogue::Models,
    wire::{
        model::{Suffixed, alias_of, suggestions},
        request::Translated,
    },
};

/// A model and an effort, as a name says them.
struct Meant {
    model: String,
    effort: Option<String>,
}

impl Relay {
    /// The request with the model and the effort that its model's name means.
    pub(super) async fn named(&self, request: Translated, account: &Usable) -> Translated {
        let Meant { model, effort } = self.meaning(&request.model, account).await;
        match effort {
            Some(effort) => request.with_model(&model, &effort),
            None if model == request.model => request,
            None => {
                let mut request = request;
                request.set_upstream_model(&model);
                request
            }
        }
    }

    async fn meaning(&self, asked: &str, account: &Usable) -> Meant {
        let aliases = &self.settings.aliases;
        if let Some(model) = alias_of(aliases, asked) {
            return self.split(model, account).await;
        }
        if let Some(name) = Suffixed::read(asked)
            && let Some(model) = alias_of(aliases, name.model)
        {
            let Meant { model, .. } = self.split(model, account).await;
            return Meant { model, effort: Some(name.effort.to_owned()) };
        }
        self.split(asked, account).await
    }

    /// A name that is no alias, as a model and the effort that it may carry.
    async fn split(&self, asked: &str, account: &Usable) -> Meant {
        let name = Suffixed::read(asked);
        let has_capitals = asked.bytes().any(|byte| byte.is_ascii_uppercase());
        let listed = if name.is_some() || has_capitals { self.listed(account).await } else { None };
        let spelt = |model: &str| {
            let known = listed.as_ref().and_then(|models| models.find(model));
            known.map(|model| model.slug.clone())
        };
        if let Some(model) = spelt(asked) {
            return Meant { model, effort: None };
        }
        match name.map(|name| (name, spelt(name.model))) {
            Some((name, Some(model))) => Meant { model, effort: Some(name.effort.to_owned()) },
            Some((name, None)) if name.is_explicit => {
                Meant { model: name.model.to_owned(), effort: Some(name.effort.to_owned()) }
            }
            Some((_, None)) | None => Meant { model: asked.to_owned(), effort: None },
        }
    }

    /// Names of models that resemble the one that was asked for.
    pub(super) async fn suggestions(&self, request: &Translated, account: &Usable) -> Vec<String> {
        let Some(models) = self.listed(account).await else { return Vec::new() };
        suggestions(&request.model, models.entries.iter().map(|model| model.slug.as_str()))
    }

    async fn listed(&self, account: &Usable) -> Option<Arc<Models>> {
        account.catalogue.models(&account.credential).await.ok()
    }
}
