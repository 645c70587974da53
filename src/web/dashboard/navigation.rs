//! The menu: which pages there are, who sees them, and which of them are tabs of one another.

use serde::Serialize;

use crate::domain::access::Permission;
use crate::web::access::Caller;

/// Where a page is, what it is called, and what it needs.
type Place = (&'static str, &'static str, Permission);

/// An entry of the menu.
struct NavEntry {
    place: Place,
    /// The pages that are tabs of it, itself among them; none: it is one page.
    tabs: &'static [Place],
}

const fn alone(href: &'static str, label: &'static str) -> NavEntry {
    NavEntry {
        place: (href, label, Permission::View),
        tabs: &[],
    }
}

const fn with_tabs(href: &'static str, label: &'static str, tabs: &'static [Place]) -> NavEntry {
    NavEntry {
        place: (href, label, Permission::View),
        tabs,
    }
}

/// Shown until everything is live.
const SETTING_UP: NavEntry = with_tabs(
    "/setup",
    "Set-up",
    &[
        ("/setup", "Steps", Permission::View),
        ("/live", "Go live", Permission::View),
    ],
);

/// What the messaging is worked with.
const MESSAGING: &[NavEntry] = &[
    alone("/", "Overview"),
    alone("/rules", "Rules"),
    alone("/reminders", "Reminders"),
    with_tabs(
        "/customers",
        "Customers",
        &[
            ("/customers", "Find a customer", Permission::View),
            ("/opt-outs", "Opt-outs", Permission::View),
        ],
    ),
    alone("/results", "Results"),
    alone("/website", "Website"),
    with_tabs(
        "/connections",
        "Connections",
        &[
            ("/connections", "Senders and LivePerson", Permission::View),
            ("/live", "Live channels", Permission::View),
        ],
    ),
];

/// What the installation is looked after with.
const ADMINISTRATION: &[NavEntry] = &[
    NavEntry {
        place: ("/team", "Team", Permission::Administer),
        tabs: &[],
    },
    with_tabs(
        "/api",
        "API",
        &[
            ("/api", "Reference", Permission::View),
            ("/tokens", "Tokens", Permission::Administer),
        ],
    ),
    alone("/activity", "Activity"),
    alone("/settings", "Settings"),
];

/// A link of the menu, or a tab.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct NavLink {
    pub href: &'static str,
    pub label: &'static str,
    current: bool,
}

impl NavEntry {
    fn holds(&self, path: &str) -> bool {
        is_at(self.place.0, path) || self.tabs.iter().any(|(href, ..)| is_at(href, path))
    }
}

/// Whether a path is this page's, or that of a page below it.
fn is_at(href: &str, path: &str) -> bool {
    let below = path.strip_prefix(href);
    below.is_some_and(|rest| rest.is_empty() || (href != "/" && rest.starts_with('/')))
}

fn entries(set_up: bool) -> [Vec<&'static NavEntry>; 2] {
    let first = (!set_up).then_some(&SETTING_UP);
    [
        first.into_iter().chain(MESSAGING).collect(),
        ADMINISTRATION.iter().collect(),
    ]
}

/// The menu for somebody who is at `path`: what is worked with, and below it what is looked after.
pub fn shown(caller: &Caller, path: &str, set_up: bool) -> [Vec<NavLink>; 2] {
    entries(set_up).map(|group| {
        // A page that two entries have as a tab belongs to the first of them.
        let current = group.iter().position(|entry| entry.holds(path));
        let group = group.into_iter().enumerate();
        let allowed = group.filter(|(_, entry)| caller.may(entry.place.2));
        let link = |(at, entry): (usize, &NavEntry)| NavLink {
            href: entry.place.0,
            label: entry.place.1,
            current: current == Some(at),
        };
        allowed.map(link).collect()
    })
}

/// The tabs of the page at `path`; none if it is one by itself.
pub fn tabs(caller: &Caller, path: &str, set_up: bool) -> Vec<NavLink> {
    let entries = entries(set_up).into_iter().flatten();
    let mut with_tabs = entries.filter(|entry| !entry.tabs.is_empty() && entry.holds(path));
    let tabs = with_tabs.next().map_or(&[][..], |entry| entry.tabs);
    let allowed = tabs.iter().filter(|(.., needs)| caller.may(*needs));
    let link = |(href, label, _): &Place| NavLink {
        href,
        label,
        current: is_at(href, path),
    };
    let links: Vec<NavLink> = allowed.map(link).collect();
    if links.len() > 1 { links } else { Vec::new() }
}

/// The pages of the menu and their tabs, for who looks for one by its name: a page has each name that it is shown by.
pub fn pages(caller: &Caller) -> Vec<NavLink> {
    let entries = [&SETTING_UP]
        .into_iter()
        .chain(MESSAGING)
        .chain(ADMINISTRATION);
    let places = entries.flat_map(|entry| std::iter::once(&entry.place).chain(entry.tabs));
    let allowed = places.filter(|(.., needs)| caller.may(*needs));
    let link = |(href, label, _): &Place| NavLink {
        href,
        label,
        current: false,
    };
    allowed.map(link).collect()
}

/// The page of the menu that `path` is, or is below of.
pub fn above(path: &str) -> &'static str {
    let entries = MESSAGING.iter().chain(ADMINISTRATION).chain([&SETTING_UP]);
    let places =
        entries.flat_map(|entry| [entry.place].into_iter().chain(entry.tabs.iter().copied()));
    let mut above = places.filter(|(href, ..)| *href != "/" && path.starts_with(href));
    above.next().map_or("/", |(href, ..)| href)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_below_itself_and_not_below_one_whose_name_begins_alike() {
        for (href, path, is) in [
            ("/", "/", true),
            ("/", "/rules", false),
            ("/rules", "/rules", true),
            ("/rules", "/rules/1/2", true),
            ("/api", "/apiary", false),
        ] {
            assert_eq!(is_at(href, path), is, "{href} {path}");
        }
    }

    #[test]
    fn a_form_leads_back_to_the_page_of_the_menu_that_it_is_below() {
        for (path, page) in [
            ("/opt-outs/add", "/opt-outs"),
            ("/customers/erase", "/customers"),
            ("/tokens", "/tokens"),
            ("/live/end", "/live"),
            ("/pauses", "/"),
        ] {
            assert_eq!(above(path), page);
        }
    }
}
