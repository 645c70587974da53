//! Rules as people change them: drafts, two people at once, publishing, history; and pauses.

mod api;
mod changes;
mod contradictions;
mod files;
mod newer;
pub mod pages;
mod pauses;
mod settings;
pub mod test_messages;
mod texts;
