//! The verbs: what tests and scripts let people do, one call each. All of them are [`World::act`] underneath.

use super::{Action, Closer, Partial, Person, WEB, World};

impl World {
    /// Begins to describe a conversation; [`Opening::start`] opens it.
    pub fn conversation(&self, account: &str, skill: i64) -> Opening {
        Opening {
            world: self.clone(),
            account: account.to_owned(),
            skill,
            source: WEB.to_owned(),
            person: Person::default(),
        }
    }

    fn must(&self, conversation: &str, action: &Action) {
        self.act(conversation, action)
            .expect("a conversation of this world");
    }

    pub fn consumer_says(&self, conversation: &str, text: &str) {
        self.must(conversation, &Action::ConsumerSays { text: text.into() });
    }

    pub fn agent_says(&self, conversation: &str, text: &str) {
        self.must(conversation, &Action::AgentSays { text: text.into() });
    }

    pub fn bot_says(&self, conversation: &str, text: &str) {
        self.must(conversation, &Action::BotSays { text: text.into() });
    }

    pub fn bot_sends_rich_content(&self, conversation: &str, text: &str) {
        self.must(
            conversation,
            &Action::BotSendsRichContent { text: text.into() },
        );
    }

    pub fn system_says(&self, conversation: &str, text: &str) {
        self.must(conversation, &Action::SystemSays { text: text.into() });
    }

    pub fn private_note(&self, conversation: &str, text: &str) {
        self.must(conversation, &Action::PrivateNote { text: text.into() });
    }

    pub fn consumer_accepts(&self, conversation: &str) {
        self.must(conversation, &Action::ConsumerAccepts);
    }

    /// The consumer reads everything that is there to read.
    pub fn consumer_reads(&self, conversation: &str) {
        self.must(conversation, &Action::ConsumerReads);
    }

    pub fn manager_reads(&self, conversation: &str) {
        self.must(conversation, &Action::ManagerReads);
    }

    pub fn step_up(&self, conversation: &str, person: Person) {
        self.must(conversation, &Action::StepUp { person });
    }

    pub fn tells(&self, conversation: &str, person: Person) {
        self.must(conversation, &Action::Tells { person });
    }

    pub fn transfer(&self, conversation: &str, skill: i64) {
        self.must(conversation, &Action::Transfer { skill });
    }

    pub fn queue(&self, conversation: &str) {
        self.must(conversation, &Action::Queue);
    }

    pub fn close(&self, conversation: &str) {
        self.must(conversation, &Action::Close { by: Closer::Agent });
    }

    pub fn open_survey(&self, conversation: &str) {
        self.must(conversation, &Action::OpenSurvey);
    }

    pub fn partial(&self, conversation: &str, partial: Partial) {
        self.must(conversation, &Action::Partial { partial });
    }

    /// Makes the record unparsable wherever it is shown.
    pub fn garble(&self, conversation: &str) {
        self.must(conversation, &Action::Garble);
    }
}

/// A conversation about to be opened.
pub struct Opening {
    world: World,
    account: String,
    skill: i64,
    source: String,
    person: Person,
}

impl Opening {
    #[must_use]
    pub fn consumer(mut self, first_name: &str, last_name: &str) -> Self {
        self.person.first_name = Some(first_name.into());
        self.person.last_name = Some(last_name.into());
        self
    }

    /// The brand's own id of the customer.
    #[must_use]
    pub fn customer_id(mut self, id: &str) -> Self {
        self.person.customer_id = Some(id.into());
        self
    }

    /// An authenticated address.
    #[must_use]
    pub fn email(mut self, email: &str) -> Self {
        self.person.email = Some(email.into());
        self
    }

    #[must_use]
    pub fn phone(mut self, phone: &str) -> Self {
        self.person.phone = Some(phone.into());
        self
    }

    #[must_use]
    pub fn time_zone(mut self, zone: &str) -> Self {
        self.person.time_zone = Some(zone.into());
        self
    }

    #[must_use]
    pub fn language(mut self, language: &str) -> Self {
        self.person.language = Some(language.into());
        self
    }

    /// The channel on which it opens, [`WEB`] unless said otherwise.
    #[must_use]
    pub fn source(mut self, source: &str) -> Self {
        source.clone_into(&mut self.source);
        self
    }

    /// Everything about the consumer at once.
    #[must_use]
    pub fn person(mut self, person: Person) -> Self {
        self.person = person;
        self
    }

    /// Opens it and returns its id.
    pub fn start(self) -> String {
        self.world
            .open(&self.account, self.skill, &self.source, &self.person)
            .expect("an account of this world")
    }
}
