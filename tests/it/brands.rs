//! Two brands in one installation, each with a mail server and a Twilio account of its own: whose messages go where, who is believed
//! about them, and that the trouble of one is not the other's.

use chrono::TimeDelta;
use unread::domain::access::Permission;
use unread::domain::ids::Channel::{Email, Sms};
use unread::domain::rule::RuleKey;
use unread::sandbox::ACCOUNT;
use unread::sandbox::clock::WorldClock;
use unread::sandbox::outbox::{Outbox, OutboxOptions};
use unread::sandbox::rules::When;
use unread::sandbox::smtp::{self, SmtpOptions, SmtpServer};
use unread::sandbox::twilio::{
    self, Callback, Delivery, TwilioAnswer, TwilioFault, TwilioOptions, TwilioServer,
};
use unread::sandbox::world::CUSTOMER_CARE;

use crate::harness::{Setup, TestApp, noon, run_test_with, step};

const OTHER: &str = "87654321";
const OTHER_SID: &str = "AC00000000000000000000000000000002";
const OTHER_TOKEN: &str = "fedcba9876543210fedcba9876543210";
const OTHER_NUMBER: &str = "+15005550009";
const OTHER_FROM: &str = "care@lamps.example";

/// The second brand's mail server and Twilio, in which the first brand's messages must never turn up.
struct Neighbour {
    mail: SmtpServer,
    twilio: TwilioServer,
    outbox: Outbox,
}

impl Neighbour {
    async fn start(clock: &WorldClock) -> Self {
        let listener = async || tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let outbox = Outbox::new(OutboxOptions::default());
        let login = ("lamps".to_owned(), "the lamps' password".to_owned());
        let options = SmtpOptions {
            credentials: Some(login),
            ..SmtpOptions::default()
        };
        let mail = smtp::serve(listener().await, options, outbox.clone(), clock.clone());
        let options = TwilioOptions {
            account_sid: OTHER_SID.to_owned(),
            auth_token: OTHER_TOKEN.to_owned(),
            senders: vec![OTHER_NUMBER.to_owned()],
            ..TwilioOptions::default()
        };
        let twilio = twilio::serve(listener().await, options, outbox.clone(), clock.clone());
        Self {
            mail: mail.unwrap(),
            twilio: twilio.unwrap(),
            outbox,
        }
    }

    /// As the file has it.
    fn settings(&self, from: &str, password: &str) -> String {
        let (mail, twilio) = (self.mail.address(), self.twilio.address());
        format!(
            "page_url = \"https://lamps.example/chat\"
             [account.smtp]
             host = \"127.0.0.1\"
             port = {}
             tls = \"none\"
             user = \"lamps\"
             password = \"{password}\"
             from = \"{from}\"
             [account.twilio]
             base_url = \"http://{twilio}\"
             account_sid = \"{OTHER_SID}\"
             auth_token = \"{OTHER_TOKEN}\"
             from = \"{OTHER_NUMBER}\"
            ",
            mail.port(),
        )
    }
}

/// A stage with both brands; the neighbour's address and password may be wrong.
async fn with_neighbour(
    (from, password): (&str, &str),
    settings: Vec<(&'static str, &'static str)>,
    test: impl AsyncFnOnce(&TestApp, &Neighbour),
) {
    let clock = WorldClock::manual(noon());
    let neighbour = Neighbour::start(&clock).await;
    let first = "page_url = \"https://chairs.example/chat\"\n";
    let setup = Setup {
        // Without a name of the installation's, each brand writes as itself.
        settings: [vec![("SMTP_FROM_NAME", "")], settings].concat(),
        accounts: vec![OTHER],
        own: vec![
            (ACCOUNT, first.to_owned()),
            (OTHER, neighbour.settings(from, password)),
        ],
        world_clock: Some(clock),
        ..Setup::default()
    };
    run_test_with(setup, async |t| {
        let inbound = format!("{}/twilio/inbound", t.web);
        neighbour.twilio.account().set_inbound_url(&inbound);
        for account in [ACCOUNT, OTHER] {
            let key = RuleKey {
                account: account.parse().unwrap(),
                skill: None,
            };
            t.rule_for(&key, &[Email, Sms], |rule| {
                rule.steps = vec![step(Email, 10), step(Sms, 11)];
                rule.caps.gap = TimeDelta::zero();
            })
            .await;
        }
        test(t, &neighbour).await;
    })
    .await;
}

const RIGHT: (&str, &str) = (OTHER_FROM, "the lamps' password");

/// Unread messages for one customer of each brand at each kind of address.
fn unread(t: &TestApp) -> [String; 4] {
    [
        t.answered_in(ACCOUNT, CUSTOMER_CARE, "ann@one.example"),
        t.answered_in(ACCOUNT, CUSTOMER_CARE, "+12025550101"),
        t.answered_in(OTHER, CUSTOMER_CARE, "bob@two.example"),
        t.answered_in(OTHER, CUSTOMER_CARE, "+12025550102"),
    ]
}

#[tokio::test]
async fn two_brands_never_show_each_other_s_name_link_address_or_number() {
    with_neighbour(RIGHT, vec![], async |t, neighbour| {
        unread(t);
        t.tick().await;
        t.advance(15).await;
        let (mails, texts) = (t.mails(), t.texts());
        let their = neighbour.outbox.mails();
        assert_eq!((mails.len(), texts.len()), (1, 1));
        assert_eq!((their.len(), neighbour.outbox.texts().len()), (1, 1));
        assert_eq!(mails[0].to, ["ann@one.example"]);
        assert_eq!(their[0].to, ["bob@two.example"]);
        assert_eq!(their[0].from, OTHER_FROM);
        let (text, theirs) = (&texts[0], &neighbour.outbox.texts()[0]);
        assert_eq!(text.to, "+12025550101");
        assert_eq!(
            (&*theirs.to, theirs.from.as_deref()),
            ("+12025550102", Some(OTHER_NUMBER))
        );
        let everything = |mail: &unread::sandbox::outbox::Mail,
                          text: &unread::sandbox::outbox::Text| {
            let headers: Vec<String> = mail
                .headers
                .iter()
                .map(|(n, v)| format!("{n}: {v}"))
                .collect();
            format!(
                "{} {} {} {} {} {:?}",
                mail.from,
                headers.join("\n"),
                mail.text.clone().unwrap_or_default(),
                mail.html.clone().unwrap_or_default(),
                text.body,
                text.from,
            )
        };
        let of_chairs = ["shop.example", "chairs", "+15005550006"];
        let of_lamps = ["lamps", OTHER_NUMBER, "two.example"];
        let (first, second) = (everything(&mails[0], text), everything(&their[0], theirs));
        let names = [format!("Brand {ACCOUNT}"), format!("Brand {OTHER}")];
        assert!(first.contains(&names[0]) && second.contains(&names[1]));
        for word in of_lamps.into_iter().chain([&*names[1]]) {
            assert!(!first.contains(word), "{word} in {first}");
        }
        for word in of_chairs.into_iter().chain([&*names[0]]) {
            assert!(!second.contains(word), "{word} in {second}");
        }
        // The links lead to the pages of their own brand.
        for (mail, page) in [
            (&mails[0], "https://chairs.example/chat"),
            (&their[0], "https://lamps.example/chat"),
        ] {
            let text = mail.text.as_deref().unwrap();
            let link = text
                .split_whitespace()
                .find(|word| word.contains("/r/"))
                .unwrap();
            let answer = t.http.get(link).send().await.unwrap();
            let to = answer.headers()["location"].to_str().unwrap();
            assert!(to.starts_with(page), "{to}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_brand_s_twilio_is_believed_about_its_own_messages_only() {
    with_neighbour(RIGHT, vec![], async |t, neighbour| {
        // Twilio itself says nothing: the test does.
        for account in [t.sandbox.twilio().account(), neighbour.twilio.account()] {
            let mute = Delivery::delivered().calling_back(Callback::Missing);
            account.faults().add(TwilioFault::delivery(When::always(), mute));
        }
        let [_, first, _, second] = unread(t);
        t.tick().await;
        t.advance(15).await;
        t.mails();
        t.texts();
        let tokens = [t.sandbox.endpoints().twilio.auth_token.clone(), OTHER_TOKEN.to_owned()];
        let sids = [t.sandbox.endpoints().twilio.account_sid.clone(), OTHER_SID.to_owned()];
        let state = async |chat: &String| t.story(chat).await.concat();
        let callbacks = async || -> Vec<(String, String)> {
            sqlx::query_as("select r.conversation, a.provider_id || ' ' || a.id || '-' || left(r.token, 8) from attempts a join reminders r on r.id = a.reminder where r.channel = 'sms'")
                .fetch_all(t.pool()).await.unwrap()
        };
        let rows = callbacks().await;
        let named = |chat: &String| {
            let (_, name) = rows.iter().find(|(of, _)| of == chat).unwrap();
            let (sid, attempt) = name.split_once(' ').unwrap();
            (sid.to_owned(), attempt.to_owned())
        };
        // Whose token; whose AccountSid it claims; about whose message; what is answered; whether it is believed.
        let cases = [
            (0, 1, &second, 204, false),
            (0, 0, &second, 204, false),
            (1, 1, &first, 204, false),
            (1, 0, &first, 204, false),
            (1, 1, &second, 204, true),
            (0, 0, &first, 204, true),
        ];
        for (token, account, chat, status, believed) in cases {
            let (sid, attempt) = named(chat);
            let before = state(chat).await;
            let got = report(t, &tokens[token], &sids[account], (&sid, &attempt)).await;
            assert_eq!(got, status);
            let expected = if believed { "delivered".to_owned() } else { before };
            assert_eq!(state(chat).await, expected, "token {token}, account {account}");
        }
        let (sid, attempt) = named(&first);
        assert_eq!(report(t, "neither's", &sids[0], (&sid, &attempt)).await, 403);
    })
    .await;
}

/// Posts that a message was delivered. Returns the answer's status.
async fn report(t: &TestApp, token: &str, account: &str, (sid, attempt): (&str, &str)) -> u16 {
    let url = format!("{}/twilio/status?rid={attempt}", t.web);
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let fields = vec![
        field("MessageSid", sid),
        field("SmsSid", sid),
        field("AccountSid", account),
        field("MessageStatus", "delivered"),
        field("SmsStatus", "delivered"),
    ];
    let signature = twilio::sign(token, &url, &fields);
    let request = t.http.post(&url).header("X-Twilio-Signature", signature);
    request
        .form(&fields)
        .send()
        .await
        .unwrap()
        .status()
        .as_u16()
}

#[tokio::test]
async fn stop_to_a_brand_s_own_number_reaches_as_far_as_the_setting_says() {
    for (reach, of_lamps) in [
        ("sender", vec![OTHER]),
        ("installation", vec![ACCOUNT, OTHER]),
    ] {
        with_neighbour(
            RIGHT,
            vec![("UNREAD_OPT_OUT_REACH", reach)],
            async |t, neighbour| {
                let suppressed = async || -> Vec<String> {
                    sqlx::query_scalar("select account from suppressions order by account")
                        .fetch_all(t.pool())
                        .await
                        .unwrap()
                };
                let own = neighbour.twilio.account();
                let stop = own
                    .inbound("+12025550102", OTHER_NUMBER, "STOP", None)
                    .await;
                assert_eq!(stop.unwrap().0, 200);
                let mut expected = of_lamps;
                expected.sort_unstable();
                assert_eq!(suppressed().await, expected, "{reach}");
                // By whose number it came, by that it is lifted.
                let first = t.sandbox.twilio().account();
                let start = first
                    .inbound("+12025550102", "+15005550006", "START", None)
                    .await;
                assert_eq!(start.unwrap().0, 200);
                let left = if reach == "sender" {
                    expected
                } else {
                    Vec::new()
                };
                assert_eq!(suppressed().await, left, "{reach}");
            },
        )
        .await;
    }
}

#[tokio::test]
async fn a_brand_whose_servers_refuse_us_does_not_hold_up_the_other_with_the_same_address() {
    // The very address of the installation, at another server, whose password is wrong.
    let same_address = ("hello@shop.example", "wrong");
    with_neighbour(same_address, vec![], async |t, neighbour| {
        let throttled = TwilioFault::error(When::always(), 20429);
        neighbour.twilio.faults().add(throttled);
        let chats = unread(t);
        t.tick().await;
        t.advance(15).await;
        assert_eq!(t.mails().len(), 1);
        assert_eq!(t.texts().len(), 1);
        assert!(neighbour.outbox.is_empty());
        assert_eq!(t.story(&chats[2]).await, ["scheduled (circuit_open)"]);
        assert_eq!(t.story(&chats[3]).await, ["scheduled (retry)"]);
        // And the other way round: what comes later goes on going out for the first brand.
        t.answered_in(ACCOUNT, CUSTOMER_CARE, "eve@one.example");
        t.answered_in(ACCOUNT, CUSTOMER_CARE, "+12025550103");
        t.tick().await;
        t.advance(15).await;
        assert_eq!((t.mails().len(), t.texts().len()), (1, 1));
        let program = t.program(&[Permission::View]).await;
        let paused = program.get("/circuits").await.json();
        let sender = paused["items"][0]["sender"].as_str().unwrap().to_owned();
        assert!(
            sender.starts_with("hello@shop.example (127.0.0.1:"),
            "{sender}"
        );
        assert!(!sender.contains("lamps"), "{sender}");
    })
    .await;
}

#[tokio::test]
async fn a_message_of_unknown_outcome_is_looked_up_where_it_was_sent() {
    with_neighbour(RIGHT, vec![], async |t, neighbour| {
        let taken = TwilioAnswer::Close { accepted: true };
        neighbour
            .twilio
            .faults()
            .add(TwilioFault::answer(When::next(1), taken));
        let chat = t.answered_in(OTHER, CUSTOMER_CARE, "+12025550102");
        t.tick().await;
        t.advance(15).await;
        let asked = t.sandbox.twilio().account().counts().requests;
        for _ in 0..2 {
            sqlx::query("update attempts set settle_at = now() where settle_at is not null")
                .execute(t.pool())
                .await
                .unwrap();
            t.advance_by(TimeDelta::seconds(10)).await;
            t.tick().await;
        }
        assert_eq!(neighbour.outbox.texts().len(), 1, "sent once");
        let story = t.story(&chat).await.concat();
        assert!(matches!(story.as_str(), "sent" | "delivered"), "{story}");
        assert_eq!(t.sandbox.twilio().account().counts().requests, asked);
    })
    .await;
}
