//! What the imitated upstream is like today: every behavior on which reports disagree, or that
//! changes with time, is a switch here.
//!
//! The defaults are what is most likely true now. A switch is named like its field; in text a
//! hyphen is as good as an underscore, in names and in values.
//!
//! Not here: what a single request asks for by marker (`script`).

use std::str::FromStr;

/// A switch that does not exist, or a value it does not take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorldError {
    #[error("there is no switch {name:?}; there are: {known}")]
    UnknownSwitch { name: String, known: String },
    #[error("the switch {name:?} does not take {value:?}; it takes: {allowed}")]
    Value { name: &'static str, value: String, allowed: String },
}

/// What a switch may be set to.
trait Setting: Sized {
    fn read(text: &str) -> Option<Self>;
    fn allowed() -> String;
}

impl Setting for bool {
    fn read(text: &str) -> Option<Self> {
        match text {
            "true" | "on" | "yes" => Some(true),
            "false" | "off" | "no" => Some(false),
            _ => None,
        }
    }

    fn allowed() -> String {
        "true, false".to_owned()
    }
}

impl Setting for u64 {
    fn read(text: &str) -> Option<Self> {
        Self::from_str(text).ok()
    }

    fn allowed() -> String {
        "a whole number".to_owned()
    }
}

impl Setting for i64 {
    fn read(text: &str) -> Option<Self> {
        Self::from_str(text).ok()
    }

    fn allowed() -> String {
        "a whole number, also negative".to_owned()
    }
}

impl Setting for String {
    fn read(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }

    fn allowed() -> String {
        "a name".to_owned()
    }
}

/// Names of token fields, separated by commas.
impl Setting for Vec<String> {
    fn read(text: &str) -> Option<Self> {
        let names: Self = text
            .split(',')
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty())
            .collect();
        let known =
            |name: &String| matches!(name.as_str(), "id_token" | "access_token" | "refresh_token");
        names.iter().all(known).then_some(names)
    }

    fn allowed() -> String {
        "id_token, access_token and refresh_token, separated by commas".to_owned()
    }
}

macro_rules! choices {
    ($($(#[$doc:meta])* $name:ident { $($(#[$each:meta])* $case:ident = $text:literal),+ $(,)? })+) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub enum $name { $($(#[$each])* $case),+ }

            impl Setting for $name {
                fn read(text: &str) -> Option<Self> {
                    match text.replace('_', "-").as_str() {
                        $($text => Some(Self::$case),)+
                        _ => None,
                    }
                }

                fn allowed() -> String {
                    [$($text),+].join(", ")
                }
            }
        )+
    };
}

choices! {
    /// Whether something is taken or earns a 400.
    Taken { Accepted = "accepted", Refused = "refused" }

    /// Whether something may be left out.
    Need { Required = "required", Optional = "optional" }

    /// What becomes of a request without `instructions`.
    Instructions {
        Required = "required",
        /// Required, unless `input` carries a developer message.
        Developer = "developer",
        Optional = "optional",
    }

    /// What becomes of `max_output_tokens`.
    OutputCap { Refused = "refused", Enforced = "enforced" }

    /// The answer to a `version` header below what the model asks for.
    OldVersion {
        /// 400 below the advertised minimum, 404 between that and where the model really answers.
        Graded = "graded",
        Refused = "refused",
        NotFound = "not-found",
    }

    /// The body of a 401 for a token that is not valid.
    Unauthorized {
        /// `detail` when there is no token or an unknown one, `error` otherwise.
        Mixed = "mixed",
        Error = "error",
        Detail = "detail",
    }

    /// What `/oauth/authorize` answers to a request in order.
    Authorize {
        Ok = "ok",
        AccessDenied = "access-denied",
        MissingEntitlement = "missing-codex-entitlement",
        /// An error body instead of a redirect.
        NoWorkspace = "no-workspace",
    }

    /// Which redirect URIs are registered.
    RedirectPorts { Registered = "registered", Any = "any" }

    /// What becomes of a refresh that would succeed.
    Refresh {
        Ok = "ok",
        Expired = "expired",
        Invalidated = "invalidated",
        ServerError = "server-error",
        Cloudflare = "cloudflare",
        /// Tokens of the account `second`.
        OtherAccount = "other-account",
    }

    /// The body of an error of the token endpoint that is not about refreshing.
    TokenError { OAuth = "oauth", OpenAi = "openai" }

    /// How a device login goes.
    Device { Ok = "ok", Disabled = "disabled", Expired = "expired", Denied = "denied" }

    /// The status that means "not yet" in a device login.
    Pending { Forbidden = "403", NotFound = "404" }

    /// Whether `response.completed` repeats the output.
    CompletedOutput { Empty = "empty", Filled = "filled" }

    /// Whether usage comes with its details.
    UsageDetails { Full = "full", Null = "null" }

    /// The list of models.
    Models {
        Ok = "ok",
        /// One entry lacks its required fields.
        BadEntry = "bad-entry",
        Empty = "empty",
        NotFound = "not-found",
        ServerError = "server-error",
    }

    /// The routes for pictures.
    Images {
        Ok = "ok",
        /// 404 without a body, as accounts get it that make none.
        Missing = "missing",
    }

    /// What becomes of exchanging a code.
    Exchange { Ok = "ok", ServerError = "server-error", Cloudflare = "cloudflare" }

    /// `wham/usage`.
    UsageRoute {
        Ok = "ok",
        /// Everything that may be null is null.
        Nulls = "nulls",
        NotFound = "not-found",
        /// Its own throttle.
        RateLimit = "rate-limit",
    }

    /// Which windows are reported.
    Windows {
        /// What the plan has: a month when free, otherwise five hours and a week.
        Plan = "plan",
        FiveHoursAndWeek = "five-hours-and-week",
        /// The week alone, in the primary place.
        Week = "week",
        Month = "month",
        None = "none",
    }

    /// How `rate_limit_reached_type` is written once a limit is reached.
    Reached { Object = "object", Kind = "kind", Text = "text", Null = "null" }
}

macro_rules! world {
    ($($(#[doc = $doc:literal])+ $name:ident : $kind:ty = $default:expr),+ $(,)?) => {
        /// Every switch, with what is most likely true today as its default.
        #[derive(Clone, Debug, PartialEq)]
        pub struct World {
            $($(#[doc = $doc])+ pub $name: $kind,)+
        }

        impl Default for World {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        impl World {
            /// Sets one switch by its name.
            ///
            /// # Errors
            ///
            /// When there is no such switch, or it does not take the value.
            pub fn set(&mut self, name: &str, value: &str) -> Result<(), WorldError> {
                match name.replace('-', "_").as_str() {
                    $(stringify!($name) => self.$name = read(stringify!($name), value)?,)+
                    _ => {
                        let known: Vec<_> = Self::switches().iter().map(|one| one.name).collect();
                        return Err(WorldError::UnknownSwitch {
                            name: name.to_owned(),
                            known: known.join(", "),
                        });
                    }
                }
                Ok(())
            }

            /// Every switch with what it takes and what it does, for help texts.
            pub fn switches() -> Vec<Switch> {
                vec![$(Switch {
                    name: stringify!($name),
                    allowed: <$kind>::allowed(),
                    about: concat!($($doc),+).trim(),
                },)+]
            }
        }
    };
}

world! {
    /// What a login ends with at `/oauth/authorize`.
    authorize: Authorize = Authorize::Ok,
    /// Whether `redirect_uri` may have another port than 1455 and 1457.
    redirect_ports: RedirectPorts = RedirectPorts::Registered,
    /// The account that a browser or device login signs in to.
    login_account: String = "first".to_owned(),
    /// What becomes of exchanging a code for tokens.
    exchange: Exchange = Exchange::Ok,
    /// The shape of errors of the token endpoint.
    token_errors: TokenError = TokenError::OAuth,
    /// What becomes of a refresh.
    refresh: Refresh = Refresh::Ok,
    /// How long answers about tokens take after all is done, in milliseconds.
    token_delay: u64 = 0,
    /// Answers about tokens wait for as long as this is on, after all is done.
    token_hold: bool = false,
    /// Fields that a refresh leaves out.
    refresh_omits: Vec<String> = Vec::new(),
    /// How long access tokens are valid, in seconds; negative for tokens that are born expired.
    token_lifetime: i64 = 864_000,
    /// How far the clock of the sign-in server is ahead of ours, in seconds; negative for one that is
    /// behind.
    issuer_clock: i64 = 0,
    /// How a device login goes.
    device: Device = Device::Ok,
    /// The status of a device login that is not yet approved.
    device_pending: Pending = Pending::Forbidden,
    /// How many polls of a device login are answered "not yet" before it is approved by itself.
    device_polls: u64 = 1,
    /// The polling interval of a device login, in seconds.
    device_interval: u64 = 5,
    /// The style of a 401.
    unauthorized: Unauthorized = Unauthorized::Mixed,
    /// The header `chatgpt-account-id`.
    account_header: Need = Need::Required,
    /// The header `originator`, for models from gpt-5.6 on.
    originator: Need = Need::Required,
    /// The header `version`.
    version_header: Need = Need::Optional,
    /// The answer to a `version` header that is too low.
    old_version: OldVersion = OldVersion::Graded,
    /// A request without `instructions`.
    instructions: Instructions = Instructions::Developer,
    /// A request whose `instructions` are empty.
    empty_instructions: Taken = Taken::Accepted,
    /// The field `max_output_tokens`.
    max_output_tokens: OutputCap = OutputCap::Enforced,
    /// The field `metadata`.
    metadata: Taken = Taken::Refused,
    /// Keys of `stream_options` other than `reasoning_summary_delivery`.
    stream_options: Taken = Taken::Refused,
    /// Images given by http or https URL.
    remote_images: Taken = Taken::Refused,
    /// A `tool_choice` of the hosted `web_search`.
    web_search_choice: Taken = Taken::Refused,
    /// The hosted tool `image_generation`.
    image_tool: Taken = Taken::Accepted,
    /// The item `compaction_trigger`, which asks for a compaction in a stream.
    compaction_trigger: Taken = Taken::Accepted,
    /// The header `x-codex-beta-features: remote_compaction_v2` of a request with that item.
    compaction_header: Need = Need::Required,
    /// The route `responses/compact`, which answers without a stream.
    compact_route: Taken = Taken::Refused,
    /// The `output` of `response.completed`.
    completed_output: CompletedOutput = CompletedOutput::Empty,
    /// The details in `usage`.
    usage_details: UsageDetails = UsageDetails::Full,
    /// The routes `images/generations` and `images/edits`.
    images: Images = Images::Ok,
    /// How much of the window of pictures is used, in percent. At 100 it is reached.
    images_used: u64 = 10,
    /// How much of that window every picture uses, in percent.
    image_cost: u64 = 0,
    /// How long a prompt stays cached, in seconds.
    cache_retention: u64 = 1800,
    /// The list of models.
    models: Models = Models::Ok,
    /// The route `wham/usage`.
    usage_route: UsageRoute = UsageRoute::Ok,
    /// The windows that headers and `wham/usage` report.
    windows: Windows = Windows::Plan,
    /// How much of the primary window is used, in percent.
    primary_used: u64 = 27,
    /// How much of the secondary window is used, in percent.
    secondary_used: u64 = 4,
    /// How much of the primary window every turn uses, in percent.
    turn_cost: u64 = 0,
    /// Whether streams tell the limits in an event of their own, before any output.
    limit_events: bool = false,
    /// How many usage resets every account was granted.
    reset_credits: u64 = 1,
    /// How `rate_limit_reached_type` is written.
    reached: Reached = Reached::Object,
    /// Limits of other families, in headers and in `wham/usage`.
    additional_limits: bool = true,
}

/// One line about a switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switch {
    /// The field's name.
    pub name: &'static str,
    /// The values it takes, in words.
    pub allowed: String,
    /// What it decides.
    pub about: &'static str,
}

impl World {
    /// The world of today with some switches set.
    ///
    /// # Errors
    ///
    /// When a switch does not exist or does not take its value.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(pairs: &[(N, V)]) -> Result<Self, WorldError> {
        let mut world = Self::default();
        for (name, value) in pairs {
            world.set(name.as_ref(), value.as_ref())?;
        }
        Ok(world)
    }
}

fn read<T: Setting>(name: &'static str, value: &str) -> Result<T, WorldError> {
    T::read(value).ok_or_else(|| WorldError::Value {
        name,
        value: value.to_owned(),
        allowed: T::allowed(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_are_set_by_name() {
        let world = World::from_pairs(&[
            ("instructions", "optional"),
            ("max-output-tokens", "refused"),
            ("token_lifetime", "60"),
            ("refresh_omits", "id_token, refresh_token"),
            ("additional-limits", "off"),
            ("authorize", "access_denied"),
        ])
        .expect("known");
        let expected = World {
            instructions: Instructions::Optional,
            max_output_tokens: OutputCap::Refused,
            token_lifetime: 60,
            refresh_omits: vec!["id_token".to_owned(), "refresh_token".to_owned()],
            additional_limits: false,
            authorize: Authorize::AccessDenied,
            ..World::default()
        };
        assert_eq!(world, expected);
    }

    #[test]
    fn mistakes_are_named() {
        let error = World::from_pairs(&[("instruction", "x")]).expect_err("unknown").to_string();
        assert!(error.starts_with(r#"there is no switch "instruction"; there are: authorize, "#));
        let error = World::from_pairs(&[("device_pending", "401")]).expect_err("value");
        assert_eq!(
            error.to_string(),
            r#"the switch "device_pending" does not take "401"; it takes: 403, 404"#
        );
    }

    #[test]
    fn every_switch_explains_itself() {
        for switch in World::switches() {
            assert!(switch.about.ends_with('.'), "{}", switch.name);
            assert!(!switch.allowed.is_empty(), "{}", switch.name);
        }
    }
}
