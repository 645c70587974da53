//! The dashboard in a browser, as a person uses it.

mod carried;
mod colours;
mod gallery;
mod keyboard;
mod pages;
mod story;
mod truth;
mod weight;
mod words;
