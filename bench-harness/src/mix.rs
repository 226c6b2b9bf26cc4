//! What a comparison asks for: one request, or several by their weights.

use std::fmt;
use std::str::FromStr;

use fcgi_load::{RequestSpec, Share};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::entry::Entry;
use crate::workload::pattern;

/// The requests of a load, written as text: `/hello`, or `9x/hello,1x/cpu?us=500` for nine of the one among ten.
///
/// | request | what is sent, and what must come back |
/// |---|---|
/// | `/hello` | a GET; one line |
/// | `/cpu?us=N` | a GET; a line, after N microseconds of CPU time, at most a second |
/// | `/wait?ms=N` | a GET; a line, after N milliseconds, at most a second |
/// | `/park?ms=N` | the same, but another thread of the worker ends the wait |
/// | `/echo+N` | a POST of N bytes, from 1 to 1 MiB; the same bytes |
/// | `/bytes?n=N` | a GET; N bytes, at most 16 MiB |
/// | `/params` | a GET; the parameters that were sent, sorted, a line each |
///
/// Some are known by a [name](Self::NAMED), which is read as well. Equal mixes have equal texts: a weight is written
/// where there are several requests, and only there.
///
/// ```
/// use bench_harness::Mix;
///
/// let mix: Mix = "mixed".parse()?;
/// assert_eq!(mix.to_string(), "9x/hello,1x/cpu?us=500");
/// assert_eq!(mix.name(), "mixed");
/// # Ok::<(), bench_harness::mix::MixError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mix(Vec<Part>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    weight: u32,
    request: Request,
}

/// A request whose answer is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Request {
    Hello,
    Cpu { microseconds: u32 },
    Wait { milliseconds: u32 },
    Park { milliseconds: u32 },
    Echo { bytes: u32 },
    Bytes { count: u32 },
    Params,
}

/// What is wrong with the text of a [`Mix`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MixError {
    /// A request whose answer is not known, or none at all.
    #[error(
        "{0:?} is no request with a known answer: write {KNOWN}, several as 9x/hello,1x/params, \
         or one of hello, cpu, wait, upload, mixed"
    )]
    Unknown(String),
    /// A number that is none, or is out of its range.
    #[error("{text:?}: N in {form} must be a whole number from {least} to {most}")]
    Number {
        /// The request.
        text: String,
        /// How it is written.
        form: &'static str,
        /// The least that N can be.
        least: u32,
        /// The most that N can be.
        most: u32,
    },
    /// A weight that is none, or is out of its range.
    #[error("{0:?}: a weight must be a whole number from 1 to {max}, as in 9x/hello", max = Share::MAX_WEIGHTS)]
    Weight(String),
    /// Weights that add up to more than a load takes.
    #[error("the weights of a mix must add up to at most {max}, not {0}", max = Share::MAX_WEIGHTS)]
    Weights(u64),
    /// More requests than a load takes.
    #[error("a mix has at most {max} requests, not {0}", max = Share::MAX_REQUESTS)]
    Requests(usize),
}

/// Those that a text can name.
const KNOWN: &str = "/hello, /cpu?us=N, /wait?ms=N, /park?ms=N, /echo+N, /bytes?n=N or /params";

impl Mix {
    /// The mixes that have a name, and their texts.
    pub const NAMED: [(&'static str, &'static str); 5] = [
        ("hello", "/hello"),
        ("cpu", "/cpu?us=100"),
        ("wait", "/wait?ms=5"),
        ("upload", "/echo+65536"),
        ("mixed", "9x/hello,1x/cpu?us=500"),
    ];

    /// The mix of that name.
    pub fn named(name: &str) -> Option<Self> {
        let (_, text) = Self::NAMED.into_iter().find(|(known, _)| *known == name)?;
        text.parse().ok()
    }

    /// What tables and charts call it: its name, or its text where it has none.
    pub fn name(&self) -> String {
        let text = self.to_string();
        match Self::NAMED.into_iter().find(|(_, known)| *known == text) {
            Some((name, _)) => name.to_owned(),
            None => text,
        }
    }

    /// Whether it asks for nothing but what other implementations answer too: `/hello`, `/echo` and `/wait`.
    pub fn is_for_peers(&self) -> bool {
        let is_known = |part: &Part| {
            matches!(part.request, Request::Hello | Request::Echo { .. } | Request::Wait { .. })
        };
        self.0.iter().all(is_known)
    }

    /// The requests as this entry must be sent them, and what must come back.
    pub fn shares(&self, entry: &Entry) -> Vec<Share> {
        let share = |part: &Part| Share { weight: part.weight, request: part.request.to(entry) };
        self.0.iter().map(share).collect()
    }
}

/// What everybody is measured by unless something else is asked for: `/hello`.
impl Default for Mix {
    fn default() -> Self {
        Self(vec![Part { weight: 1, request: Request::Hello }])
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = &self.0[..] {
            return write!(f, "{}", only.request);
        }
        for (at, Part { weight, request }) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{weight}x{request}")?;
        }
        Ok(())
    }
}

impl FromStr for Mix {
    type Err = MixError;

    fn from_str(text: &str) -> Result<Self, MixError> {
        if let Some(mix) = Self::named(text) {
            return Ok(mix);
        }
        let mut parts = text.split(',').map(str::parse).collect::<Result<Vec<Part>, MixError>>()?;
        if let [only] = &mut parts[..] {
            only.weight = 1;
        }
        if parts.len() > Share::MAX_REQUESTS {
            return Err(MixError::Requests(parts.len()));
        }
        let weights = parts.iter().map(|part| u64::from(part.weight)).sum();
        if weights > Share::MAX_WEIGHTS.into() {
            return Err(MixError::Weights(weights));
        }
        Ok(Self(parts))
    }
}

impl TryFrom<String> for Mix {
    type Error = MixError;

    fn try_from(text: String) -> Result<Self, MixError> {
        text.parse()
    }
}

impl From<Mix> for String {
    fn from(mix: Mix) -> Self {
        mix.to_string()
    }
}

impl FromStr for Part {
    type Err = MixError;

    fn from_str(text: &str) -> Result<Self, MixError> {
        let text = text.trim();
        let slash = text.find('/').ok_or_else(|| MixError::Unknown(text.to_owned()))?;
        let weight = match &text[..slash] {
            "" => 1,
            weight => weight
                .strip_suffix('x')
                .and_then(|digits| number(digits, 1, Share::MAX_WEIGHTS))
                .ok_or_else(|| MixError::Weight(text.to_owned()))?,
        };
        Ok(Self { weight, request: text[slash..].parse()? })
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hello => f.write_str("/hello"),
            Self::Cpu { microseconds } => write!(f, "/cpu?us={microseconds}"),
            Self::Wait { milliseconds } => write!(f, "/wait?ms={milliseconds}"),
            Self::Park { milliseconds } => write!(f, "/park?ms={milliseconds}"),
            Self::Echo { bytes } => write!(f, "/echo+{bytes}"),
            Self::Bytes { count } => write!(f, "/bytes?n={count}"),
            Self::Params => f.write_str("/params"),
        }
    }
}

impl FromStr for Request {
    type Err = MixError;

    fn from_str(text: &str) -> Result<Self, MixError> {
        // What stands before the number, in `form`, is compared; what stands in its place is the number.
        let of = |form: &'static str, least: u32, most: u32| {
            let digits = text.strip_prefix(form.strip_suffix('N')?)?;
            let error = || MixError::Number { text: text.to_owned(), form, least, most };
            Some(number(digits, least, most).ok_or_else(error))
        };
        if let Some(microseconds) = of("/cpu?us=N", 0, 1_000_000) {
            return Ok(Self::Cpu { microseconds: microseconds? });
        }
        if let Some(milliseconds) = of("/wait?ms=N", 0, 1_000) {
            return Ok(Self::Wait { milliseconds: milliseconds? });
        }
        if let Some(milliseconds) = of("/park?ms=N", 0, 1_000) {
            return Ok(Self::Park { milliseconds: milliseconds? });
        }
        if let Some(bytes) = of("/echo+N", 1, 1 << 20) {
            return Ok(Self::Echo { bytes: bytes? });
        }
        if let Some(count) = of("/bytes?n=N", 0, 16 << 20) {
            return Ok(Self::Bytes { count: count? });
        }
        match text {
            "/hello" => Ok(Self::Hello),
            "/params" => Ok(Self::Params),
            _ => Err(MixError::Unknown(text.to_owned())),
        }
    }
}

impl Request {
    fn to(self, entry: &Entry) -> RequestSpec {
        match self {
            Self::Hello => entry.hello(),
            Self::Cpu { microseconds } => {
                entry.adapt(self.get().expect_body(format!("burned {microseconds} us\n")))
            }
            Self::Wait { milliseconds } => {
                entry.adapt(self.get().expect_body(format!("waited {milliseconds} ms\n")))
            }
            Self::Park { milliseconds } => {
                entry.adapt(self.get().expect_body(format!("parked {milliseconds} ms\n")))
            }
            Self::Echo { bytes } => {
                let body = pattern(bytes as usize);
                entry.adapt(RequestSpec::post("/echo", body.clone()).expect_body(body))
            }
            Self::Bytes { count } => entry.adapt(self.get().expect_body(pattern(count as usize))),
            Self::Params => {
                // With those that the entry needs beside the others.
                let request = entry.adapt(self.get());
                let list = sorted_lines(&request);
                request.expect_body(list)
            }
        }
    }

    fn get(self) -> RequestSpec {
        RequestSpec::get(&self.to_string())
    }
}

/// What `/params` answers.
fn sorted_lines(request: &RequestSpec) -> Vec<u8> {
    let mut pairs: Vec<_> = request.params.iter().collect();
    pairs.sort();
    pairs.into_iter().flat_map(|(name, value)| [&name[..], b"=", value, b"\n"].concat()).collect()
}

/// A whole number in this range: digits and nothing else.
fn number(digits: &str, least: u32, most: u32) -> Option<u32> {
    let number = digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    (least..=most).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Mix {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn refused(text: &str) -> String {
        let error = text.parse::<Mix>().expect_err(text).to_string();
        assert!(!error.contains('\n'), "{error}");
        error
    }

    #[test]
    fn a_text_is_given_back_as_it_was_read() {
        for text in [
            "/hello",
            "/cpu?us=0",
            "/wait?ms=1000",
            "/echo+1",
            "/echo+1048576",
            "/bytes?n=16777216",
            "/params",
            "9x/hello,1x/cpu?us=500",
            "1x/hello,1x/hello",
            "500x/params,499x/echo+3,1x/bytes?n=0",
        ] {
            assert_eq!(parsed(text).to_string(), text);
        }
    }

    #[test]
    fn what_is_the_same_mix_has_the_same_text() {
        for (one, other) in [
            ("7x/hello", "/hello"),
            ("hello", "/hello"),
            ("/hello,/params", "1x/hello,1x/params"),
            (" 2x/hello, 1x/cpu?us=007", "2x/hello,1x/cpu?us=7"),
        ] {
            assert_eq!(parsed(one), parsed(other));
            assert_eq!(parsed(one).to_string(), parsed(other).to_string());
        }
        assert_ne!(parsed("1x/hello,2x/params"), parsed("2x/hello,1x/params"));
    }

    #[test]
    fn the_five_names_stand_for_these_texts() {
        for (name, text) in [
            ("hello", "/hello"),
            ("cpu", "/cpu?us=100"),
            ("wait", "/wait?ms=5"),
            ("upload", "/echo+65536"),
            ("mixed", "9x/hello,1x/cpu?us=500"),
        ] {
            let mix = Mix::named(name).unwrap();
            assert_eq!((mix.to_string().as_str(), mix.name().as_str()), (text, name));
            assert_eq!((parsed(name), parsed(text)), (mix.clone(), mix));
        }
        assert_eq!(Mix::named("/hello"), None);
        assert_eq!(parsed("/cpu?us=101").name(), "/cpu?us=101");
        assert_eq!(Mix::default(), parsed("hello"));
    }

    #[test]
    fn a_request_without_a_known_answer_is_refused_with_those_that_have_one() {
        for text in
            ["", "/", "goodbye", "/crash", "/hello?x=y", "/echo", "/cpu", "/status?code=200", "/hello,", "1x"]
        {
            let error = refused(text);
            for known in
                [KNOWN, "/hello", "/cpu?us=N", "/wait?ms=N", "/echo+N", "/bytes?n=N", "/params", "upload"]
            {
                assert!(error.contains(known), "{text}: {error}");
            }
        }
        assert!(refused("9x/hello,1x/nowhere").starts_with("\"/nowhere\" is no request"));
    }

    #[test]
    fn numbers_and_weights_out_of_range_are_refused_with_the_range() {
        for (text, words) in [
            ("/cpu?us=1000001", "/cpu?us=N must be a whole number from 0 to 1000000"),
            ("/cpu?us=", "/cpu?us=N must"),
            ("/cpu?us=+5", "/cpu?us=N must"),
            ("/wait?ms=1001", "/wait?ms=N must be a whole number from 0 to 1000"),
            ("/echo+0", "/echo+N must be a whole number from 1 to 1048576"),
            ("/echo+99999999999999999999", "/echo+N must"),
            ("/bytes?n=16777217", "/bytes?n=N must be a whole number from 0 to 16777216"),
            ("0x/hello,1x/params", "a weight must be a whole number from 1 to 1000"),
            ("1001x/hello", "a weight must"),
            ("-1x/hello", "a weight must"),
            ("9/hello", "a weight must"),
            ("x/hello", "a weight must"),
            ("999x/hello,2x/params", "add up to at most 1000, not 1001"),
        ] {
            let error = refused(text);
            assert!(error.contains(words), "{text}: {error}");
        }
        assert!(refused(&["/hello"; 65].join(",")).contains("at most 64 requests, not 65"));
        assert_eq!(parsed(&["/hello"; 64].join(",")).0.len(), 64);
    }

    #[test]
    fn peers_are_asked_for_three_paths_alone() {
        for (text, is_for_peers) in [
            ("/hello", true),
            ("upload", true),
            ("wait", true),
            ("9x/hello,1x/wait?ms=50", true),
            ("mixed", false),
            ("9x/wait?ms=5,1x/park?ms=5", false),
        ] {
            assert_eq!(parsed(text).is_for_peers(), is_for_peers, "{text}");
        }
    }

    #[test]
    fn a_file_holds_the_text() {
        let mix = parsed("mixed");
        let json = serde_json::to_string(&mix).unwrap();
        assert_eq!(json, "\"9x/hello,1x/cpu?us=500\"");
        assert_eq!(serde_json::from_str::<Mix>(&json).unwrap(), mix);
        let error = serde_json::from_str::<Mix>("\"/nowhere\"").unwrap_err().to_string();
        assert!(error.contains("/nowhere") && error.contains("/echo+N"), "{error}");
    }

    #[test]
    fn the_parameters_come_back_sorted_a_line_each() {
        let mut request = RequestSpec::get("/params");
        request.params = vec![(b"B".into(), b"2".into()), (b"A".into(), b"".into())];
        assert_eq!(sorted_lines(&request), b"A=\nB=2\n");
    }
}
