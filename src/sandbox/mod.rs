//! The sandbox plays LivePerson, Twilio and a mail server over real sockets, with scripted people in it.

pub mod clock;
pub mod faults;
pub mod liveperson;
pub mod people;
pub mod world;
