//! Whether the hosts can be reached that the relay speaks to, and what time they have.

use std::{error::Error, time::Duration};

use bytes::Bytes;
use futures_util::future::join;
use http::{Request, header};
use http_body_util::Full;
use jiff::{SignedDuration, Timestamp, fmt::rfc2822};
use tokio::time::{Instant, timeout};
use tower::ServiceExt;

use super::Check;
use crate::{app, clock::Clock, config::Config, relay::view::span_text, transport::Transport};

/// For a sign of life.
const REACH: Duration = Duration::from_secs(5);

/// Signs of life of both hosts, the time that they have, and whether the upstream gave one.
pub async fn signs(config: &Config) -> (Vec<Check>, bool) {
    let way = app::network(config.upstream.connect_timeout.min(REACH)).transport();
    let config = &config.upstream;
    let upstream = sign(&way, format!("{}/models", config.base_url));
    let issuer = sign(&way, format!("{}/.well-known/openid-configuration", config.issuer_base_url));
    let (upstream, issuer) = join(upstream, issuer).await;
    let said = [&upstream, &issuer].into_iter().flatten().find_map(|sign| sign.date.zip(sign.at));
    let time = match said {
        Some((theirs, ours)) => clock(theirs, ours),
        None => Check::skip("clock", "nobody said what time it is"),
    };
    let is_reached = upstream.is_ok();
    let checks = vec![
        reached("upstream", &config.base_url, upstream),
        reached("issuer", &config.issuer_base_url, issuer),
        time,
    ];
    (checks, is_reached)
}

/// An answer, whatever it says.
struct Sign {
    took: Duration,
    is_page_for_browsers: bool,
    date: Option<Timestamp>,
    at: Option<Timestamp>,
}

async fn sign(way: &Transport, uri: String) -> Result<Sign, String> {
    let start = Instant::now();
    let request = Request::builder().uri(uri).body(Full::new(Bytes::new()));
    let request = request.map_err(|error| error.to_string())?;
    let answer = timeout(REACH, way.clone().oneshot(request)).await;
    let answer = answer.map_err(|_| format!("no answer within {} seconds", REACH.as_secs()))?;
    let answer = answer.map_err(|error| root(&*error))?;
    let headers = answer.headers();
    let date = headers.get(header::DATE).and_then(|date| date.to_str().ok());
    Ok(Sign {
        took: start.elapsed(),
        is_page_for_browsers: headers.get("cf-mitigated").is_some(),
        date: date.and_then(|date| Some(rfc2822::parse(date).ok()?.timestamp())),
        at: Some(Clock::system().now()),
    })
}

/// What it came from in the end; what lies between is about how the client is built.
pub fn root(error: &dyn Error) -> String {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root.to_string()
}

fn reached(name: &str, url: &str, sign: Result<Sign, String>) -> Check {
    let host = url.split("://").last().and_then(|rest| rest.split('/').next()).unwrap_or(url);
    match sign {
        Ok(sign) if sign.is_page_for_browsers => Check::warn(
            name,
            format!("{host} answers with a page for browsers: this network is suspect to it"),
        )
        .step("try another network; networks of data centers are often turned away"),
        Ok(sign) => Check::pass(name, format!("{host} answers, in {} ms", sign.took.as_millis())),
        Err(why) => Check::fail(name, format!("{host} cannot be reached: {why}"))
            .step("see whether this machine has a network, and whether a proxy is to be used"),
    }
}

/// Our clock against what another says.
fn clock(theirs: Timestamp, ours: Timestamp) -> Check {
    const NAME: &str = "clock";
    let off = ours.duration_since(theirs);
    let word = if off.is_negative() { "behind" } else { "ahead of" };
    let seconds = off.unsigned_abs().as_secs();
    let text = format!("{} {word} the upstream's", span_text(seconds));
    let step = "set the clock, such as with `timedatectl set-ntp true`";
    match SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX)) {
        off if off <= SignedDuration::from_mins(1) => Check::pass(NAME, "right, within a minute"),
        off if off <= SignedDuration::from_mins(10) => Check::warn(NAME, text).step(step),
        _ => Check::fail(NAME, format!("{text}: tokens and limits end at other times")).step(step),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::Response;
    use tower::service_fn;

    use super::*;
    use crate::{cli::doctor::Status, transport::local};

    #[tokio::test(start_paused = true)]
    async fn a_host_that_does_not_answer_is_not_waited_for_long() {
        let silent = service_fn(async |_: Request<Full<Bytes>>| {
            std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>().await
        });
        let start = Instant::now();
        let sign = sign(&local(silent), "http://127.0.0.1/models".to_owned()).await;
        assert_eq!(start.elapsed(), REACH);
        let check = reached("upstream", "http://127.0.0.1:1/backend-api/codex", sign);
        let text = "127.0.0.1:1 cannot be reached: no answer within 5 seconds";
        assert_eq!((check.status, &*check.message), (Status::Fail, text));
    }

    #[tokio::test]
    async fn a_page_for_browsers_is_no_answer_to_rely_on() {
        let edge = service_fn(async |_: Request<Full<Bytes>>| {
            let answer = Response::builder().status(403).header("cf-mitigated", "challenge");
            Ok::<_, Infallible>(answer.body(Full::new(Bytes::new())).expect("an answer"))
        });
        let sign = sign(&local(edge), "https://up.example/models".to_owned()).await;
        assert_eq!(reached("upstream", "https://up.example/x", sign).status, Status::Warn);
    }

    #[test]
    fn a_clock_may_be_off_by_a_minute() {
        let theirs = Timestamp::from_second(1_790_000_000).expect("a time");
        for (off, status, text) in [
            (0, Status::Pass, "right, within a minute"),
            (-60, Status::Pass, "right, within a minute"),
            (61, Status::Warn, "1m ahead of the upstream's"),
            (-200, Status::Warn, "3m behind the upstream's"),
            (
                7200,
                Status::Fail,
                "2h ahead of the upstream's: tokens and limits end at other times",
            ),
        ] {
            let check = clock(theirs, theirs + SignedDuration::from_secs(off));
            assert_eq!((check.status, &*check.message), (status, text), "{off}");
        }
    }
}
