//! Pages of lists, as the platform has them: `after`, `limit` and `order` in the query.

use axum::{
    extract::{Path, Query, rejection::PathRejection},
    response::Response,
};
use http::Uri;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    api::{error::ApiError, json},
    store::{Item, Order, Page},
    wire::reject::Reject,
};

/// The id in a path. What is not even text is the id of nothing.
pub type Id<T = String> = Result<Path<T>, PathRejection>;

pub fn one(id: Id) -> String {
    id.map_or_else(|_| String::new(), |Path(id)| id)
}

/// How long pages are where nobody says it, and at most.
#[derive(Clone, Copy, Debug)]
pub struct Lengths {
    pub usual: usize,
    pub most: usize,
}

/// The page that `uri` asks for, and what else its query says.
///
/// # Errors
///
/// When a parameter of the page is not what it should be.
pub fn read(uri: &Uri, lengths: Lengths) -> Result<(Page, Others), ApiError> {
    let pairs = Query::<Vec<(String, String)>>::try_from_uri(uri);
    let Query(pairs) = pairs.map_err(|_| ApiError::bad_query("query"))?;
    let mut page = Page { after: None, limit: lengths.usual, order: Order::Desc };
    let mut others = Vec::new();
    for (name, value) in pairs {
        match &*name {
            "after" => page.after = Some(value).filter(|value| !value.is_empty()),
            "limit" => {
                let given = value.parse().ok().filter(|it| (1..=lengths.most).contains(it));
                page.limit = given.ok_or_else(|| {
                    let most = lengths.most;
                    bad("limit", format!("Invalid 'limit': expected a number from 1 to {most}."))
                })?;
            }
            "order" => page.order = order(&value)?,
            _ => others.push((name, value)),
        }
    }
    Ok((page, others))
}

fn order(value: &str) -> Result<Order, Reject> {
    match value {
        "asc" => Ok(Order::Asc),
        "desc" => Ok(Order::Desc),
        _ => Err(bad("order", "Invalid 'order': expected 'asc' or 'desc'.")),
    }
}

/// The entry that a page is to come after is none of the list.
pub fn unknown_cursor(page: &Page) -> Reject {
    let after = page.after.as_deref().unwrap_or_default();
    let after = crate::wire::json::shorten(after);
    bad("after", format!("Invalid 'after': there is no '{after}' in this list."))
}

fn bad(name: &'static str, message: impl Into<String>) -> Reject {
    Reject::bad(name, "invalid_value", message)
}

/// What is kept as JSON, as it stands.
///
/// # Errors
///
/// When it is not JSON, which cannot be.
pub fn raw(json: String) -> Result<Box<RawValue>, ApiError> {
    RawValue::from_string(json).map_err(|error| ApiError::broken(&error))
}

/// A page of what is kept as JSON.
///
/// # Errors
///
/// When something of it is not JSON, which cannot be.
pub fn items(items: Vec<Item>, has_more: bool) -> Result<Response, ApiError> {
    let named = |item: Item| Ok((item.id.clone(), raw(item.shown())?));
    let all: Vec<_> = items.into_iter().map(named).collect::<Result<_, ApiError>>()?;
    json(&List::new(all, has_more, |(id, _)| id.clone()).map(|(_, item)| item))
}

/// What is answered when something is gone.
#[derive(Debug, Serialize)]
#[expect(clippy::struct_field_names, reason = "these are the published names")]
pub struct Deleted {
    id: String,
    object: &'static str,
    deleted: bool,
}

impl Deleted {
    pub fn of(object: &'static str, id: String) -> Self {
        Self { id, object, deleted: true }
    }
}

/// What a query says besides the page.
pub type Others = Vec<(String, String)>;

/// A page as it is answered.
#[derive(Debug, Serialize)]
pub struct List<T> {
    object: &'static str,
    data: Vec<T>,
    first_id: Option<String>,
    last_id: Option<String>,
    has_more: bool,
}

impl<T> List<T> {
    /// Of entries that go by `id`.
    pub fn new(data: Vec<T>, has_more: bool, id: impl Fn(&T) -> String) -> Self {
        let (first_id, last_id) = (data.first().map(&id), data.last().map(&id));
        Self { object: "list", data, first_id, last_id, has_more }
    }

    /// The same page of what `each` makes of its entries.
    pub fn map<U>(self, each: impl FnMut(T) -> U) -> List<U> {
        let Self { object, data, first_id, last_id, has_more } = self;
        List { object, data: data.into_iter().map(each).collect(), first_id, last_id, has_more }
    }
}
