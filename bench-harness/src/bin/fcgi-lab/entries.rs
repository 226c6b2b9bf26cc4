//! What is asked for on the command line, found and built.

use anyhow::bail;
use bench_harness::experiment::Skipped;
use bench_harness::{BuildError, Entry, Family, builds, discover, peers};
use clap::ValueEnum;

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Socket {
    Unix,
    Tcp,
}

impl From<Socket> for Family {
    fn from(socket: Socket) -> Self {
        match socket {
            Socket::Unix => Self::Unix,
            Socket::Tcp => Self::Tcp,
        }
    }
}

/// Strategies and peers of these names, or all there are; and which of them cannot take part, and why.
pub(crate) fn build(names: &[String]) -> anyhow::Result<(Vec<Entry>, Vec<Skipped>)> {
    let (strategies, peers) = (discover::sources()?, peers::sources()?);
    let known: Vec<&str> = strategies
        .iter()
        .map(discover::Source::name)
        .chain(peers.iter().map(peers::PeerSource::name))
        .collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        bail!("there is no entry {unknown}: there are {}", known.join(", "));
    }
    let is_asked = |name: &str| names.is_empty() || names.iter().any(|asked| asked == name);

    let mut entries = Vec::new();
    let mut skipped = Vec::new();
    for source in strategies.iter().filter(|source| is_asked(source.name())) {
        match builds::build(source) {
            Ok(strategy) => entries.push(Entry::Strategy(strategy)),
            Err(why @ BuildError::Unsupported { .. }) => {
                skipped.push(Skipped { name: source.name().to_owned(), reason: why.to_string() });
            }
            Err(error) => return Err(error.into()),
        }
    }
    for source in peers.iter().filter(|source| is_asked(source.name())) {
        match source.build() {
            Ok(peer) => entries.push(Entry::Peer(peer)),
            Err(why) => skipped.push(Skipped { name: source.name().to_owned(), reason: why.to_string() }),
        }
    }
    Ok((entries, skipped))
}
