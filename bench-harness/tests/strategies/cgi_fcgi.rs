//! Somebody else's FastCGI client: `cgi-fcgi`, which runs as a CGI program and passes the request on.

use std::io::Write;
use std::process::{Command, Stdio};

use bench_harness::{Family, Pool, Strategy};
use fcgi_load::Address;
use libtest_mimic::Failed;

use crate::support::Outcome;
use crate::trial::Test;

pub(crate) const TESTS: &[Test] = &[
    Test::new("cgi_fcgi_gets_an_answer", get).program("cgi-fcgi"),
    Test::new("cgi_fcgi_posts_a_body", post).program("cgi-fcgi"),
];

fn get(strategy: &Strategy, family: Family) -> Outcome {
    let pool = Pool::launch(strategy, family, &["--processes", "2"])?;
    let answer = cgi_fcgi(&pool, &[("REQUEST_METHOD", "GET"), ("SCRIPT_NAME", "/hello")], b"")?;
    let expected = "Content-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world\n";
    ensure!(answer == expected, "{answer:?}");
    Ok(())
}

fn post(strategy: &Strategy, family: Family) -> Outcome {
    let pool = Pool::launch(strategy, family, &["--processes", "2"])?;
    let variables = [
        ("REQUEST_METHOD", "POST"),
        ("SCRIPT_NAME", "/echo"),
        ("CONTENT_TYPE", "text/x-note"),
        ("CONTENT_LENGTH", "12"),
    ];
    let answer = cgi_fcgi(&pool, &variables, b"twelve bytes")?;
    let expected = "Content-Type: text/x-note\r\nContent-Length: 12\r\n\r\ntwelve bytes";
    ensure!(answer == expected, "{answer:?}");
    Ok(())
}

/// What it prints, as a CGI program with these variables and this body.
fn cgi_fcgi(pool: &Pool, variables: &[(&str, &str)], body: &[u8]) -> Result<String, Failed> {
    let address = match pool.address() {
        Address::Unix(path) => path.display().to_string(),
        // It knows no host: a port alone is one of this machine.
        Address::Tcp(host_and_port) => host_and_port.clone(),
        Address::Abstract(_) => return Err("cgi-fcgi knows no abstract names".into()),
    };
    let mut child = Command::new("timeout")
        .args(["20", "cgi-fcgi", "-bind", "-connect", &address])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    // Taken, so that it is closed when written.
    child.stdin.take().ok_or("no stdin")?.write_all(body)?;
    let output = child.wait_with_output()?;
    ensure!(
        output.status.success(),
        "cgi-fcgi ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}
