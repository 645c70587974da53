//! The sandbox plays LivePerson, Twilio and a mail server over real sockets, with scripted people in it.

pub mod clock;
pub mod door;
pub mod mailbox;
pub mod outbox;
pub mod script;
pub mod smtp;
pub mod twilio;
