//! The channels there are: the one place where they are lined up.
//!
//! A new channel is a variant of [`Channel`] and of [`Provider`] with its row in `domain::channel`, a folder beside this file, and what the
//! compiler then asks for here.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use url::Url;

use super::adapter::{Adapter, Configured, ProviderProfile};
use super::{smtp, twilio};
use crate::domain::channel::PerChannel;
use crate::domain::ids::{AccountId, Channel, Provider};

/// What is known of a provider, configured or not.
pub fn profile(provider: Provider) -> &'static ProviderProfile {
    match provider {
        Provider::Smtp => &smtp::PROFILE,
        Provider::Twilio => &twilio::PROFILE,
        #[cfg(feature = "test-channel")]
        Provider::Probe => &super::probe::PROFILE,
    }
}

/// The settings of every provider that is configured.
#[derive(Clone, Debug, Default)]
pub struct ChannelSettings {
    pub smtp: Option<smtp::SmtpSettings>,
    pub twilio: Option<twilio::TwilioSettings>,
    #[cfg(feature = "test-channel")]
    pub probe: Option<super::probe::ProbeSettings>,
}

impl ChannelSettings {
    /// Those of a channel.
    pub fn of(&self, channel: Channel) -> Option<&dyn Configured> {
        fn any<C: Configured>(settings: Option<&C>) -> Option<&dyn Configured> {
            settings.map(|settings| settings as &dyn Configured)
        }
        match channel {
            Channel::Email => any(self.smtp.as_ref()),
            Channel::Sms => any(self.twilio.as_ref()),
            #[cfg(feature = "test-channel")]
            Channel::Probe => any(self.probe.as_ref()),
        }
    }

    pub fn has(&self, channel: Channel) -> bool {
        self.of(channel).is_some()
    }

    /// The channels that are configured.
    pub fn channels(&self) -> Vec<Channel> {
        let all = Channel::ALL.into_iter();
        all.filter(|channel| self.has(*channel)).collect()
    }
}

/// With what an account sends: its own settings for a channel, else the installation's.
#[derive(Clone, Copy, Debug)]
pub struct AccountChannels<'a> {
    pub own: Option<&'a ChannelSettings>,
    pub usual: &'a ChannelSettings,
}

impl<'a> AccountChannels<'a> {
    fn settings(&self, channel: Channel) -> &'a ChannelSettings {
        self.own
            .filter(|own| own.has(channel))
            .unwrap_or(self.usual)
    }

    pub fn of(&self, channel: Channel) -> Option<&'a dyn Configured> {
        self.settings(channel).of(channel)
    }

    pub fn smtp(&self) -> Option<&'a smtp::SmtpSettings> {
        self.settings(Channel::Email).smtp.as_ref()
    }

    /// Whom mail comes from, as the settings have it.
    pub fn sender_of_mail(&self) -> Option<String> {
        let smtp = self.smtp()?;
        Some(smtp.from.address().to_owned())
    }

    /// The channels that are configured.
    pub fn channels(&self) -> Vec<Channel> {
        let all = Channel::ALL.into_iter();
        all.filter(|channel| self.of(*channel).is_some()).collect()
    }
}

type Adapters = PerChannel<Option<Arc<dyn Adapter>>>;

/// An adapter for each channel of each account: of its own, or the installation's, which accounts share.
#[derive(Clone)]
pub struct Channels(Arc<AllAdapters>);

struct AllAdapters {
    usual: Adapters,
    /// Of the accounts that have settings of their own, also where they only differ in the sender.
    own: BTreeMap<AccountId, Adapters>,
}

impl Channels {
    /// None of them connects yet. Needs a tokio runtime.
    pub fn new<'a>(
        usual: &ChannelSettings,
        own: impl IntoIterator<Item = (&'a AccountId, &'a ChannelSettings)>,
        public_url: &Url,
    ) -> anyhow::Result<Self> {
        let mut of_accounts = BTreeMap::new();
        for (account, settings) in own {
            let made = adapters(settings, public_url);
            let made = made.with_context(|| format!("the settings of account {account}"))?;
            of_accounts.insert(account.clone(), made);
        }
        Ok(Self(Arc::new(AllAdapters {
            usual: adapters(usual, public_url)?,
            own: of_accounts,
        })))
    }

    /// What an account sends with; `None`: the channel is not configured for it.
    pub fn of(&self, account: &AccountId, channel: Channel) -> Option<&dyn Adapter> {
        let own = self.0.own.get(account);
        let own = own.and_then(|own| own[channel].as_deref());
        own.or(self.0.usual[channel].as_deref())
    }

    /// The way that an account's messages under this sender's key have gone; `None`: the settings have it no more.
    pub fn of_key(&self, account: &AccountId, channel: Channel, key: &str) -> Option<&dyn Adapter> {
        let is_it = |adapter: &&dyn Adapter| self.is_of(*adapter, channel, key);
        let present = self.of(account, channel).filter(is_it);
        present.or_else(|| self.all(channel).find(is_it))
    }

    /// Whether messages under this sender's key go the way of an adapter.
    pub fn is_of(&self, adapter: &dyn Adapter, channel: Channel, key: &str) -> bool {
        connection_of(key) == self.foreign(channel, adapter).as_deref()
    }

    /// Those of these accounts that have this connection.
    pub fn sharing<'a>(
        &self,
        accounts: impl IntoIterator<Item = &'a AccountId>,
        channel: Channel,
        connection: &str,
    ) -> Vec<AccountId> {
        let has_it = |account: &&AccountId| {
            let adapter = self.of(account, channel);
            adapter.is_some_and(|adapter| adapter.connection() == connection)
        };
        accounts.into_iter().filter(has_it).cloned().collect()
    }

    /// Whether an account has settings of its own for a channel.
    pub fn has_own(&self, account: &AccountId, channel: Channel) -> bool {
        let own = self.0.own.get(account);
        own.is_some_and(|own| own[channel].is_some())
    }

    /// All of a channel, the installation's first.
    pub fn all(&self, channel: Channel) -> impl Iterator<Item = &dyn Adapter> {
        let own = self
            .0
            .own
            .values()
            .filter_map(move |own| own[channel].as_deref());
        self.0.usual[channel].as_deref().into_iter().chain(own)
    }

    /// How the limit and the circuit of a sender are called: by its name, and where an account has a connection of its own also by that,
    /// since two brands may have one address at two servers.
    pub fn sender_key(&self, account: &AccountId, channel: Channel, sender: &str) -> String {
        let own = self
            .of(account, channel)
            .filter(|_| self.has_own(account, channel));
        match own.and_then(|adapter| self.foreign(channel, adapter)) {
            Some(connection) => format!("{sender} ({connection})"),
            None => sender.to_owned(),
        }
    }

    /// How the row of limits is called by which a provider has all of an account's senders on a channel wait.
    pub fn pause_key(&self, account: &AccountId, channel: Channel) -> String {
        self.sender_key(account, channel, channel.provider().as_str())
    }

    /// What a connection allows per second: the least that any account asks for which shares it.
    pub fn per_second(&self, account: &AccountId, channel: Channel) -> Option<f64> {
        let connection = self.of(account, channel)?.connection();
        let sharing = self.all(channel).filter(|a| a.connection() == connection);
        sharing
            .filter_map(Adapter::per_second)
            .min_by(f64::total_cmp)
    }

    /// The connection of an adapter, if it is not the installation's.
    fn foreign(&self, channel: Channel, adapter: &dyn Adapter) -> Option<String> {
        let usual = self.0.usual[channel].as_ref();
        let connection = adapter.connection();
        let is_usual = usual.is_some_and(|usual| usual.connection() == connection);
        (!is_usual).then_some(connection)
    }
}

/// The sender within the key of one: an address, a number or a name, none of which has a bracket in it.
pub fn sender_of(key: &str) -> &str {
    key.split_once(" (").map_or(key, |(sender, _)| sender)
}

fn connection_of(key: &str) -> Option<&str> {
    let (_, connection) = key.split_once(" (")?;
    connection.strip_suffix(')')
}

fn adapters(settings: &ChannelSettings, public_url: &Url) -> anyhow::Result<Adapters> {
    let mut adapters: Adapters = PerChannel::of(|_| None);
    for (channel, place) in adapters.iter_mut() {
        let adapter = settings.of(channel).map(|s| s.adapter(public_url));
        *place = adapter
            .transpose()
            .with_context(|| format!("setting up {}", profile(channel.provider()).name))?;
    }
    Ok(adapters)
}
