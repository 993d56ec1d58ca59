//! Recognises bots by their user agents. The list of bots is the crate `isbot`'s.

use std::sync::LazyLock;

use isbot::Bots;
use serde_json::Value;

/// The list, as one pattern. Making it takes some milliseconds, and testing a user agent less than one thousandth of one.
static BOTS: LazyLock<Bots> = LazyLock::new(Bots::default);

/// How the user agents of HTTP libraries and tools begin. The list has them, too, as pages are not read with them; but backends
/// and apps send their users' events with them.
const LIBRARIES: [&str; 22] = [
    "ahc/",
    "anyevent",
    "apache-httpclient/",
    "axios/",
    "curl/",
    "go-http-client/",
    "guzzlehttp/",
    "java/",
    "jetty/",
    "libwww-perl/",
    "lua-resty-http",
    "node-fetch/",
    "okhttp/",
    "php",
    "postmanruntime/",
    "pycurl/",
    "python-httpx/",
    "python-requests/",
    "python-urllib/",
    "python-urllib3/",
    "python/",
    "wget/",
];

/// Where an event may have a user agent of its own: the names of the members on the way to it.
pub(crate) type Path = &'static [&'static str];

/// Tells of the user agents of a request's events whether they are bots'. Most are the same.
#[derive(Debug, Default)]
pub(crate) struct Recognised {
    last: Option<(String, bool)>,
}

impl Recognised {
    /// Returns whether a user agent says that it is a bot.
    pub(crate) fn is_bot(&mut self, user_agent: &str) -> bool {
        if let Some((_, is_bot)) = self.last.as_ref().filter(|(last, _)| last == user_agent) {
            return *is_bot;
        }
        let is_bot = is_bot(user_agent);
        self.last = Some((user_agent.to_owned(), is_bot));
        is_bot
    }
}

fn is_bot(user_agent: &str) -> bool {
    let begins = |with: &&str| {
        user_agent.get(..with.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(with))
    };
    !LIBRARIES.iter().any(begins) && BOTS.is_bot(user_agent)
}

/// Returns the user agent that an event has at the first of these places.
pub(crate) fn user_agent_at<'a>(event: &'a Value, places: &[Path]) -> Option<&'a str> {
    let at = |place: &Path| place.iter().try_fold(event, |value, name| value.get(name))?.as_str();
    places.iter().find_map(at).filter(|user_agent| !user_agent.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn crawlers_are_bots_and_browsers_apps_and_libraries_are_not() {
        for bot in [
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
            "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm) \
             Chrome/116.0.1938.76 Safari/537.36",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/130.0 Safari/537.36",
            "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
            "CCBot/2.0 (https://commoncrawl.org/faq/)",
        ] {
            assert!(is_bot(bot), "{bot}");
        }
        for other in [
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 \
             Mobile/15E148 Safari/604.1",
            "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0",
            "curl/8.5.0",
            "python-requests/2.32.3",
            "Python/3.13 aiohttp/3.11",
            "okhttp/4.12.0",
            "Go-http-client/2.0",
            "analytics-python/2.4.0",
            "posthog-node/5.0",
            "",
            "é",
        ] {
            assert!(!is_bot(other), "{other}");
        }
        let mut recognised = Recognised::default();
        for (user_agent, expected) in [("Googlebot/2.1", true), ("curl/8", false), ("Googlebot/2.1", true)] {
            assert_eq!([recognised.is_bot(user_agent), recognised.is_bot(user_agent)], [expected; 2]);
        }
    }

    #[test]
    fn the_first_place_that_has_a_text_is_the_events_user_agent() {
        let event = json!({"a": {"b": "x", "empty": ""}, "c": "y", "d": 7});
        for (places, expected) in [
            (&[][..], None),
            (&[&["a", "b"][..], &["c"][..]][..], Some("x")),
            (&[&["d"][..], &["a", "z"][..], &["c"][..]][..], Some("y")),
            (&[&["a", "empty"][..]][..], None),
        ] {
            assert_eq!(user_agent_at(&event, places), expected);
        }
    }
}
