//! A guest book: reads a form, keeps state, answers errors.
//!
//!     cargo run --release --example guest_book -- --listen unix:/run/guest-book.sock --title 'Our guests'
//!
//! - `GET /` answers a page with a form and how many have signed.
//! - `POST /` signs with the form's `name`; without one the answer is 400.
//! - `GET /broken` is an error: 500 for the visitor, and a line in the web server's log.
//!
//! What it counts is one process's: with `--processes 2` there are two guest books, with strategy-fork one for each connection.
//! What is to last, or to be common to all, belongs into a database.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Mutex;

use fcgi_worker::{AppStatus, Error, Handler, Program, Request, Response, Step, clap};
use form_urlencoded::parse;

/// The options of its own.
#[derive(clap::Args)]
struct Options {
    /// What stands on top of the page
    #[arg(long, default_value = "Guest book")]
    title: String,
}

struct GuestBook {
    title: String,
    /// Steps run on several threads at a time where the strategy has threads.
    guests: Mutex<Vec<String>>,
}

/// Guests that are remembered. A peer must not fill the memory.
const MOST_GUESTS: usize = 1_000;

impl Handler for GuestBook {
    type Job = ();

    fn start(&self, _: Request<'_>) {}

    fn step(&self, request: Request<'_>, _: &mut (), response: &mut Response<'_>) -> Result<Step, Error> {
        let params = request.params();
        let value = |name: &[u8]| params.value(name).unwrap_or_default();
        // Front ends cut the path in different places.
        match (value(b"REQUEST_METHOD"), &*[value(b"SCRIPT_NAME"), value(b"PATH_INFO")].concat()) {
            (b"GET", b"/") => self.page(response)?,
            (b"POST", b"/") => self.sign(request.body(), response)?,
            (b"GET", b"/broken") => self.broken()?,
            (b"GET" | b"POST", _) => write!(response, "Status: 404 Not Found\r\n\r\n")?,
            _ => write!(response, "Status: 405 Method Not Allowed\r\nAllow: GET, POST\r\n\r\n")?,
        }
        Ok(Step::Done(AppStatus::SUCCESS))
    }
}

impl GuestBook {
    fn page(&self, response: &mut Response<'_>) -> Result<(), Error> {
        let guests = self.guests.lock().map_err(|_| "the guest book is torn")?;
        write!(
            response,
            "Content-Type: text/html; charset=utf-8\r\n\r\n<title>{0}</title><h1>{0}</h1>",
            escaped(&self.title)
        )?;
        write!(response, "<form method=post><input name=name><button>Sign</button></form>")?;
        write!(response, "<p>{} have signed", guests.len())?;
        if let Some(last) = guests.last() {
            write!(response, ", the last of them {}", escaped(last))?;
        }
        Ok(writeln!(response, ".")?)
    }

    fn sign(&self, form: &[u8], response: &mut Response<'_>) -> Result<(), Error> {
        let name = parse(form).find(|(field, _)| field == "name").map(|(_, name)| name.trim().to_owned());
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            return Ok(write!(
                response,
                "Status: 400 Bad Request\r\nContent-Type: text/plain\r\n\r\na name is missing\n"
            )?);
        };
        let mut guests = self.guests.lock().map_err(|_| "the guest book is torn")?;
        if guests.len() == MOST_GUESTS {
            response.log("the guest book is full");
            return Ok(write!(
                response,
                "Status: 503 Service Unavailable\r\nContent-Type: text/plain\r\n\r\nit is full\n"
            )?);
        }
        guests.push(name);
        // Back to the page: to reload it then signs nobody again.
        Ok(write!(response, "Status: 303 See Other\r\nLocation: /\r\n\r\n")?)
    }

    /// Whatever `?` finds becomes a 500 and a line in the log.
    fn broken(&self) -> Result<(), Error> {
        let number: u32 = self.title.parse().map_err(|error| format!("the title is no number: {error}"))?;
        Err(format!("{number} is no page").into())
    }
}

/// Text in HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

fn main() -> ExitCode {
    let make = |options: &Options| Ok(GuestBook { title: options.title.clone(), guests: Mutex::default() });
    Program::new("guest-book")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A guest book behind any web server that speaks FastCGI.")
        .run(strategy_mio::CAPACITY, make, strategy_mio::serve)
}
