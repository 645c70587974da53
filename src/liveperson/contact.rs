//! How the consumer can be reached, and who they are to the brand, out of LivePerson's three places for it. Unchecked: which
//! address to believe and whether it is one at all is the domain's decision.

use std::cmp::Reverse;

use super::tolerant::Text;
use super::wire;
use crate::domain::contact::{ContactSources, RawContact};

/// More addresses of one consumer from one source are not kept.
const MAX_CONTACTS: usize = 20;

pub struct ConsumerIdentity {
    /// Only from authenticated data: it decides whose badge is shown.
    pub customer_id: Option<String>,
    pub contact: ContactSources,
}

pub fn gather(
    sdes: Vec<wire::WireEvent>,
    un_auth_sdes: Vec<wire::WireEvent>,
    mut participants: Vec<wire::Consumer>,
) -> ConsumerIdentity {
    // An event that says of itself that nobody authenticated it is not believed, wherever it stands.
    let (mut authenticated, mut unauthenticated): (Vec<_>, Vec<_>) = sdes
        .into_iter()
        .partition(|event| event.is_authenticated.0 != Some(false));
    unauthenticated.extend(un_auth_sdes);
    authenticated.sort_by_key(|event| Reverse(event.at()));
    unauthenticated.sort_by_key(|event| Reverse(event.at()));
    participants.sort_by_key(|consumer| Reverse(consumer.joined_at()));

    let customer_id = authenticated.iter().find_map(wire::WireEvent::customer_id);
    ConsumerIdentity {
        contact: ContactSources {
            #[cfg(feature = "test-channel")]
            customer_id: customer_id.clone(),
            authenticated: bounded(
                authenticated
                    .into_iter()
                    .flat_map(wire::WireEvent::contacts),
            ),
            participants: bounded(participants.into_iter().map(|consumer| RawContact {
                first_name: word(consumer.first_name),
                email: word(consumer.email),
                phone: word(consumer.phone),
            })),
            unauthenticated: bounded(
                unauthenticated
                    .into_iter()
                    .flat_map(wire::WireEvent::contacts),
            ),
        },
        customer_id,
    }
}

fn bounded(contacts: impl Iterator<Item = RawContact>) -> Vec<RawContact> {
    contacts
        .filter(|c| c.first_name.is_some() || c.email.is_some() || c.phone.is_some())
        .take(MAX_CONTACTS)
        .collect()
}

/// Here "0" and "-1" mean nothing, too.
fn word(text: Text) -> Option<String> {
    text.0.filter(|text| text != "0" && text != "-1")
}

impl wire::WireEvent {
    /// In milliseconds; `None` sorts as oldest.
    fn at(&self) -> Option<i64> {
        let personal = || self.personal_info.0.as_ref()?.server_time_stamp.0;
        let customer = || self.customer_info.0.as_ref()?.server_time_stamp.0;
        self.server_time_stamp.0.or_else(personal).or_else(customer)
    }

    fn customer_id(&self) -> Option<String> {
        let mut info = self.customer_info.0.as_ref()?;
        while let Some(inner) = &info.customer_info.0 {
            info = inner;
        }
        word(info.customer_id.clone())
    }

    fn contacts(self) -> Vec<RawContact> {
        let Some(mut info) = self.personal_info.0 else {
            return Vec::new();
        };
        while let Some(inner) = info.personal_info.0 {
            info = *inner;
        }
        let first_name = word(info.name);
        let mut contacts = info.contacts.items.unwrap_or_default();
        if contacts.is_empty() {
            // The name is worth keeping: an address may come from elsewhere.
            contacts.push(wire::PersonalContact::default());
        }
        contacts
            .into_iter()
            .map(|contact| contact.raw(first_name.clone()))
            .collect()
    }
}

impl wire::PersonalContact {
    fn raw(mut self, first_name: Option<String>) -> RawContact {
        while let Some(inner) = self.personal_contact.0 {
            self = *inner;
        }
        RawContact {
            first_name,
            email: word(self.email),
            phone: word(self.phone),
        }
    }
}
