//! What a client's name of a model means to the upstream.
//!
//! A name may carry an effort: `gpt-5.6-luna(high)`, or `gpt-5.6-luna-high` where the catalogue has
//! the one and not the other. Without a catalogue the second is left as it is: nothing is guessed.
//!
//! **Invariant:** a name that the catalogue has is never changed.

use std::sync::Arc;

use super::Relay;
use crate::{
    credential::Credential,
    upstream::catalogue::Models,
    wire::{
        model::{Suffixed, suggestions},
        request::Translated,
    },
};

impl Relay {
    /// The request with an effort in its model's name taken out of the name.
    pub(super) async fn named(&self, request: Translated, credential: &Credential) -> Translated {
        let asked = request.model.clone();
        let Some(name) = Suffixed::read(&asked) else { return request };
        let is_meant = name.is_explicit
            || self.listed(credential).await.is_some_and(|models| {
                models.find(&asked).is_none() && models.find(name.model).is_some()
            });
        if is_meant { request.with_model(name.model, name.effort) } else { request }
    }

    /// Names of models that resemble the one that was asked for.
    pub(super) async fn suggestions(
        &self,
        request: &Translated,
        credential: &Credential,
    ) -> Vec<String> {
        let Some(models) = self.listed(credential).await else { return Vec::new() };
        suggestions(&request.model, models.entries.iter().map(|model| model.slug.as_str()))
    }

    async fn listed(&self, credential: &Credential) -> Option<Arc<Models>> {
        self.catalogue.models(credential).await.ok()
    }
}
