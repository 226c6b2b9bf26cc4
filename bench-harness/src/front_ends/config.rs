//! The configurations in data/front-ends, filled in.

use std::fs;
use std::path::Path;

use fcgi_load::{Address, Mode};

use super::{FrontEndError, Server, Site, SiteError};
use crate::discover;

/// Where workers are, or what starts them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Workers<'a> {
    /// They are there.
    At(&'a Address),
    /// They are on three hosts: each is `HOST:PORT`.
    On(&'a [String; 3]),
    /// The web server starts them by a command line.
    By(&'a str),
}

/// The text of `site`'s configuration.
pub(super) fn text(
    site: Site,
    workers: Workers<'_>,
    params: &[(String, String)],
    folder: &Path,
    port: u16,
) -> Result<String, FrontEndError> {
    let mut config = Config::read(site.server, file(site.server, workers)?)?;
    match workers {
        Workers::At(address) => config.connect_to(address)?,
        Workers::On(hosts) => {
            for (placeholder, host) in ["__HOST_1__", "__HOST_2__", "__HOST_3__"].into_iter().zip(hosts) {
                config.replace(placeholder, host)?;
            }
        }
        Workers::By(command_line) => {
            config.replace("__WORKER__", command_line)?;
            for bound in ["min-procs", "max-procs"] {
                let of = |count: usize| format!(r#""{bound}" => {count},"#);
                config.replace(&of(2), &of(site.processes))?;
            }
        }
    }
    match (site.server, site.mode) {
        (Server::Nginx, Mode::Keep) => {
            config.replace("keepalive 8;", &format!("keepalive {};", site.connections))?;
        }
        (Server::Nginx, _) => config.leave_out(&["keepalive 8;", "fastcgi_keep_conn on;"])?,
        (Server::HaProxy, Mode::Keep) => {
            let maxconn = format!(" maxconn {}", site.connections);
            match workers {
                Workers::On(_) => config.replace(" maxconn 256", &maxconn)?,
                _ => config.replace(" proto fcgi\n", &format!(" proto fcgi{maxconn}\n"))?,
            }
            config.share_nothing(workers)?;
        }
        (Server::HaProxy, Mode::Close) => {
            config.share_nothing(workers)?;
            // Without a word of it HAProxy keeps them.
            config.replace("option keep-conn", "no option keep-conn")?;
        }
        _ => {}
    }
    config.add_params(params)?;
    // HAProxy needs no folder, but for a socket that it is told by.
    if config.text.contains("__FOLDER__") {
        config.replace("__FOLDER__", &folder.display().to_string())?;
    }
    config.replace("__PORT__", &port.to_string())?;
    Ok(config.text)
}

/// The configuration that is filled in.
pub(super) fn file(server: Server, workers: Workers<'_>) -> Result<&'static str, SiteError> {
    match (server, workers) {
        (Server::Nginx, Workers::On(_)) => Ok("nginx-hosts.conf"),
        (Server::HaProxy, Workers::On(_)) => Ok("haproxy-hosts.cfg"),
        (_, Workers::On(_)) => Err(SiteError::NoHosts(server)),
        (Server::LighttpdSpawning, _) => Ok("lighttpd-spawning.conf"),
        (Server::Lighttpd, _) => Ok("lighttpd.conf"),
        (Server::Nginx, _) => Ok("nginx.conf"),
        (Server::HaProxy, _) => Ok("haproxy.cfg"),
    }
}

/// A configuration that is being filled in. That a change finds nothing to change is an error: the file was edited.
struct Config {
    server: Server,
    file: &'static str,
    text: String,
}

impl Config {
    fn read(server: Server, file: &'static str) -> Result<Self, FrontEndError> {
        let path = discover::data_folder().join("front-ends").join(file);
        let text = fs::read_to_string(&path).map_err(|error| FrontEndError::start(server, error))?;
        Ok(Self { server, file, text })
    }

    fn connect_to(&mut self, address: &Address) -> Result<(), FrontEndError> {
        match address {
            Address::Unix(path) => self.replace("__SOCKET__", &path.display().to_string()),
            Address::Tcp(host_and_port) => match self.server {
                Server::LighttpdSpawning | Server::Lighttpd => {
                    let (host, port) = host_and_port.rsplit_once(':').unwrap_or_default();
                    let tcp = format!(r#""host" => "{host}", "port" => {port}"#);
                    self.replace(r#""socket" => "__SOCKET__""#, &tcp)
                }
                Server::Nginx => self.replace("unix:__SOCKET__;", &format!("{host_and_port};")),
                Server::HaProxy => self.replace("unix@__SOCKET__", host_and_port),
            },
            Address::Abstract(name) => {
                let words = format!("its configuration has no place for the abstract name @{name}");
                Err(FrontEndError::start(self.server, std::io::Error::other(words)))
            }
        }
    }

    /// HAProxy sends one request at a time on a connection. All have the same ones: what shares none need not be apart.
    fn share_nothing(&mut self, workers: Workers<'_>) -> Result<(), FrontEndError> {
        match workers {
            Workers::On(_) => Ok(()),
            Workers::At(_) | Workers::By(_) => self.leave_out(&[
                "option mpxs-conns",
                "option max-reqs 10",
                "use_backend alone if !safe or body or long",
            ]),
        }
    }

    fn replace(&mut self, from: &str, to: &str) -> Result<(), FrontEndError> {
        if !self.text.contains(from) {
            return Err(self.lacks(from));
        }
        self.text = self.text.replace(from, to);
        Ok(())
    }

    fn add_params(&mut self, params: &[(String, String)]) -> Result<(), FrontEndError> {
        if params.is_empty() {
            return Ok(());
        }
        let each = |line: fn(&str, &str) -> String| -> String {
            params.iter().map(|(name, value)| line(name, value)).collect()
        };
        match self.server {
            Server::LighttpdSpawning | Server::Lighttpd => {
                self.replace(r#"("mod_fastcgi")"#, r#"("mod_setenv", "mod_fastcgi")"#)?;
                let pairs = each(|name, value| format!("\"{name}\" => \"{value}\",\n"));
                self.text += &format!("\nsetenv.set-environment = (\n{pairs})\n");
                Ok(())
            }
            Server::Nginx => {
                let after = "include /etc/nginx/fastcgi_params;\n";
                let lines = each(|name, value| format!("fastcgi_param {name} \"{value}\";\n"));
                self.replace(after, &format!("{after}{lines}"))
            }
            Server::HaProxy => {
                let after = "    docroot /srv\n";
                let lines = each(|name, value| format!("    set-param {name} \"{value}\"\n"));
                self.replace(after, &format!("{after}{lines}"))
            }
        }
    }

    fn leave_out(&mut self, lines: &[&str]) -> Result<(), FrontEndError> {
        for line in lines {
            let is_other = |candidate: &&str| candidate.trim() != *line;
            let left = self.text.lines().filter(is_other).map(|line| format!("{line}\n")).collect::<String>();
            if left == self.text {
                return Err(self.lacks(line));
            }
            self.text = left;
        }
        Ok(())
    }

    fn lacks(&self, text: &str) -> FrontEndError {
        FrontEndError::Config { file: self.file, text: text.trim().to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Family;

    fn lines(server: Server, family: Family, mode: Mode) -> Vec<String> {
        let site = Site { server, family, mode, connections: 24, processes: 3 };
        let address = match family {
            Family::Unix => Address::Unix("/run/app.sock".into()),
            Family::Tcp => Address::Tcp("127.0.0.1:9000".to_owned()),
        };
        let workers = match server {
            Server::LighttpdSpawning => Workers::By("/usr/local/bin/worker"),
            _ => Workers::At(&address),
        };
        let text = text(site, workers, &[], Path::new("/tmp/folder"), 8080).unwrap();
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
        let lines: Vec<String> = lines.map(str::to_owned).collect();
        assert!(!lines.iter().any(|line| line.contains("__")), "{text}");
        lines
    }

    fn has(lines: &[String], wanted: &str) -> bool {
        lines.iter().any(|line| line.contains(wanted))
    }

    #[test]
    fn every_web_server_is_told_where_the_workers_are() {
        let spawning = lines(Server::LighttpdSpawning, Family::Unix, Mode::Close);
        assert!(has(&spawning, "/usr/local/bin/worker") && has(&spawning, "\"max-procs\" => 3,"));
        assert!(has(&spawning, "\"min-procs\" => 3,"));
        for (server, unix, tcp) in [
            (Server::Lighttpd, "\"/run/app.sock\"", "\"host\" => \"127.0.0.1\", \"port\" => 9000"),
            (Server::Nginx, "server unix:/run/app.sock;", "server 127.0.0.1:9000;"),
            (Server::HaProxy, "unix@/run/app.sock", "server pool 127.0.0.1:9000 "),
        ] {
            for mode in server.modes() {
                assert!(has(&lines(server, Family::Unix, *mode), unix), "{server}");
                assert!(has(&lines(server, Family::Tcp, *mode), tcp), "{server}");
            }
        }
    }

    #[test]
    fn a_mode_is_what_the_configuration_says_and_leaves_out() {
        for (server, mode, is_there, is_not) in [
            (Server::Nginx, Mode::Keep, &["keepalive 24;", "fastcgi_keep_conn on;"][..], &[][..]),
            (Server::Nginx, Mode::Close, &[], &["keepalive", "keep_conn"]),
            (
                Server::HaProxy,
                Mode::Keep,
                &["keep-conn", "maxconn 24"],
                &["mpxs-conns", "get-values", "max-reqs", "use_backend", "no option"],
            ),
            (
                Server::HaProxy,
                Mode::Close,
                &["no option keep-conn"],
                &["mpxs-conns", "get-values", "max-reqs", "use_backend", "maxconn"],
            ),
            (
                Server::HaProxy,
                Mode::Multiplex,
                &["keep-conn", "mpxs-conns", "max-reqs 10", "use_backend"],
                &["maxconn", "get-values", "no option"],
            ),
        ] {
            let lines = lines(server, Family::Unix, mode);
            for wanted in is_there {
                assert!(has(&lines, wanted), "{server}, {mode}: no {wanted} in {lines:#?}");
            }
            for unwanted in is_not {
                assert!(!has(&lines, unwanted), "{server}, {mode}: {unwanted} in {lines:#?}");
            }
        }
    }

    #[test]
    fn three_hosts_are_named_to_those_that_spread_requests() {
        let hosts = [1, 2, 3].map(|host| format!("198.18.0.{host}:9000"));
        for (server, mode, limit) in [
            (Server::Nginx, Mode::Keep, "keepalive 24;"),
            (Server::HaProxy, Mode::Keep, " maxconn 24\n"),
            (Server::HaProxy, Mode::Close, "no option keep-conn"),
        ] {
            let site = Site { server, family: Family::Tcp, mode, connections: 24, processes: 1 };
            let text = text(site, Workers::On(&hosts), &[], Path::new("/tmp/folder"), 8080).unwrap();
            assert!(hosts.iter().all(|host| text.contains(host)) && text.contains(limit), "{text}");
            assert!(!text.contains("__"), "{text}");
        }
        let message = file(Server::Lighttpd, Workers::On(&hosts)).unwrap_err().to_string();
        assert!(message.contains("lighttpd"), "{message}");
    }

    #[test]
    fn what_else_a_request_needs_is_told_every_web_server() {
        let params = [("NAME".to_owned(), "/a b".to_owned()), ("OTHER".to_owned(), "1".to_owned())];
        let address = Address::Unix("/run/app.sock".into());
        for (server, line) in [
            (Server::Lighttpd, r#""NAME" => "/a b","#),
            (Server::Nginx, r#"fastcgi_param NAME "/a b";"#),
            (Server::HaProxy, r#"set-param NAME "/a b""#),
        ] {
            let (family, mode) = (Family::Unix, Mode::Close);
            let site = Site { server, family, mode, connections: 1, processes: 1 };
            let text = text(site, Workers::At(&address), &params, Path::new("/tmp/folder"), 8080).unwrap();
            assert!(text.contains(line) && text.contains("OTHER"), "{text}");
        }
    }

    #[test]
    fn a_line_that_is_not_there_cannot_be_left_out() {
        let mut config =
            Config { server: Server::Nginx, file: "nginx.conf", text: "    one\n    two\n".to_owned() };
        config.leave_out(&["one"]).unwrap();
        assert_eq!(config.text, "    two\n");
        let message = config.leave_out(&["one"]).unwrap_err().to_string();
        assert!(message.contains("nginx.conf") && message.contains("\"one\""), "{message}");
        assert!(config.replace("three", "3").is_err());
    }
}
