//! A rule over both channels: one message at a time, over the first channel that reaches them. Their numbers are Swedish: on Sundays Americans
//! get no texts before noon.

use crate::people::script::Cast;
use crate::people::{FULL, MOVED, Scene};
use crate::world::CUSTOMER_CARE;

pub fn scenes(cast: &Cast) -> Vec<Scene> {
    let all_done = Some("all_steps_done");
    let mut no_email = cast.phone(
        "no_email_but_a_number",
        -20.0,
        "Kim",
        "Lake",
        "+46 70-174 06 61",
    );
    no_email.skill = CUSTOMER_CARE;
    vec![
        cast.both(
            "one_message_at_a_time",
            ("Hana", "Novak"),
            "example.com",
            "+46 70-174 06 60",
        )
        .agent(-9.6, "We have two of them left. Shall I keep one for you?")
        .sent(1.5)
        .outcome("none", all_done, 2, 20.0)
        .outcome("sent", None, 3, 125.0)
        .outcome("none", all_done, 4, 140.0),
        no_email
            .agent(-9.5, "Your refund has been approved.")
            .outcome("none", all_done, 1, 3.0)
            .outcome("sent", None, 2, 2.0)
            .outcome("none", all_done, 3, 125.0)
            .outcome("sent", None, 4, 125.0),
        // The text goes when the e-mail has come back, not two hours later.
        cast.both(
            "its_email_comes_back",
            ("Ole", "Strand"),
            MOVED,
            "+46 70-174 06 62",
        )
        .agent(
            -9.6,
            "The technician can come on Friday. Does that suit you?",
        )
        .outcome("undelivered", Some("hard bounce"), 1, 4.0)
        .outcome("sent", None, 2, 4.0)
        .outcome("cancelled", Some("bad_address"), 3, 125.0)
        .outcome("sent", None, 4, 130.0),
        cast.both(
            "its_mailbox_is_full",
            ("Petra", "Blum"),
            FULL,
            "+46 70-174 06 63",
        )
        .agent(-9.5, "I have found your booking.")
        .outcome("undelivered", Some("soft bounce"), 1, 4.0)
        .outcome("sent", None, 2, 4.0)
        .outcome("undelivered", Some("soft bounce"), 3, 130.0)
        .outcome("sent", None, 4, 130.0),
        cast.both(
            "reads_in_between",
            ("Runa", "Aas"),
            "example.com",
            "+46 70-174 06 64",
        )
        .agent(-9.5, "Which of the two do you prefer?")
        .sent(1.5)
        .reads(4.0)
        .outcome("none", Some("read"), 2, 20.0)
        .outcome("cancelled", Some("read"), 3, 125.0)
        .outcome("none", Some("read"), 4, 140.0),
        cast.both(
            "read_before_it_came_back",
            ("Siri", "Holm"),
            MOVED,
            "+46 70-174 06 65",
        )
        .agent(-9.6, "Here is the new link.")
        .reads(1.2)
        .outcome("undelivered", Some("hard bounce"), 1, 4.0)
        .outcome("none", Some("read"), 2, 20.0),
    ]
}
