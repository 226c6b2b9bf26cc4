//! Which cases are run.

use anyhow::{Result, bail};
use fcgi_verify::{Case, Level, cases, chapters};

use super::args::{Args, LevelName};

/// The cases that all of the filters leave, in the order of the suite.
pub(crate) fn select(args: &Args) -> Result<Vec<&'static Case>> {
    for chapter in &args.chapters {
        if !chapters().any(|known| known == chapter) {
            let known: Vec<_> = chapters().collect();
            bail!("there is no chapter `{chapter}`; there are {}", known.join(", "));
        }
    }
    for name in &args.cases {
        if !cases().iter().any(|case| bears(case, name)) {
            bail!("no case is named `{name}`; --list shows them all");
        }
    }
    let levels: Vec<Level> = args.levels.iter().map(|level| level.level()).collect();
    let chosen: Vec<&Case> = cases()
        .iter()
        .filter(|case| {
            args.chapters.is_empty() || args.chapters.iter().any(|chapter| chapter == case.chapter)
        })
        .filter(|case| levels.is_empty() || levels.contains(&case.level))
        .filter(|case| args.cases.is_empty() || args.cases.iter().any(|name| bears(case, name)))
        .filter(|case| !args.quick || case.quick)
        .collect();
    if chosen.is_empty() {
        bail!("no case is left by these filters");
    }
    Ok(chosen)
}

/// A full name means that case alone; anything else is looked for inside of chapter/name.
fn bears(case: &Case, name: &str) -> bool {
    if cases().iter().any(|case| case.name == name || case.path() == name) {
        return case.name == name || case.path() == name;
    }
    case.path().contains(name)
}

impl LevelName {
    fn level(self) -> Level {
        match self {
            LevelName::Required => Level::Required,
            LevelName::Recommended => Level::Recommended,
            LevelName::ImplementationDefined => Level::ImplementationDefined,
            LevelName::Robustness => Level::Robustness,
        }
    }
}
