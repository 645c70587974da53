//! What a conversation becomes by what people and machines do in it.

use std::sync::Arc;

use super::{
    About, Attributes, Consumer, Content, Detail, Dialog, Joined, Message, Party, Receipt,
    Transfer, consumer_id, uuid, value_at,
};
use crate::world::account::{Agent, AgentKind, Staff};
use crate::world::action::{Action, Closer, Person};

impl Detail {
    pub fn open(id: u128, at: i64, skill: i64, person: &Person) -> Self {
        let mut detail = Self {
            dialogs: vec![Dialog {
                id: uuid(id),
                survey: false,
                opened: at,
                closed: None,
                next_seq: 0,
            }],
            queue: vec![(at, true)],
            skills: vec![(at, skill)],
            time_zone: person.time_zone.clone(),
            language: person.language.clone(),
            ..Self::default()
        };
        detail.join(at, id, person);
        detail.tell(at, person);
        detail
    }

    fn join(&mut self, at: i64, id: u128, person: &Person) {
        let made_up = || {
            consumer_id(
                &[
                    &id.to_be_bytes()[..],
                    self.consumers.len().to_string().as_bytes(),
                ]
                .concat(),
            )
        };
        let id = person.consumer_id.clone().unwrap_or_else(made_up);
        self.consumers.push(Consumer {
            id,
            joined: at,
            first_name: person.first_name.clone(),
            email: person.participant_email.clone(),
            phone: person.participant_phone.clone(),
        });
    }

    fn tell(&mut self, at: i64, person: &Person) {
        if let Some(id) = &person.customer_id {
            let about = About::Customer {
                id: id.clone(),
                remark: person.remark.clone(),
            };
            self.attributes.push(Attributes {
                at,
                authenticated: true,
                about,
            });
        }
        for (authenticated, email, phone) in [
            (true, &person.email, &person.phone),
            (false, &person.unverified_email, &person.unverified_phone),
        ] {
            if email.is_some() || phone.is_some() {
                let about = About::Person {
                    first_name: person.first_name.clone(),
                    last_name: person.last_name.clone(),
                    email: email.clone(),
                    phone: phone.clone(),
                };
                self.attributes.push(Attributes {
                    at,
                    authenticated,
                    about,
                });
            }
        }
    }

    /// Lets one thing happen. Things may be told out of order: everything is dated.
    pub fn apply(&mut self, at: i64, id: u128, action: &Action, staff: &Staff) {
        let text = |text: &String| Content::Text(text.clone());
        match action {
            Action::ConsumerSays { text: said } => {
                self.say(
                    at,
                    Party::Consumer(self.consumers.len() - 1),
                    text(said),
                    false,
                );
            }
            Action::AgentSays { text: said } => self.answer(at, &self.agent(staff), text(said)),
            Action::AgentSendsFile { caption } => {
                self.answer(
                    at,
                    &self.agent(staff),
                    Content::File {
                        caption: caption.clone(),
                    },
                );
            }
            Action::BotSays { text: said } => self.answer(at, &staff.bot, text(said)),
            Action::BotSendsRichContent { text } => {
                self.answer(at, &staff.bot, Content::Rich { text: text.clone() });
            }
            Action::SystemSays { text: said } => {
                self.enter(at, &staff.system);
                self.say(at, Party::Agent(staff.system.clone()), text(said), false);
            }
            Action::PrivateNote { text: said } => {
                self.enter(at, &staff.supervisor);
                self.say(at, Party::Agent(staff.supervisor.clone()), text(said), true);
            }
            Action::ConsumerAccepts => self.consumer_receipts(at, "ACCEPT"),
            Action::ConsumerReads => self.consumer_receipts(at, "READ"),
            Action::ManagerReads => {
                self.enter(at, &staff.supervisor);
                let by = Party::Agent(staff.supervisor.clone());
                self.receipts(at, &by, "READ", |_| true);
            }
            Action::StepUp { person } => {
                self.stepped_up = Some(at);
                self.join(at, id, person);
                self.tell(at, person);
            }
            Action::Tells { person } => self.tell(at, person),
            Action::Transfer { skill } => self.transfer(at, *skill),
            Action::Queue => self.queue.push((at, true)),
            Action::Unqueue => self.queue.push((at, false)),
            Action::Close { by } => self.close_dialogs(at, *by, |_| true),
            Action::OpenSurvey => self.open_survey(at, id, staff),
            Action::CloseSurvey => self.close_dialogs(at, Closer::System, |dialog| dialog.survey),
            Action::Partial { partial } => self.partial = *partial,
            Action::Garble => self.garbled = true,
        }
    }

    /// The human agent in charge, or who would take over: the sandbox's two agents share the conversations.
    fn agent(&self, staff: &Staff) -> Arc<Agent> {
        let in_charge = self.agents.iter().rev().map(|joined| &joined.agent);
        let mut in_charge = in_charge.filter(|agent| agent.permission == "ASSIGNED_AGENT");
        let human = in_charge.find(|agent| agent.kind == AgentKind::Human);
        human
            .unwrap_or(&staff.agents[usize::from(self.dialogs[0].opened / 60_000 % 2 == 1)])
            .clone()
    }

    fn enter(&mut self, at: i64, agent: &Arc<Agent>) {
        if !self.agents.iter().any(|joined| joined.agent.id == agent.id) {
            self.agents.push(Joined {
                agent: agent.clone(),
                at,
                dialog: 0,
            });
        }
    }

    /// An agent or bot takes the conversation, reads what the consumer wrote, and writes.
    fn answer(&mut self, at: i64, agent: &Arc<Agent>, content: Content) {
        self.enter(at, agent);
        if value_at(&self.queue, at) == Some(true) {
            self.queue.push((at, false));
        }
        let by = Party::Agent(agent.clone());
        self.receipts(at, &by, "READ", Message::by_consumer);
        self.say(at, by, content, false);
    }

    fn say(&mut self, at: i64, from: Party, content: Content, private: bool) {
        self.say_in(0, at, from, content, private);
    }

    fn say_in(&mut self, dialog: usize, at: i64, from: Party, content: Content, private: bool) {
        let seq = self.dialogs[dialog].next_seq;
        self.dialogs[dialog].next_seq += 1;
        self.messages.push(Message {
            seq,
            dialog,
            at,
            from,
            content,
            private,
        });
    }

    fn consumer_receipts(&mut self, at: i64, status: &'static str) {
        let by = Party::Consumer(self.consumers.len() - 1);
        self.receipts(at, &by, status, |message| {
            !message.private && !message.by_consumer()
        });
    }

    /// One event of `by` about every message in the MAIN dialog that it has not reported yet.
    fn receipts(
        &mut self,
        at: i64,
        by: &Party,
        status: &'static str,
        of: impl Fn(&Message) -> bool,
    ) {
        let before = self.receipts.len();
        for (place, message) in self.messages.iter().enumerate() {
            let reported = self.receipts[..before].iter().any(|receipt| {
                receipt.message == place && receipt.status == status && receipt.by.same_side(by)
            });
            if message.at <= at && message.dialog == 0 && of(message) && !reported {
                self.receipts.push(Receipt {
                    message: place,
                    at,
                    by: by.clone(),
                    status,
                });
            }
        }
        self.dialogs[0].next_seq += u32::from(self.receipts.len() > before);
    }

    fn transfer(&mut self, at: i64, skill: i64) {
        let from = value_at(&self.skills, at).unwrap_or(skill);
        let by = self.agents.last().map(|joined| joined.agent.clone());
        self.transfers.push(Transfer {
            at,
            from,
            to: skill,
            by,
        });
        self.skills.push((at, skill));
        self.queue.push((at, true));
    }

    fn close_dialogs(&mut self, at: i64, by: Closer, of: impl Fn(&Dialog) -> bool) {
        for dialog in &mut self.dialogs {
            if dialog.closed.is_none() && of(dialog) {
                dialog.closed = Some((at, by));
            }
        }
    }

    fn open_survey(&mut self, at: i64, id: u128, staff: &Staff) {
        self.close_dialogs(at, Closer::Agent, |dialog| !dialog.survey);
        let dialog = self.dialogs.len();
        self.dialogs.push(Dialog {
            id: uuid(!id ^ dialog as u128),
            survey: true,
            opened: at,
            closed: None,
            next_seq: 0,
        });
        let bot = staff.bot.clone();
        self.agents.push(Joined {
            agent: bot.clone(),
            at,
            dialog,
        });
        let question = Content::Text("How satisfied are you, from 1 to 5?".into());
        self.say_in(dialog, at, Party::Agent(bot), question, false);
    }
}
