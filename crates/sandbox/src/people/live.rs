//! Newcomers, now and then, so that a demo stays alive: most ask, get an answer and leave; some come back.

use super::{MOVED, PersonAction, Play, Scene};
use crate::people::zones::zone_where_it_is;
use crate::world::{Action, CUSTOMER_CARE, Closer, ORDERS, Person, WEB, spread};

const NAMES: [&str; 16] = [
    "Alma", "Bruno", "Carla", "Dario", "Elsa", "Felix", "Greta", "Hugo", "Ines", "Jonas", "Karin",
    "Luis", "Mira", "Nils", "Oona", "Paul",
];
/// Questions with their answers.
const TOPICS: [(&str, &str); 4] = [
    (
        "Hi, where is my order?",
        "It left today. Do you want the tracking number?",
    ),
    (
        "Can I change my delivery address?",
        "Yes, what is the new one?",
    ),
    (
        "My invoice looks wrong.",
        "I have corrected it. Shall I send it again?",
    ),
    (
        "Do you have this in blue?",
        "We do! Shall I reserve one for you?",
    ),
];

/// Where the next visitor comes from.
pub struct Visitors {
    play: Play,
    seed: u64,
    drawn: u64,
    next_at: i64,
}

impl Visitors {
    pub fn new(play: &Play, seed: u64) -> Self {
        let next_at = play.world.clock().now_ms() + 15_000;
        Self {
            play: play.clone(),
            seed,
            drawn: 0,
            next_at,
        }
    }

    pub fn next_at(&self) -> i64 {
        self.next_at
    }

    /// A number below `n`.
    fn draw(&mut self, n: u32) -> u32 {
        self.drawn += 1;
        u32::try_from(spread(self.seed, self.drawn) % u64::from(n)).unwrap_or(0)
    }

    /// Lets a visitor in if it is time.
    pub fn let_in(&mut self) {
        let now = self.play.world.clock().now_ms();
        if now < self.next_at {
            return;
        }
        let scene = self.scene();
        self.play
            .enter(scene, now)
            .expect("the account of the play");
        self.next_at = now + 20_000 + 1000 * i64::from(self.draw(25));
    }

    fn person(&mut self, by_text: bool) -> Person {
        let number = self.draw(10_000);
        // In customer care every second has a phone, too; the e-mail of every eighth comes back, and is followed by a text.
        let (has_phone, domain) = match self.draw(8) {
            0 if !by_text => (true, MOVED),
            drawn => (by_text || drawn < 4, "example.com"),
        };
        let name = NAMES[self.draw(16) as usize];
        let noon = zone_where_it_is(12, self.play.world.clock().now());
        Person {
            first_name: Some(name.into()),
            last_name: Some("Visitor".into()),
            customer_id: Some(format!("CUST-{number}")),
            email: Some(format!("{}{number}@{domain}", name.to_lowercase())),
            phone: has_phone.then(|| format!("+1202555{number:04}")),
            time_zone: Some(noon.into()),
            language: Some("en-US".into()),
            ..Person::default()
        }
    }

    /// The conversation began a quarter of an hour ago and the answer came nine minutes ago, so that a reminder is due within
    /// the minute and there is something to see.
    fn scene(&mut self) -> Scene {
        let by_text = self.draw(3) == 0;
        let person = self.person(by_text);
        let (question, answer) = TOPICS[self.draw(4) as usize];
        let answered = -9.8 + f64::from(self.draw(8)) / 10.0;
        let mut script = vec![
            (
                -15.0,
                Action::ConsumerSays {
                    text: question.into(),
                },
            ),
            (
                answered,
                Action::AgentSays {
                    text: answer.into(),
                },
            ),
        ];
        // By then a reminder has gone out, if there was to be one.
        let reminded = answered + 10.0;
        match self.draw(5) {
            0 => script.push((0.3, Action::ConsumerReads)),
            1 => script.push((reminded + 1.0, Action::ConsumerReads)),
            2 => {
                script.push((reminded + 0.7, Action::ConsumerReads));
                script.push((
                    reminded + 1.2,
                    Action::ConsumerSays {
                        text: "Yes, please!".into(),
                    },
                ));
            }
            3 => script.push((
                0.5,
                Action::Close {
                    by: Closer::Consumer,
                },
            )),
            _ => {}
        }
        // Everybody leaves in the end, and the account stays small.
        script.push((60.0, Action::Close { by: Closer::System }));
        Scene {
            case: "newcomer",
            skill: if by_text { ORDERS } else { CUSTOMER_CARE },
            source: WEB,
            person,
            opens: -15.0,
            script: script
                .into_iter()
                .map(|(at, action)| (at, PersonAction::Act(Box::new(action))))
                .collect(),
            outcomes: Vec::new(),
        }
    }
}
