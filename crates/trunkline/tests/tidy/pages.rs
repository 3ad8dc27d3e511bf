//! Rules for the pages: README.md and its neighbours, and everything in `docs`.

use std::{collections::BTreeSet, fs, path::Path};

use crate::{Source, finds, none, root};

/// Every page of the repository.
fn pages() -> Vec<Source> {
    let mut out = Vec::new();
    collect(&root(), "", &mut out);
    collect(&root().join("docs"), "docs/", &mut out);
    assert!(out.len() > 10, "the pages are not where they were");
    out
}

fn collect(folder: &Path, prefix: &str, out: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() && !prefix.is_empty() {
            collect(&entry.path(), &format!("{prefix}{name}/"), out);
        } else if name.ends_with(".md") {
            out.push(Source::new(&format!("{prefix}{name}"), &fs::read_to_string(entry.path()).unwrap()));
        }
    }
}

/// The text outside of fenced blocks.
fn prose(text: &str) -> String {
    let mut inside = false;
    let outside = |line: &&str| {
        let fence = line.starts_with("```");
        inside ^= fence;
        !inside && !fence
    };
    text.lines().filter(outside).map(|line| format!("{line}\n")).collect()
}

/// What a heading can be linked by.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text);
    let headings =
        headings.lines().filter_map(|l| l.strip_prefix('#')).map(|l| l.trim_start_matches('#').trim());
    let anchor = |heading: &str| -> String {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

/// A path that is relative to a page, from the root.
fn resolved(page: &str, path: &str) -> String {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." | "" => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Links within the repository lead to a file that is there, and to a heading that it has.
fn broken_links(pages: &[Source], there: impl Fn(&str) -> bool) -> Vec<String> {
    let mut out = Vec::new();
    for page in pages {
        for target in prose(&page.text).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = if path.is_empty() { page.path.clone() } else { resolved(&page.path, path) };
            let to = pages.iter().find(|p| p.path == path);
            if to.is_none() && !there(&path) {
                out.push(format!("{}: links to {target}, which is not there", page.path));
            } else if !anchor.is_empty() && !to.is_some_and(|p| anchors(&p.text).contains(anchor)) {
                out.push(format!("{}: links to {target}, which has no such heading", page.path));
            }
        }
    }
    out
}

#[test]
fn links_of_pages_lead_somewhere() {
    none(broken_links(&pages(), |path| root().join(path).exists()));
    let pages = [
        (
            "README.md",
            "[a](docs/a.md) [b](docs/b.md#two-words) [c](c.md) [d](#none) [e](https://x) [f](src/)",
        ),
        (
            "docs/a.md",
            "```\n[x](gone.md)\n# Not one\n```\n[b](b.md#two-words) [c](../README.md) [d](b.md#not-one)",
        ),
        ("docs/b.md", "# Two `words`\n"),
    ];
    let found = |s: &[Source]| broken_links(s, |path| path == "src");
    finds(
        found,
        &pages,
        &["links to c.md, which is not", "links to #none, which has no", "links to b.md#not-one"],
    );
}
