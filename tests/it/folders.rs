//! No folder of a crate needs another that needs it in turn: each can be read after those below it.
//!
//! A folder and those inside it are one house and may name each other (the web's state holds the badge, whose handlers take the
//! state). What stands side by side may not.

use std::collections::{BTreeMap, BTreeSet};

use crate::architecture::{File, sources};

/// `web/badge` of `src/web/badge/cache.rs` and of `src/web/badge.rs`, if it has files inside.
type Module = Vec<String>;

/// From a folder to another that its files name, and where.
type Edges = BTreeMap<(Module, Module), String>;

/// The module that a file is, below its crate's name: `unread/web/badge/cache`.
fn module(file: &File) -> Module {
    let (name, inside) = match file.path.strip_prefix("crates/") {
        Some(path) => path.split_once("/src/").expect("a crate has a src"),
        None => ("unread", file.path.strip_prefix("src/").expect("in src")),
    };
    let inside = inside.strip_suffix(".rs").unwrap_or(inside);
    let parts = inside
        .split('/')
        .filter(|part| !matches!(*part, "mod" | "lib" | "main"));
    [name].into_iter().chain(parts).map(str::to_owned).collect()
}

/// Every path that code names from its crate's root, from above or from here, with groups taken apart.
fn paths(code: &str, of: &[String]) -> Vec<Module> {
    let mut found = Vec::new();
    for (prefix, base) in [
        ("crate::", &of[..1]),
        ("super::", &of[..of.len() - 1]),
        ("self::", of),
    ] {
        for (start, _) in code.match_indices(prefix) {
            let before = code[..start].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | ':' | '$')) {
                continue;
            }
            let mut base = base.to_vec();
            let mut rest = &code[start + prefix.len()..];
            while let Some(above) = rest.strip_prefix("super::") {
                base.pop();
                rest = above;
            }
            expand(base, rest, &mut found);
        }
    }
    found
}

/// Follows `a::b` and `a::{b, c::d}` from `base`. Returns what comes after.
fn expand<'c>(mut base: Module, code: &'c str, found: &mut Vec<Module>) -> &'c str {
    let code = code.trim_start();
    if let Some(mut group) = code.strip_prefix('{') {
        loop {
            group = group.trim_start_matches([',', ' ', '\n']);
            if let Some(after) = group.strip_prefix('}') {
                return after;
            }
            let after = expand(base.clone(), group, found);
            let renamed = after.find([',', '}']).unwrap_or(after.len());
            if after.len() == group.len() {
                return after;
            }
            group = &after[renamed..];
        }
    }
    let end = code.find(|c: char| !c.is_alphanumeric() && c != '_');
    let (word, after) = code.split_at(end.unwrap_or(code.len()));
    base.push(word.to_owned());
    if let Some(more) = after.strip_prefix("::") {
        expand(base, more, found)
    } else {
        found.push(base);
        after
    }
}

/// Which folder names which, of those that stand side by side.
fn edges(files: &[File]) -> Edges {
    let modules: BTreeSet<Module> = files.iter().map(module).collect();
    let folders: BTreeSet<&[String]> = modules.iter().map(|m| &m[..m.len() - 1]).collect();
    let folder = |module: &[String]| {
        if folders.contains(module) {
            module.to_vec()
        } else {
            module[..module.len() - 1].to_vec()
        }
    };
    let mut edges = Edges::new();
    for file in files {
        let of = module(file);
        let own = folder(&of);
        let code: Vec<&str> = file.code().map(|(_, line)| line).collect();
        for mut path in paths(&code.join("\n"), &of) {
            while !path.is_empty() && !modules.contains(&path) {
                path.pop();
            }
            if path.is_empty() {
                continue;
            }
            let other = folder(&path);
            if !own.starts_with(&other) && !other.starts_with(&own) {
                let at = format!("{} names {}", file.path, path[1..].join("::"));
                edges.entry((own.clone(), other)).or_insert(at);
            }
        }
    }
    edges
}

/// What is left when whatever leads nowhere and whatever nothing leads to is taken away again and again: circles, and what joins them.
fn circles(mut edges: Edges) -> Vec<String> {
    loop {
        let from: BTreeSet<Module> = edges.keys().map(|(from, _)| from.clone()).collect();
        let to: BTreeSet<Module> = edges.keys().map(|(_, to)| to.clone()).collect();
        let before = edges.len();
        edges.retain(|(a, b), _| to.contains(a) && from.contains(b));
        if edges.len() == before {
            let lines = edges.into_iter();
            return lines
                .map(|((from, to), at)| format!("{} → {}: {at}", from.join("/"), to.join("/")))
                .collect();
        }
    }
}

#[test]
fn no_folders_need_each_other() {
    let edges = edges(&sources());
    assert!(edges.len() > 50, "the folders were found: {}", edges.len());
    let circles = circles(edges);
    assert!(circles.is_empty(), "\n{}", circles.join("\n"));
}

#[test]
fn a_circle_is_seen() {
    let file = |path: &str, text: &str| File {
        path: path.to_owned(),
        text: text.to_owned(),
    };
    let files = [
        file("src/lib.rs", "mod web;\n"),
        // Named above: nothing, since what is inside is one house.
        file("src/web/mod.rs", "use self::page::Page;\nuse crate::db;\n"),
        file(
            "src/web/page/mod.rs",
            "use super::super::db::rows;\nuse super::State;\n",
        ),
        file(
            "src/web/page/frame.rs",
            "use super::super::guard::{self, kinds::{Kind as K, Other}};\n",
        ),
        file("src/web/guard/mod.rs", "// use crate::web::page;\n"),
        file(
            "src/web/guard/kinds.rs",
            "use crate::{\n    db,\n    web::page::frame as f,\n};\n",
        ),
        file(
            "src/db/mod.rs",
            "mod tests {\n    use crate::web::page;\n}\n",
        ),
        file("src/db/rows.rs", "let x = super::super::web_page::y;\n"),
        file("crates/queue/src/lib.rs", "use crate::web::page;\n"),
    ];
    assert_eq!(
        circles(edges(&files)),
        [
            "unread/web/guard → unread/web/page: src/web/guard/kinds.rs names web::page::frame",
            "unread/web/page → unread/web/guard: src/web/page/frame.rs names web::guard",
        ]
    );
}
