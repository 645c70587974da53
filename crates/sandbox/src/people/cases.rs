//! The cases: one person each, from plain to hostile, with what should become of them.
//!
//! The letters are those of the sample records in `tests/fixtures/liveperson`; the rest is what happens around the due moment, and who must never be
//! written to. In `samples`: those of the records. In `one_voice`: who has both an e-mail address and a number.

mod one_voice;
mod samples;

use chrono::{DateTime, Utc};

use super::script::Cast;
use super::zones::zone_where_it_is;
use super::{PersonAction, Scene};
use crate::world::{Action, CUSTOMER_CARE, Closer, ORDERS, Partial, Person};

/// All cases for a play that begins at `start`.
pub fn cases(start: DateTime<Utc>) -> Vec<Scene> {
    let cast = Cast {
        day: zone_where_it_is(12, start),
        night: zone_where_it_is(2, start),
    };
    let mut scenes = samples::scenes(&cast);
    scenes.extend(around_the_due_moment(&cast));
    scenes.extend(unreachable(&cast));
    scenes.extend(nothing_owed(&cast));
    scenes.extend(hostile(&cast));
    scenes.extend(one_voice::scenes(&cast));
    scenes
}

/// What happens between the scheduling and the sending, and after.
fn around_the_due_moment(cast: &Cast) -> Vec<Scene> {
    vec![
        cast.mail("reads_at_the_last_minute", -20.0, "Olga", "Sand")
            .agent(-8.0, "Your refund is on its way.")
            .reads(1.5)
            .cancelled("read", 3.0),
        cast.mail("answers_before_due", -20.0, "Pia", "Vogel")
            .agent(-8.0, "Which colour?")
            .asks(1.0, "Green, please")
            .cancelled("answered", 3.0),
        cast.mail("closes_before_due", -20.0, "Quinn", "Hart")
            .agent(-8.0, "Anything else?")
            .does(
                1.0,
                Action::Close {
                    by: Closer::Consumer,
                },
            )
            .cancelled("closed", 3.0),
        (0..8)
            .fold(
                cast.mail("agent_keeps_typing", -20.0, "Rosa", "Lind"),
                // One message every 90 seconds until minute 3: no reminder before minute 5.
                |scene, n| scene.agent(-7.5 + 1.5 * f64::from(n), "And another thing:"),
            )
            .sent(6.5),
        cast.mail("two_steps", -20.0, "Sven", "Dahl")
            .agent(-9.2, "Could you send me the serial number?")
            .sent(2.0)
            .outcome("sent", None, 3, 123.0),
        cast.mail("comes_back_after_the_first", -20.0, "Tara", "Moon")
            .agent(-9.5, "We found your parcel.")
            .sent(1.5)
            .reads(5.0)
            .outcome("cancelled", Some("read"), 3, 125.0),
        cast.mail("queued_after_an_agent", -20.0, "Uli", "Kern")
            .agent(-12.0, "I will ask a colleague.")
            .does(-11.0, Action::Queue)
            .none("in_queue"),
        cast.phone(
            "transferred_unread",
            -30.0,
            "Vera",
            "Nord",
            "+1 202-555-0151",
        )
        .agent(-9.1, "A colleague in Orders takes over.")
        .does(-9.0, Action::Transfer { skill: ORDERS })
        .does(-8.0, Action::Unqueue)
        .sent(2.5),
        cast.mail("partial_in_the_search_only", -30.0, "Wim", "Brandt")
            .agent(-9.0, "Here is the whole story.")
            .does(
                -8.9,
                Action::Partial {
                    partial: Partial::InSearch,
                },
            )
            .sent(3.0),
    ]
}

/// Those who cannot, or must not, be written to (now).
fn unreachable(cast: &Cast) -> Vec<Scene> {
    let night = Person {
        time_zone: Some(cast.night.into()),
        phone: Some("+1 202-555-0152".into()),
        ..cast.person("Xenia", "Falk")
    };
    let deleted = Person {
        email: Some("** LP deleted data **".into()),
        ..Person::default()
    };
    let unverified = Person {
        unverified_email: Some("typed@example.com".into()),
        ..Person::default()
    };
    let mut stops = cast.phone(
        "opts_out_before_due",
        -20.0,
        "Zoe",
        "Frost",
        "+1 202-555-0153",
    );
    stops.script.push((0.5, PersonAction::Texts("STOP".into())));
    let mut mail_only = cast.mail("no_phone_for_a_text", -20.0, "Abel", "Strand");
    mail_only.skill = ORDERS;
    vec![
        cast.phone(
            "text_message_only",
            -20.0,
            "Bella",
            "Storm",
            "+1 202-555-0154",
        )
        .agent(-9.45, "Your order is ready for collection.")
        .sent(2.0),
        mail_only
            .agent(-9.0, "Your order is ready.")
            .none("no_address"),
        Scene::new("quiet_hours_at_the_recipients", ORDERS, -20.0, night)
            .agent(-9.0, "Your order is ready for collection.")
            // At nine, or on a Sunday at noon, ten hours on: it waits and does not age.
            .sent(605.0),
        stops
            .agent(-8.0, "Your order is late.")
            .cancelled("opted_out", 3.5),
        Scene::new("personal_data_deleted", CUSTOMER_CARE, -20.0, deleted)
            .agent(-9.0, "Any news?")
            .none("no_address"),
        Scene::new("unverified_address_only", CUSTOMER_CARE, -20.0, unverified)
            .agent(-9.0, "Any news?")
            .none("no_address"),
    ]
}

/// Conversations in which nobody is owed a reminder in the first place.
fn nothing_owed(cast: &Cast) -> Vec<Scene> {
    let mut elsewhere = cast.mail("opened_on_another_channel", -20.0, "Yves", "Roux");
    elsewhere.source = "WhatsApp Business";
    vec![
        elsewhere
            .agent(-9.0, "Hello there.")
            .outcome("none", None, 1, 3.0),
        cast.mail("note_and_nothing_else", -20.0, "Cleo", "Winter")
            .does(
                -9.0,
                Action::PrivateNote {
                    text: "Who takes this one?".into(),
                },
            )
            .none("no_agent_message"),
    ]
}

/// Data that somebody made up to hurt, or that is broken.
fn hostile(cast: &Cast) -> Vec<Scene> {
    let name = "Eve\r\nBcc: victim@example.com\u{202E}<script>alert(1)</script>{{link}}";
    let eve = Person {
        first_name: Some(name.into()),
        email: Some("eve@example.com".into()),
        ..cast.person("eve", "Hostile")
    };
    let address = "victim@example.com\r\nBcc: other@example.com";
    let mallory = Person {
        email: Some(address.into()),
        ..cast.person("Mallory", "Line")
    };
    let big = Person {
        remark: Some("x".repeat(50_000)),
        email: Some("big@example.com".into()),
        ..cast.person("Big", "Data")
    };
    vec![
        Scene::new("hostile_name", CUSTOMER_CARE, -20.0, eve)
            .agent(-9.0, "How can I help?")
            .sent(2.5),
        Scene::new("hostile_address", CUSTOMER_CARE, -20.0, mallory)
            .agent(-9.0, "How can I help?")
            .none("no_address"),
        Scene::new("huge_attribute", CUSTOMER_CARE, -20.0, big)
            .agent(-9.0, "How can I help?")
            .sent(2.5),
        cast.mail("unparsable_record", -21.0, "Gar", "Bled")
            .agent(-9.0, "How can I help?")
            .does(-8.9, Action::Garble)
            .outcome("none", None, 1, 3.0),
    ]
}
