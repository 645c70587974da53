//! The channels there are: the one place where they are lined up.
//!
//! A new channel is a variant of [`Channel`] and of [`Provider`] with its row in `domain::channel`, a folder beside this file, and what the
//! compiler then asks for here.

use std::sync::Arc;

use anyhow::Context as _;
use url::Url;

use super::adapter::{Adapter, Configured, ProviderProfile};
use super::{smtp, twilio};
use crate::domain::channel::PerChannel;
use crate::domain::ids::{Channel, Provider};

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

    /// Whom mail comes from, as the settings have it.
    pub fn sender_of_mail(&self) -> Option<String> {
        let smtp = self.smtp.as_ref()?;
        Some(smtp.from.address().to_owned())
    }

    /// The channels that are configured.
    pub fn channels(&self) -> Vec<Channel> {
        let all = Channel::ALL.into_iter();
        all.filter(|channel| self.has(*channel)).collect()
    }
}

/// An adapter for each channel that is configured.
#[derive(Clone)]
pub struct Channels(Arc<PerChannel<Option<Arc<dyn Adapter>>>>);

impl Channels {
    /// None of them connects yet. Needs a tokio runtime.
    pub fn new(settings: &ChannelSettings, public_url: &Url) -> anyhow::Result<Self> {
        let mut adapters: PerChannel<Option<Arc<dyn Adapter>>> = PerChannel::of(|_| None);
        for (channel, place) in adapters.iter_mut() {
            let adapter = settings.of(channel).map(|s| s.adapter(public_url));
            *place = adapter
                .transpose()
                .with_context(|| format!("setting up {}", profile(channel.provider()).name))?;
        }
        Ok(Self(Arc::new(adapters)))
    }

    /// `None`: the channel is not configured.
    pub fn get(&self, channel: Channel) -> Option<&dyn Adapter> {
        self.0[channel].as_deref()
    }
}
