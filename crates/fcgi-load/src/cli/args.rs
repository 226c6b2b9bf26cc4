//! The command line, and the options it stands for.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use fcgi_load::{Address, Expect, Mode, Options, OptionsError, Protocol, RequestSpec, Until};

/// Puts load on a FastCGI server, or on the web server before it, and checks every reply.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "\
Examples:
  Eight kept connections for five seconds, as fast as the server answers:
    fcgi-load unix:/run/app.sock --uri /hello --connections 8

  A new connection for each of 100000 requests, 32 at a time, every body compared:
    fcgi-load tcp:127.0.0.1:9000 --mode close -c 32 --requests 100000 --expect-body hello.txt

  Sixty-four requests at a time on each of eight connections:
    fcgi-load unix:/run/app.sock --mode multiplex -c 8 --streams 64

  Latency at 2000 requests per second, counted from the time each request was due:
    fcgi-load unix:/run/app.sock -c 64 --rate 2000 --duration 30s

  php-fpm, which wants to know the script's file and does not end FCGI_STDOUT:
    fcgi-load unix:/run/php/php-fpm.sock --uri /x.php --param SCRIPT_FILENAME=/srv/x.php --allow-unterminated

  The same load through the web server before it, over HTTP/1.1:
    fcgi-load --http tcp:127.0.0.1:8080 --uri /hello --connections 8

  php-fpm that ends its workers after pm.max_requests, each request sent again as a web server would:
    fcgi-load unix:/run/php/php-fpm.sock -p SCRIPT_FILENAME=/srv/x.php --allow-unterminated --retry-closed

What counts: every request is in exactly one row: good, refused, an error, unsent, or unfinished (in flight at an
interrupt). A latency is the time to a good reply, counted from the sending, or with --rate from the time the request
was due: request number k is due k / rate after the start, whatever became of those before. A request without a good
reply counts as slower than all that had one, and with at least what it waited; a percentile among these is marked
>=. \"too few\" stands where there are too few requests for a percentile.

With --rate and --duration a run lasts that long through any outage. It connects again, at most a tenth of a second
after the server is back, and sends at once all that is due by then. What is not sent a tenth of a second after the
end (with --requests: --timeout after the last was due) is not sent.

Exit status: 0 all replies were good; 1 errors, refusals, failed connections or no reply, less than 99 % of --rate was achieved, the
server could not be reached, or the result could not be written; 2 bad input; 130 interrupted."
)]
pub(crate) struct Args {
    /// The server: unix:PATH, unix:@NAME (an abstract name) or tcp:HOST:PORT
    address: Address,

    /// Speak HTTP/1.1 and not FastCGI: the server is a web server, and --mode is keep or close
    #[arg(long)]
    http: bool,

    /// Path and query of the request
    #[arg(long, value_name = "URI", default_value = "/")]
    uri: String,

    /// close: a connection per request; keep: one request at a time on each; multiplex: several
    #[arg(long, value_name = "close|keep|multiplex", default_value = "keep")]
    mode: Mode,

    /// Connections open at a time
    #[arg(short, long, value_name = "N", default_value_t = 1)]
    connections: usize,

    /// Requests in flight on each connection (multiplex only) [default: 8]
    #[arg(short, long, value_name = "N")]
    streams: Option<usize>,

    /// How long to send, such as 500ms, 5s or 2m [default: 5s]
    #[arg(short, long, value_name = "TIME", value_parser = duration, conflicts_with = "requests")]
    duration: Option<Duration>,

    /// How many requests to send
    #[arg(short = 'n', long, value_name = "N")]
    requests: Option<u64>,

    /// Requests per second in all (open loop), instead of as fast as replies come (closed loop)
    #[arg(short, long, value_name = "R", allow_negative_numbers = true)]
    rate: Option<f64>,

    /// With --rate: that the rate is not reached is no failure
    #[arg(long, requires = "rate")]
    pub(crate) best_effort: bool,

    /// Request method [default: GET, or POST with --body]
    #[arg(long, value_name = "METHOD")]
    method: Option<String>,

    /// File sent as the request's body
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,

    /// Sets a parameter, or adds one (FastCGI only)
    #[arg(short, long = "param", value_name = "NAME=VALUE", value_parser = pair)]
    params: Vec<(String, String)>,

    /// CGI or HTTP status of a good reply
    #[arg(long, value_name = "CODE", default_value_t = 200)]
    expect_status: u16,

    /// File whose content is the body of a good reply [default: any body is good]
    #[arg(long, value_name = "FILE")]
    expect_body: Option<PathBuf>,

    /// appStatus of a good reply (FastCGI only) [default: 0]
    #[arg(long, value_name = "N")]
    expect_app_status: Option<u32>,

    /// Accept replies without the empty record that ends FCGI_STDOUT (php-fpm sends none)
    #[arg(long)]
    allow_unterminated: bool,

    /// How long a connection and a reply may take, each
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "5s")]
    timeout: Duration,

    /// Send a request again where its kept connection had answered before and was closed before this reply began
    #[arg(long)]
    retry_closed: bool,

    /// Do not ask FCGI_GET_VALUES first; with --http nobody is asked
    #[arg(long)]
    pub(crate) no_get_values: bool,

    /// Print one line of JSON, with the whole histogram
    #[arg(long)]
    pub(crate) json: bool,
}

/// Something on the command line that cannot be done.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadInput(String);

impl Args {
    pub(crate) fn options(&self) -> Result<(Options, Until), BadInput> {
        if self.http {
            self.check_http()?;
        }
        let body = read(self.body.as_ref(), "--body")?;
        let expect = Expect {
            status: self.expect_status,
            body: read(self.expect_body.as_ref(), "--expect-body")?,
            app_status: self.expect_app_status.unwrap_or_default(),
            stdout_end: !self.allow_unterminated,
        };
        if self.streams.is_some() && self.mode != Mode::Multiplex {
            return Err(BadInput("--streams needs --mode multiplex".into()));
        }
        let method = self.method.as_deref().unwrap_or(if body.is_some() { "POST" } else { "GET" });
        let mut request = RequestSpec::with_method(method, &self.uri, body.unwrap_or_default());
        for (name, value) in &self.params {
            request = request.param(name.as_str(), value.as_str());
        }
        if self.http {
            request = request.param("HTTP_HOST", host(&self.address));
        }
        request.expect = expect;
        let options = Options {
            protocol: if self.http { Protocol::Http } else { Protocol::FastCgi },
            mode: self.mode,
            connections: self.connections,
            streams: self.streams.unwrap_or(8),
            rate: self.rate,
            timeout: self.timeout,
            retry_closed: self.retry_closed,
            ..Options::new(self.address.clone(), request)
        };
        options.validate().map_err(|error| BadInput(Self::words(&error)))?;
        let until = match (self.requests, self.duration) {
            (Some(0), _) => return Err(BadInput("--requests must be at least 1".into())),
            (Some(count), _) => Until::Requests(count),
            (None, duration) => Until::Duration(duration.unwrap_or(Duration::from_secs(5))),
        };
        Ok((options, until))
    }

    /// Refuses what has a meaning in FastCGI alone.
    fn check_http(&self) -> Result<(), BadInput> {
        for (is_given, option) in [
            (self.mode == Mode::Multiplex, "--mode multiplex"),
            (self.streams.is_some(), "--streams"),
            (!self.params.is_empty(), "--param"),
            (self.expect_app_status.is_some(), "--expect-app-status"),
            (self.allow_unterminated, "--allow-unterminated"),
        ] {
            if is_given {
                return Err(BadInput(format!(
                    "{option} has no meaning in HTTP: leave it out, or leave out --http"
                )));
            }
        }
        Ok(())
    }

    /// What is wrong, by the name of the option that said it.
    fn words(error: &OptionsError) -> String {
        match error {
            OptionsError::HttpParameter(name) if name == "REQUEST_METHOD" => {
                "--method must be a word of HTTP, and not CONNECT".into()
            }
            OptionsError::HttpParameter(name) if name == "REQUEST_URI" => {
                "--uri must not be empty, and have no spaces or control characters".into()
            }
            other => other.to_string(),
        }
    }
}

/// The host that a client names which was given this address; none is known of a unix socket.
fn host(address: &Address) -> &str {
    match address {
        // RFC 9110, 7.2: as in the URI, where the default port is left out.
        Address::Tcp(host_port) => host_port.strip_suffix(":80").unwrap_or(host_port),
        Address::Unix(_) | Address::Abstract(_) => "localhost",
    }
}

fn read(path: Option<&PathBuf>, option: &str) -> Result<Option<Vec<u8>>, BadInput> {
    path.map(|path| fs::read(path).map_err(|error| BadInput(format!("{option} {}: {error}", path.display()))))
        .transpose()
}

/// A number and its unit.
fn duration(text: &str) -> Result<Duration, String> {
    let hint = || "write a number and a unit, such as 500ms, 5s or 2m".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(hint)?;
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| hint())?;
    let seconds = match unit {
        "us" => number / 1e6,
        "ms" => number / 1e3,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(hint()),
    };
    let duration = Duration::try_from_secs_f64(seconds).map_err(|_| hint())?;
    if duration.is_zero() { Err("it must be longer than 0".into()) } else { Ok(duration) }
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
        _ => Err("write NAME=VALUE".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn durations_take_a_unit_and_nothing_else() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["5", "s", "-1s", "0s", "5 s", "5d", "1e9s", "", "9999999999999999999999h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_host_is_the_address_without_the_default_port() {
        for (address, expected) in [
            ("tcp:127.0.0.1:8080", "127.0.0.1:8080"),
            ("tcp:example.org:80", "example.org"),
            ("tcp:[::1]:80", "[::1]"),
            ("unix:/run/web.sock", "localhost"),
        ] {
            assert_eq!(host(&address.parse().unwrap()), expected);
        }
    }

    #[test]
    fn the_first_equals_sign_ends_a_parameter_name() {
        assert_eq!(pair("QUERY_STRING=a=b"), Ok(("QUERY_STRING".into(), "a=b".into())));
        assert_eq!(pair("EMPTY="), Ok(("EMPTY".into(), String::new())));
        assert!(pair("=x").is_err() && pair("x").is_err());
    }
}
