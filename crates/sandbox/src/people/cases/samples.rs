//! The cases A to N of the sample records.

use crate::people::Scene;
use crate::people::script::Cast;
use crate::world::{Action, CUSTOMER_CARE, Partial, Person};

#[expect(clippy::too_many_lines, reason = "a table")]
pub fn scenes(cast: &Cast) -> Vec<Scene> {
    let anonymous = Person {
        time_zone: Some(cast.day.into()),
        ..Person::default()
    };
    let iris = Person {
        email: Some("iris.lund@example.com".into()),
        ..cast.person("Iris", "Lund")
    };
    let jo = Person {
        participant_email: Some("jo.profile@example.com".into()),
        unverified_email: Some("someone.else@example.com".into()),
        ..cast.person("Jo", "Typed")
    };
    let text = |text: &str| text.to_owned();
    vec![
        cast.mail("a_unread_human", -40.0, "Ana", "Silva")
            .agent(-36.0, "Hi Ana, let me check with the warehouse.")
            .reads(-35.5)
            .agent(
                -9.67,
                "It leaves the warehouse today. Shall we gift wrap it?",
            )
            .sent(1.0),
        cast.mail("b_accepted_not_read", -20.0, "Ben", "Okafor")
            .agent(-9.6, "It is in stock. Shall I reserve one for you?")
            .does(-9.59, Action::ConsumerAccepts)
            .sent(1.0),
        cast.mail("c_read", -20.0, "Chloe", "Marsh")
            .agent(-9.0, "Yes, what is the new one?")
            .reads(-8.0)
            .none("read"),
        cast.mail("d_consumer_replied_later", -20.0, "Dev", "Nair")
            .agent(-15.0, "Which line do you mean?")
            .asks(-9.0, "Line 2, shipping")
            .none("answered"),
        cast.mail("e_private_note", -60.0, "Eli", "Stone")
            .agent(-55.0, "I have requested it. You will get a confirmation.")
            .reads(-54.0)
            .does(
                -9.0,
                Action::PrivateNote {
                    text: text("Approved above limit, see ticket."),
                },
            )
            .none("read"),
        cast.mail("f_system_message_in_queue", -15.0, "Fay", "Hill")
            .does(
                -14.9,
                Action::SystemSays {
                    text: text("An agent will be with you shortly."),
                },
            )
            .none("no_agent_message"),
        cast.phone(
            "g_bot_rich_content",
            -20.0,
            "Gus",
            "Weber",
            "(202) 555-0145",
        )
        .does(
            -19.9,
            Action::BotSendsRichContent {
                text: text("Order 100237"),
            },
        )
        .none("no_agent_message"),
        Scene::new(
            "h_hosted_file_no_contact",
            CUSTOMER_CARE,
            -20.0,
            anonymous.clone(),
        )
        .does(
            -9.5,
            Action::AgentSendsFile {
                caption: text("Quote 4471"),
            },
        )
        .none("no_address"),
        Scene::new(
            "i_step_up_read_by_second_id",
            CUSTOMER_CARE,
            -30.0,
            anonymous,
        )
        .does(-25.0, Action::StepUp { person: iris })
        .agent(-20.0, "Yes, to 40 countries. Where to?")
        .reads(-18.0)
        .none("read"),
        Scene::new("j_earlier_read_latest_not", CUSTOMER_CARE, -30.0, jo)
            .agent(-28.0, "Let me see.")
            .reads(-27.0)
            .agent(-9.4, "Here it is.")
            .sent(2.0),
        cast.mail("k_read_by_manager_only", -30.0, "Kai", "Ito")
            .agent(-9.3, "Before I cancel it: would a discount help?")
            .does(-8.5, Action::ManagerReads)
            .sent(2.0),
        cast.mail("l_partial_record", -30.0, "Lia", "Berg")
            .agent(-9.0, "Hello, how can I help?")
            .does(
                -8.9,
                Action::Partial {
                    partial: Partial::Always,
                },
            )
            .none("undecided"),
        cast.mail("m_bot_then_queue", -15.0, "Mo", "Diaz")
            .does(
                -14.9,
                Action::BotSays {
                    text: text("I will connect you to a colleague."),
                },
            )
            .does(
                -14.8,
                Action::Transfer {
                    skill: CUSTOMER_CARE,
                },
            )
            .none("no_agent_message"),
        cast.mail("n_post_survey_open", -30.0, "Nia", "Cole")
            .agent(-20.0, "Glad I could help.")
            .does(-15.0, Action::OpenSurvey)
            .outcome("none", None, 1, 3.0),
    ]
}
