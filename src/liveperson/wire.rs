//! LivePerson's JSON, field for field, as far as it is needed. What is not named here is skipped without being read: above all
//! `messageData`, the text of a message.

#![expect(clippy::struct_field_names, reason = "the names are LivePerson's")]

use serde::Deserialize;

use super::tolerant::{Int, Object, Text, TolerantFlag, TolerantList};

#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Metadata {
    pub count: Int,
    #[serde(rename = "shardsStatusResult")]
    pub shards: Object<Shards>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Shards {
    pub partial_result: TolerantFlag,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct WireRecord {
    pub info: Object<Info>,
    #[serde(alias = "messageRecord")]
    pub message_records: TolerantList<WireMessage>,
    #[serde(alias = "messageStatus")]
    pub message_statuses: TolerantList<WireStatus>,
    #[serde(alias = "agentParticipant")]
    pub agent_participants: TolerantList<WireAgent>,
    #[serde(alias = "consumerParticipant")]
    pub consumer_participants: TolerantList<Consumer>,
    #[serde(alias = "dialog")]
    pub dialogs: TolerantList<WireDialog>,
    pub sdes: Object<Sdes>,
    pub un_auth_sdes: Object<Sdes>,
}

/// Enough of a record to name it when the rest cannot be read.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Name {
    pub info: Object<NameInfo>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NameInfo {
    pub conversation_id: Text,
    pub latest_skill_id: Int,
}

/// Times come twice: `…L` in milliseconds, and as text such as `2016-08-29 14:30:24.565+0000`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Info {
    pub conversation_id: Text,
    pub status: Text,
    pub start_time_l: Int,
    pub start_time: Text,
    pub end_time_l: Int,
    pub end_time: Text,
    /// The end without regard to a survey, which moves `endTime` on.
    pub conversation_end_time_l: Int,
    pub conversation_end_time: Text,
    pub latest_skill_id: Int,
    pub latest_skill_name: Text,
    pub latest_queue_state: Text,
    pub is_partial: TolerantFlag,
    pub is_truncated: TolerantFlag,
    pub time_zone: Text,
    pub language: Text,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct WireMessage {
    pub message_id: Text,
    pub seq: Int,
    pub dialog_id: Text,
    pub participant_id: Text,
    pub sent_by: Text,
    pub audience: Text,
    pub time_l: Int,
    pub time: Text,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct WireStatus {
    pub message_id: Text,
    pub seq: Int,
    pub dialog_id: Text,
    pub message_delivery_status: Text,
    pub participant_id: Text,
    pub participant_type: Text,
    pub time_l: Int,
    pub time: Text,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct WireAgent {
    pub agent_id: Text,
    pub agent_nickname: Text,
    /// 0, 1, 2: System, Human, Bot.
    pub user_type: Int,
    pub user_type_name: Text,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Consumer {
    pub participant_id: Text,
    pub first_name: Text,
    pub email: Text,
    pub phone: Text,
    pub join_time_l: Int,
    pub join_time: Text,
    pub time_l: Int,
    pub time: Text,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct WireDialog {
    pub dialog_id: Text,
    pub status: Text,
    pub dialog_type: Text,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Sdes {
    pub events: TolerantList<WireEvent>,
}

/// An engagement attribute ("SDE"). The key that is present tells its type.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct WireEvent {
    pub server_time_stamp: Int,
    pub is_authenticated: TolerantFlag,
    pub personal_info: Object<PersonalInfo>,
    pub customer_info: Object<CustomerInfo>,
}

/// Usually an envelope around an object of the same name; one client has seen it flat.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PersonalInfo {
    pub server_time_stamp: Int,
    pub personal_info: Object<Box<PersonalInfo>>,
    pub name: Text,
    pub contacts: TolerantList<PersonalContact>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PersonalContact {
    pub personal_contact: Object<Box<PersonalContact>>,
    pub email: Text,
    pub phone: Text,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CustomerInfo {
    pub server_time_stamp: Int,
    pub customer_info: Object<Box<CustomerInfo>>,
    pub customer_id: Text,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub struct WireSkill {
    pub id: Int,
    pub name: Text,
    pub deleted: TolerantFlag,
}
