//! A look at pages, one after the other, each in every dress: what is wrong with them for whom.

use std::path::PathBuf;

use serde_json::Value;

use crate::chromium::{Browser, DRESSES, Dress, NARROWEST};

/// What we can say of a page ourselves.
const AUDIT: &str = include_str!("audit.js");

/// Asks axe, whose source has been run in the page. The mail in its frame is a page of its own.
const AXE: &str = r"
return axe.run(document, { iframes: false, resultTypes: ['violations'] }).then((found) => found.violations.map((violation) =>
  `${violation.id} (${violation.help}): ${violation.nodes.map((node) => node.html.slice(0, 160)).join(' | ')}`));
";

pub struct Gallery<'a> {
    pub browser: &'a Browser,
    /// The source of axe-core, if `UNREAD_AXE` says where it is.
    axe: Option<String>,
    /// Where pictures go, if `UNREAD_PICTURES` names a folder.
    folder: Option<PathBuf>,
    faults: Vec<String>,
    looked: usize,
}

impl<'a> Gallery<'a> {
    pub fn new(browser: &'a Browser) -> Self {
        let axe = std::env::var_os("UNREAD_AXE").filter(|path| !path.is_empty());
        if axe.is_none() {
            eprintln!(
                "SKIPPED: axe (UNREAD_AXE is not the path of axe.min.js); our own audit runs"
            );
        }
        Self {
            browser,
            axe: axe.map(|path| std::fs::read_to_string(path).unwrap()),
            folder: std::env::var_os("UNREAD_PICTURES").map(PathBuf::from),
            faults: Vec::new(),
            looked: 0,
        }
    }

    /// Opens a page and looks at it.
    pub async fn visit(&mut self, name: &str, url: &str) {
        self.browser.open(url).await;
        self.capture(name).await;
    }

    /// Looks at the page that is open, with all that can be unfolded.
    pub async fn capture(&mut self, name: &str) {
        let browser = self.browser;
        self.looked += 1;
        if let Some(folder) = &self.folder {
            std::fs::create_dir_all(folder).unwrap();
            for dress in DRESSES {
                browser.put_on(dress).await;
                let file = folder.join(format!("{name}-{}.png", dress.name));
                std::fs::write(file, browser.picture().await).unwrap();
            }
        }
        browser
            .run("document.querySelectorAll('main details').forEach((part) => { part.open = true; })")
            .await;
        for dress in DRESSES.into_iter().chain([NARROWEST]) {
            browser.put_on(dress).await;
            let mut found = vec![browser.run(AUDIT).await];
            if let Some(axe) = &self.axe {
                browser.run(axe).await;
                found.push(browser.run(AXE).await);
            }
            for faults in found {
                self.note(name, dress, &faults);
            }
        }
        browser.put_on(DRESSES[0]).await;
    }

    fn note(&mut self, name: &str, dress: Dress, faults: &Value) {
        for fault in faults.as_array().unwrap() {
            let fault = fault.as_str().unwrap();
            self.faults.push(format!("{name}, {}: {fault}", dress.name));
        }
    }

    /// Fails with everything that was found.
    pub fn close(self) {
        println!("{} pages, each in {} dresses", self.looked, DRESSES.len());
        assert!(
            self.faults.is_empty(),
            "{} faults:\n{}",
            self.faults.len(),
            self.faults.join("\n")
        );
    }
}
