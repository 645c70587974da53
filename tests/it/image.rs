//! What the container image is built from, and what it leaves out.

use std::fs;

use crate::manifests::{read, root};

#[test]
fn the_image_is_built_from_what_the_builder_is_given() {
    let (dockerfile, given) = (read("docker/Dockerfile"), read(".dockerignore"));
    let copied = dockerfile
        .lines()
        .filter_map(|line| line.strip_prefix("COPY "));
    let mut seen = 0;
    for words in copied.filter(|words| !words.starts_with("--from=")) {
        let words: Vec<&str> = words.split(' ').collect();
        for source in &words[..words.len() - 1] {
            seen += 1;
            assert!(root().join(source).exists(), "there is no {source}");
            let top = source.split('/').next().unwrap();
            assert!(given.contains(&format!("!{top}\n")), "{source} is kept out");
        }
    }
    assert!(seen >= 8, "only {seen} sources were found");
    // The layer of dependencies has every crate's manifest, and no file of a target that the root's manifest does not name.
    for member in fs::read_dir(root().join("crates")).unwrap() {
        let name = member.unwrap().file_name().into_string().unwrap();
        let copied = format!("COPY crates/{name}/Cargo.toml crates/{name}/\n");
        assert!(dockerfile.contains(&copied), "{name}");
        assert!(
            dockerfile.contains(&format!("crates/{name}/src/lib.rs")),
            "{name}"
        );
    }
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    for kind in ["bench", "test", "example", "bin"] {
        let targets = manifest.get(kind).and_then(toml::Value::as_array);
        for target in targets.into_iter().flatten() {
            let name = &target["name"];
            assert!(
                target.get("path").is_some(),
                "[[{kind}]] {name} has no path"
            );
        }
    }
    // What is written in more than one place.
    let toolchain: toml::Table = read("rust-toolchain.toml").parse().unwrap();
    let compiler = toolchain["toolchain"]["channel"].as_str().unwrap();
    assert!(dockerfile.contains(&format!("/rust:{compiler}-slim-")));
    let version = env!("CARGO_PKG_VERSION");
    assert!(dockerfile.contains(&format!("ARG VERSION={version}\n")));
    for path in ["base", "overlays/production"] {
        let text = read(&format!("docker/kubernetes/{path}/kustomization.yaml"));
        assert!(text.contains(&format!("newTag: \"{version}\"")), "{path}");
    }
}

#[test]
fn the_image_has_the_sandbox_in_it_only_where_it_is_asked_for() {
    let dockerfile = read("docker/Dockerfile");
    let builds = dockerfile
        .lines()
        .filter(|line| line.contains("cargo build "));
    let builds: Vec<&str> = builds.collect();
    assert_eq!(builds.len(), 2, "the dependencies, and then the program");
    for build in builds {
        // Of the root's crate alone: the sandbox is a member of the workspace, too.
        assert!(
            build.contains(" --package unread --no-default-features "),
            "{build}"
        );
    }
    let compose = read("docker/compose.yaml");
    let (_, sandbox) = compose.split_once("\n  sandbox:\n").unwrap();
    let sandbox = sandbox.split("\n\n").next().unwrap();
    assert!(sandbox.contains("args: {FEATURES: demo}"), "{sandbox}");
}
