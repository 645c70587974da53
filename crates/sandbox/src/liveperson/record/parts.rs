//! The parts of a record that follow its head, each as the documentation shows it.

use serde_json::{Map, Value, json};

use super::{Method, View, close_reason, message_id, party, time};
use crate::world::AgentKind;
use crate::world::conversation::{
    About, Attributes, Consumer, Content as Said, Detail, Dialog, Entry, Joined, Message, Party,
};

pub(super) fn messages(view: &View<'_>, entry: &Entry, detail: &Detail) -> Value {
    let visible = detail
        .messages
        .iter()
        .filter(|message| message.at <= view.as_of);
    visible
        .map(|message| {
            let (kind, data) = said(view, message);
            let (participant, sent_by) = party(detail, &message.from);
            json!({
                "type": kind, "messageData": data,
                "messageId": message_id(detail, message), "seq": message.seq,
                "audience": if message.private { "AGENTS_AND_MANAGERS" } else { "ALL" },
                "dialogId": detail.dialogs[message.dialog].id,
                "participantId": participant, "sentBy": sent_by,
                "time": time(message.at), "timeL": message.at,
                "source": &*entry.source, "integrationSource": &*entry.source, "device": "DESKTOP",
            })
        })
        .collect()
}

fn said(view: &View<'_>, message: &Message) -> (&'static str, Value) {
    match &message.content {
        Said::Text(text) => ("TEXT_PLAIN", json!({"msg": {"text": text}})),
        Said::File { caption } => {
            let path = format!(
                "/v1/AUTH_async-images/{}/{}.PDF",
                view.account.id, message.at
            );
            let file = json!({"relativePath": path, "fileType": "PDF", "caption": caption});
            ("HOSTED_FILE", json!({"file": file}))
        }
        Said::Rich { text } => {
            // JSON as a string, as LivePerson sends it.
            let elements = json!([{"type": "text", "text": text, "tooltip": text}]);
            let content = json!({"type": "vertical", "elements": elements}).to_string();
            ("RICH_CONTENT", json!({"richContent": {"content": content}}))
        }
    }
}

pub(super) fn statuses(view: &View<'_>, detail: &Detail) -> Option<Value> {
    let visible = detail
        .receipts
        .iter()
        .filter(|receipt| receipt.at <= view.receipts_as_of);
    let list: Vec<_> = visible
        .map(|receipt| {
            let message = &detail.messages[receipt.message];
            let (participant, kind) = party(detail, &receipt.by);
            json!({
                "messageId": message_id(detail, message), "seq": message.seq,
                "dialogId": detail.dialogs[message.dialog].id,
                "time": time(receipt.at), "timeL": receipt.at,
                "participantId": participant, "participantType": kind,
                "messageDeliveryStatus": receipt.status,
            })
        })
        .collect();
    (!list.is_empty() || !view.state.quirks.omit_empty_statuses).then_some(Value::Array(list))
}

pub(super) fn agents(view: &View<'_>, detail: &Detail) -> Value {
    let agent = |joined: &Joined| {
        let agent = &joined.agent;
        let (number, name) = match agent.kind {
            AgentKind::System => ("0", "System"),
            AgentKind::Human => ("1", "Human"),
            AgentKind::Bot => ("2", "Bot"),
        };
        json!({
            "agentId": agent.id, "agentFullName": agent.full_name, "agentNickname": agent.nickname,
            "agentLoginName": agent.login, "agentDeleted": false,
            "userType": number, "userTypeName": name,
            "role": agent.role, "permission": agent.permission,
            "agentGroupId": agent.group.0, "agentGroupName": agent.group.1,
            "time": time(joined.at), "timeL": joined.at,
            "dialogId": detail.dialogs[joined.dialog].id,
        })
    };
    detail
        .agents
        .iter()
        .filter(|joined| joined.at <= view.as_of)
        .map(agent)
        .collect()
}

pub(super) fn consumers(view: &View<'_>, detail: &Detail) -> Value {
    let consumer = |consumer: &Consumer| {
        let or = |value: &Option<String>, placeholder: &str| {
            value.clone().unwrap_or_else(|| placeholder.to_owned())
        };
        let mut entry = json!({
            "participantId": consumer.id, "token": "undefined", "avatarURL": "undefined",
            "email": or(&consumer.email, "undefined"), "phone": or(&consumer.phone, "0"),
            "consumerName": or(&consumer.first_name, "Visitor"),
            "time": time(consumer.joined), "timeL": consumer.joined,
            "joinTime": time(consumer.joined), "joinTimeL": consumer.joined,
            "dialogId": detail.dialogs[0].id,
        });
        if let Some(name) = &consumer.first_name {
            entry["firstName"] = json!(name);
        }
        entry
    };
    detail
        .consumers
        .iter()
        .filter(|c| c.joined <= view.as_of)
        .map(consumer)
        .collect()
}

pub(super) fn dialogs(view: &View<'_>, detail: &Detail) -> Value {
    let skill = detail.key_at(view.as_of).skill;
    let dialog = |dialog: &Dialog| {
        let closed = dialog.closed.filter(|(at, _)| *at <= view.as_of);
        let mut entry = json!({
            "dialogId": dialog.id, "status": if closed.is_some() { "CLOSE" } else { "OPEN" },
            "dialogType": if dialog.survey { "POST_SURVEY" } else { "MAIN" },
            "dialogChannelType": "MESSAGING",
            "startTime": time(dialog.opened), "startTimeL": dialog.opened,
            "skillId": skill, "skillName": view.account.skill_name(skill),
        });
        if let Some((at, by)) = closed {
            let (who, why) = close_reason(by);
            entry["endTime"] = json!(time(at));
            entry["endTimeL"] = json!(at);
            entry["closeReason"] = json!(who);
            entry["closeReasonDescription"] = json!(why);
        }
        entry
    };
    detail
        .dialogs
        .iter()
        .filter(|d| d.opened <= view.as_of)
        .map(dialog)
        .collect()
}

/// When the brand owes an answer; −1 while it waits for the consumer.
pub(super) fn response_time(view: &View<'_>, detail: &Detail) -> Value {
    let speaks = |m: &&Message| match &m.from {
        Party::Consumer(_) => true,
        Party::Agent(agent) => agent.kind != AgentKind::System && !m.private,
    };
    let said = detail
        .messages
        .iter()
        .filter(|m| m.at <= view.as_of && m.dialog == 0);
    let last = said.filter(speaks).max_by_key(|m| (m.at, m.seq));
    let due = match last {
        Some(Message {
            from: Party::Consumer(_),
            at,
            ..
        }) => at + 3_600_000,
        _ => -1,
    };
    json!({"latestEffectiveResponseDueTime": due, "configuredResponseTime": 3600})
}

pub(super) fn attributes(view: &View<'_>, detail: &Detail, authenticated: bool) -> Value {
    let mut visible: Vec<_> = detail
        .attributes
        .iter()
        .filter(|a| a.authenticated == authenticated && a.at <= view.as_of)
        .collect();
    if view.method != Method::ById {
        // Only a look-up by id returns every update; a search keeps the last of each kind.
        let same = |one: &Attributes, two: &Attributes| {
            std::mem::discriminant(&one.about) == std::mem::discriminant(&two.about)
        };
        let all = visible.clone();
        visible.retain(|one| !all.iter().any(|two| same(one, two) && two.at > one.at));
    }
    let events: Vec<_> = visible
        .into_iter()
        .map(|one| attribute(view, one))
        .collect();
    json!({"events": events})
}

fn attribute(view: &View<'_>, attributes: &Attributes) -> Value {
    let stamp = view.stamp(attributes.at);
    let (kind, field, about) = match &attributes.about {
        About::Customer { id, remark } => {
            let mut about = json!({"customerId": id});
            if let Some(remark) = remark {
                about["customerStatus"] = json!(remark);
            }
            ("CUSTOMER_INFO", "customerInfo", about)
        }
        About::Person {
            first_name,
            last_name,
            email,
            phone,
        } => {
            let given = |pairs: &[(&str, &Option<String>)]| -> Map<String, Value> {
                let given = pairs
                    .iter()
                    .filter_map(|(name, v)| v.as_ref().map(|v| (*name, v)));
                given
                    .map(|(name, value)| (name.to_owned(), json!(value)))
                    .collect()
            };
            let mut about = given(&[("name", first_name), ("surname", last_name)]);
            let contact = given(&[("email", email), ("phone", phone)]);
            about.insert("contacts".into(), json!([{"personalContact": contact}]));
            ("PERSONAL_INFO", "personalInfo", Value::Object(about))
        }
    };
    let mut inner = json!({"serverTimeStamp": stamp, "originalTimeStamp": stamp});
    inner[field] = about;
    let mut event = json!({"serverTimeStamp": stamp, "sdeType": kind});
    if !attributes.authenticated {
        inner["isAuthenticated"] = json!(false);
        event["isAuthenticated"] = json!(false);
    }
    event[field] = inner;
    event
}

pub(super) fn transfers(view: &View<'_>, detail: &Detail) -> Value {
    let visible = detail
        .transfers
        .iter()
        .filter(|transfer| transfer.at <= view.as_of);
    visible
        .map(|transfer| {
            let by = transfer.by.as_ref().map_or("null", |agent| agent.id);
            json!({
                "timeL": transfer.at, "time": time(transfer.at), "assignedAgentId": "null",
                "targetSkillId": transfer.to, "targetSkillName": view.account.skill_name(transfer.to),
                "sourceSkillId": transfer.from, "sourceSkillName": view.account.skill_name(transfer.from),
                "reason": "Skill", "by": by, "sourceAgentId": by,
                "dialogId": detail.dialogs[0].id,
            })
        })
        .collect()
}
