use std::collections::BTreeSet;
use std::net::SocketAddr;

use chrono::{DateTime, TimeDelta};
use serde_json::{Value, json};

use super::*;
use crate::clock::WorldClock;
use crate::faults::{Fault, FaultRule, FaultSpan};
use crate::world::{
    Action, CUSTOMER_CARE, ORDERS, Partial, Person, Quirks, Shape, Skill, Visibility,
};

const ACCOUNT: &str = "12345678";
const NOW: i64 = 1_773_144_000_000;
const MINUTE: i64 = 60_000;

const ALL_PARTS: [&str; 7] = [
    "messageRecords",
    "messageStatuses",
    "agentParticipants",
    "consumerParticipants",
    "dialogs",
    "responseTime",
    "sdes",
];

/// A LivePerson on a socket, and a client that knows its paths.
struct Stage {
    world: World,
    faults: Faults,
    address: SocketAddr,
    http: reqwest::Client,
    token: String,
}

impl Stage {
    async fn set() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let clock = WorldClock::manual(DateTime::from_timestamp_millis(NOW).unwrap());
        let world = World::new(clock, 7, &[ACCOUNT, "87654321"]);
        let faults = Faults::new(7);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = router(world.clone(), faults.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut stage = Self {
            world,
            faults,
            address,
            http,
            token: String::new(),
        };
        stage.token = stage.fresh_token().await["access_token"]
            .as_str()
            .unwrap()
            .to_owned();
        stage
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn fresh_token(&self) -> Value {
        let keys = self.world.credentials(ACCOUNT).unwrap();
        let form = [
            ("client_id", keys.client_id.as_str()),
            ("client_secret", keys.client_secret.as_str()),
            ("grant_type", "client_credentials"),
        ];
        let path = format!("/sentinel/api/v2/account/{ACCOUNT}/app/token");
        self.http
            .post(self.url(&path))
            .form(&form)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap()
    }

    fn post(&self, method: &str, query: &str, body: &Value) -> reqwest::RequestBuilder {
        let path =
            format!("/messaging_history/api/account/{ACCOUNT}/conversations/{method}?{query}");
        self.http
            .post(self.url(&path))
            .bearer_auth(&self.token)
            .json(body)
    }

    async fn asked(&self, method: &str, query: &str, body: &Value) -> Value {
        let answer = self.post(method, query, body).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
        answer.json().await.unwrap()
    }

    /// The scan of the product.
    async fn scan(&self, skill: i64, offset: usize) -> Value {
        let query = format!("source=test&v=2&sort=start%3Aasc&limit=100&offset={offset}");
        self.asked("search", &query, &scan_body(skill)).await
    }

    async fn found(&self, skill: i64) -> Vec<String> {
        ids(&self.scan(skill, 0).await)
    }

    async fn by_id(&self, id: &str) -> Value {
        let body = json!({"conversationIds": [id], "contentToRetrieve": ALL_PARTS});
        self.asked("conversation/search", "source=test&v=2", &body)
            .await
    }

    fn pass(&self, minutes: i64) {
        self.world.clock().advance(TimeDelta::minutes(minutes));
    }
}

fn scan_body(skill: i64) -> Value {
    json!({
        "start": {"from": NOW - 89 * 86_400_000, "to": NOW},
        "status": ["OPEN"], "source": ["SHARK"], "latestSkillIds": [skill.to_string()],
        "contentToRetrieve": ALL_PARTS,
    })
}

fn records(page: &Value) -> &Vec<Value> {
    page["conversationHistoryRecords"].as_array().unwrap()
}

fn ids(page: &Value) -> Vec<String> {
    let id = |record: &Value| {
        record["info"]["conversationId"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    records(page).iter().map(id).collect()
}

/// One conversation with an unread message.
fn unread(world: &World) -> String {
    let ago = |minutes| world.minutes_from_now(-f64::from(minutes));
    let opening = ago(30)
        .conversation(ACCOUNT, CUSTOMER_CARE)
        .consumer("Ana", "Silva");
    let opening = opening
        .customer_id("CUST-100231")
        .email("ana.silva@example.com");
    let id = opening
        .phone("+1 202-555-0143")
        .time_zone("America/New_York")
        .language("en-US")
        .start();
    ago(30).consumer_says(&id, "Hi, where is my order 100231?");
    ago(20).agent_says(&id, "Let me check.");
    ago(19).consumer_accepts(&id);
    ago(18).consumer_reads(&id);
    ago(10).agent_says(&id, "It leaves the warehouse today.");
    id
}

/// Every path to a field with the kind of its value, list positions left out.
fn shape(value: &Value, path: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            fields
                .iter()
                .for_each(|(name, field)| shape(field, &format!("{path}.{name}"), into));
        }
        Value::Array(items) => items
            .iter()
            .for_each(|item| shape(item, &format!("{path}[]"), into)),
        Value::String(_) => drop(into.insert(format!("{path}: string"))),
        Value::Number(_) => drop(into.insert(format!("{path}: number"))),
        Value::Bool(_) => drop(into.insert(format!("{path}: bool"))),
        Value::Null => drop(into.insert(format!("{path}: null"))),
    }
}

fn shape_of(value: &Value) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    shape(value, "", &mut paths);
    paths
}

fn sample(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[tokio::test]
async fn a_scanned_record_has_the_shape_of_the_sample() {
    let stage = Stage::set().await;
    unread(&stage.world);
    let sample = sample(include_str!(
        "../../../../tests/fixtures/liveperson/search_page.json"
    ));
    let page = stage.scan(CUSTOMER_CARE, 0).await;
    assert_eq!(shape_of(&page["_metadata"]), shape_of(&sample["_metadata"]));
    let (ours, theirs) = (
        shape_of(&records(&page)[0]),
        shape_of(&sample["conversationHistoryRecords"][0]),
    );
    let only_theirs: Vec<_> = theirs.difference(&ours).collect();
    assert_eq!(
        only_theirs,
        [".sdes.events[].customerInfo.customerInfo.customerType: string"]
    );
    assert_eq!(
        ours.difference(&theirs).collect::<Vec<_>>(),
        Vec::<&String>::new()
    );
}

#[tokio::test]
async fn the_first_version_writes_time_stamps_as_strings_and_its_default_content() {
    let stage = Stage::set().await;
    let id = unread(&stage.world);
    let body = json!({"conversationId": id});
    let page = stage
        .asked("conversation/search", "source=test", &body)
        .await;
    let text = include_str!("../../../../tests/fixtures/liveperson/by_id_v1.json");
    let sample = sample(text);
    let names = |record: &Value| {
        record
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    let (ours, theirs) = (&records(&page)[0], &sample["conversationHistoryRecords"][0]);
    assert_eq!(names(ours), names(theirs));
    assert_eq!(shape_of(&ours["sdes"]), shape_of(&theirs["sdes"]));
}

#[tokio::test]
async fn reading_answering_and_closing_show() {
    let stage = Stage::set().await;
    let id = unread(&stage.world);
    let last_status = |page: &Value| {
        records(page)[0]["messageStatuses"]
            .as_array()
            .unwrap()
            .last()
            .unwrap()
            .clone()
    };
    let agent_message = records(&stage.by_id(&id).await)[0]["messageRecords"][2].clone();
    assert_eq!(agent_message["sentBy"], "Agent");
    // Two receipts of the consumer used up two numbers.
    assert_eq!(agent_message["seq"], 5);
    assert!(stage.world.was_unread_at(&id, NOW));

    stage.world.consumer_reads(&id);
    let read = last_status(&stage.by_id(&id).await);
    assert_eq!(read["messageDeliveryStatus"], "READ");
    assert_eq!(read["participantType"], "Consumer");
    assert_eq!(read["messageId"], agent_message["messageId"]);
    assert_eq!(stage.world.was_read_at(&id), Some(NOW));
    assert!(!stage.world.was_unread_at(&id, NOW));

    stage.pass(1);
    stage.world.close(&id);
    assert_eq!(stage.found(CUSTOMER_CARE).await, Vec::<String>::new());
    let info = records(&stage.by_id(&id).await)[0]["info"].clone();
    assert_eq!(
        (&info["status"], &info["endTimeL"]),
        (&json!("CLOSE"), &json!(NOW + MINUTE))
    );
    assert_eq!(stage.world.closed_at(&id), Some(NOW + MINUTE));
}

#[tokio::test]
async fn a_survey_is_a_dialog_of_its_own_that_keeps_only_the_whole_open() {
    let stage = Stage::set().await;
    let id = unread(&stage.world);
    stage.world.open_survey(&id);
    let record = records(&stage.by_id(&id).await)[0].clone();
    assert_eq!(
        (
            &record["info"]["status"],
            &record["info"]["fullDialogStatus"]
        ),
        (&json!("CLOSE"), &json!("OPEN"))
    );
    let kinds: Vec<_> = record["dialogs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| (&d["dialogType"], &d["status"]))
        .collect();
    assert_eq!(
        kinds,
        [
            (&json!("MAIN"), &json!("CLOSE")),
            (&json!("POST_SURVEY"), &json!("OPEN"))
        ]
    );
    let question = record["messageRecords"].as_array().unwrap().last().unwrap();
    assert_eq!(question["seq"], 0, "seq restarts in every dialog");
    stage.world.set_quirks(Quirks {
        survey_keeps_open: true,
        ..Quirks::default()
    });
    assert_eq!(stage.found(CUSTOMER_CARE).await, [id]);
}

#[tokio::test]
async fn notes_bots_system_managers_and_a_second_id_look_as_in_the_samples() {
    let stage = Stage::set().await;
    let id = stage.world.conversation(ACCOUNT, ORDERS).start();
    let world = &stage.world;
    world.consumer_says(&id, "Track my order");
    world.system_says(&id, "An agent will be with you shortly.");
    let info = |page: &Value| records(page)[0]["info"].clone();
    assert_eq!(info(&stage.by_id(&id).await)["latestAgentId"], "null");
    assert_eq!(
        info(&stage.by_id(&id).await)["latestQueueState"],
        "IN_QUEUE"
    );
    world.bot_sends_rich_content(&id, "Order 100237");
    world.private_note(&id, "Approved above limit.");
    world.manager_reads(&id);
    world.step_up(
        &id,
        Person {
            first_name: Some("Iris".into()),
            email: Some("iris@example.com".into()),
            ..Person::default()
        },
    );
    world.consumer_reads(&id);
    let record = records(&stage.by_id(&id).await)[0].clone();
    let kinds: Vec<_> = record["agentParticipants"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| a["userTypeName"].clone())
        .collect();
    assert_eq!(kinds, ["System", "Bot", "Human"]);
    assert_eq!(record["messageRecords"][2]["type"], "RICH_CONTENT");
    assert_eq!(
        record["messageRecords"][3]["audience"],
        "AGENTS_AND_MANAGERS"
    );
    assert_eq!(record["consumerParticipants"].as_array().unwrap().len(), 2);
    assert_eq!(record["info"]["wasStepUp"], true);
    let reader = &record["messageStatuses"]
        .as_array()
        .unwrap()
        .last()
        .unwrap()["participantId"];
    assert_eq!(reader, &record["consumerParticipants"][1]["participantId"]);
    for consumer in world.consumer_ids(&id) {
        let body = json!({"consumer": consumer, "status": ["OPEN"]});
        assert_eq!(
            ids(&stage.asked("consumer/search", "source=t", &body).await),
            std::slice::from_ref(&id)
        );
    }
}

#[tokio::test]
async fn unverified_addresses_are_shown_by_the_second_version_only() {
    let stage = Stage::set().await;
    let person = Person {
        unverified_email: Some("someone.else@example.com".into()),
        participant_email: Some("jo@example.com".into()),
        ..Person::default()
    };
    let id = stage
        .world
        .conversation(ACCOUNT, ORDERS)
        .person(person)
        .start();
    let body =
        json!({"conversationId": id, "contentToRetrieve": ["unAuthSdes", "consumerParticipants"]});
    let one = stage
        .asked("conversation/search", "source=t&v=1", &body)
        .await;
    assert!(records(&one)[0].get("unAuthSdes").is_none());
    let two = stage
        .asked("conversation/search", "source=t&v=2", &body)
        .await;
    assert_eq!(
        records(&two)[0]["unAuthSdes"]["events"][0]["isAuthenticated"],
        false
    );
    assert_eq!(
        records(&two)[0]["consumerParticipants"][0]["email"],
        "jo@example.com"
    );
}

#[tokio::test]
async fn a_search_filters_by_skill_source_queue_and_update() {
    let stage = Stage::set().await;
    let id = unread(&stage.world);
    stage
        .world
        .conversation(ACCOUNT, CUSTOMER_CARE)
        .source("WhatsApp Business")
        .start();
    assert_eq!(stage.found(CUSTOMER_CARE).await, std::slice::from_ref(&id));
    stage.world.transfer(&id, ORDERS);
    assert_eq!(stage.found(CUSTOMER_CARE).await, Vec::<String>::new());
    assert_eq!(stage.found(ORDERS).await, std::slice::from_ref(&id));

    let with = |name: &str, value: Value| {
        let mut body = json!({"start": {"from": NOW - MINUTE * 60, "to": -1}, "source": ["SHARK"]});
        body[name] = value;
        body
    };
    let ever = with("skillIds", json!([CUSTOMER_CARE]));
    assert_eq!(
        ids(&stage.asked("search", "source=t", &ever).await),
        std::slice::from_ref(&id)
    );
    let active = with("latestConversationQueueState", json!("ACTIVE"));
    assert_eq!(
        ids(&stage.asked("search", "source=t", &active).await),
        Vec::<String>::new()
    );
    stage.pass(30);
    let later = with("latestUpdateTime", json!({"from": NOW + 30 * MINUTE}));
    assert_eq!(
        ids(&stage.asked("search", "source=t", &later).await),
        Vec::<String>::new()
    );
    let rounded = with("latestUpdateTime", json!({"from": NOW + 9 * MINUTE}));
    assert_eq!(
        ids(&stage.asked("search", "source=t", &rounded).await),
        [id]
    );
}

#[tokio::test]
async fn what_counts_as_an_update_is_a_switch() {
    let stage = Stage::set().await;
    let chats: Vec<String> = (0..200).map(|_| unread(&stage.world)).collect();
    stage.pass(30);
    stage.world.consumer_reads(&chats[0]);
    for chat in &chats[1..] {
        stage.world.agent_says(chat, "Are you there?");
    }
    stage.pass(1);
    let listed = async |reads_are_updates, missed_updates| {
        stage.world.set_quirks(Quirks {
            reads_are_updates,
            missed_updates,
            ..Quirks::default()
        });
        let mut body = scan_body(CUSTOMER_CARE);
        body["latestUpdateTime"] = json!({"from": NOW + 30 * MINUTE});
        let answer = stage.asked("search", "source=t&limit=100", &body).await;
        answer["_metadata"]["count"].as_u64().unwrap()
    };
    assert_eq!(listed(false, 0.0).await, 199);
    assert_eq!(listed(true, 0.0).await, 200);
    assert_eq!(listed(false, 1.0).await, 0);
    let half = listed(false, 0.5).await;
    assert!((60..140).contains(&half), "{half}");
    assert_eq!(listed(false, 0.5).await, half, "always the same ones");
}

#[tokio::test]
async fn what_liveperson_refuses_is_refused() {
    let stage = Stage::set().await;
    let status = async |method: &str, query: &str, body: Value| {
        stage
            .post(method, query, &body)
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    assert_eq!(status("search", "v=2", scan_body(ORDERS)).await, 400);
    assert_eq!(
        status("search", "source=t", json!({"status": ["OPEN"]})).await,
        400
    );
    assert_eq!(
        status("search", "source=t&limit=101", scan_body(ORDERS)).await,
        400
    );
    let many: Vec<_> = (0..101).map(|n| n.to_string()).collect();
    assert_eq!(
        status(
            "conversation/search",
            "source=t",
            json!({"conversationIds": many})
        )
        .await,
        400
    );
    assert_eq!(
        status("consumer/search", "source=t", json!({"consumer": "x"})).await,
        400
    );
    let unknown = json!({"conversationIds": ["44eefca3-3b86-5eb2-b379-3bda9ddcfb50", "no id"]});
    assert_eq!(
        records(
            &stage
                .asked("conversation/search", "source=t", &unknown)
                .await
        )
        .len(),
        0
    );
}

#[tokio::test]
async fn pages_go_through_a_large_skill_in_order_of_start() {
    let stage = Stage::set().await;
    let shape = Shape {
        started_at: NOW - 86_400_000,
        every_ms: 10,
        answered_after_ms: MINUTE,
        email: true,
        phone: true,
    };
    let made = stage.world.populate(ACCOUNT, ORDERS, 250, shape).unwrap();
    unread(&stage.world);
    let mut seen = Vec::new();
    for offset in [0, 100, 200, 300] {
        let page = stage.scan(ORDERS, offset).await;
        assert_eq!(page["_metadata"]["count"], 250);
        seen.extend(ids(&page));
    }
    assert_eq!(seen, made);
    // One made in bulk is as real as the others.
    stage.world.consumer_reads(&made[3]);
    assert_eq!(stage.world.was_read_at(&made[3]), Some(NOW));
    let consumer = stage.world.consumer_ids(&made[4]).remove(0);
    let body = json!({"consumer": consumer, "status": ["OPEN"]});
    assert_eq!(
        ids(&stage.asked("consumer/search", "source=t", &body).await),
        std::slice::from_ref(&made[4])
    );
}

#[tokio::test]
async fn events_and_receipts_appear_late_when_told_to() {
    let stage = Stage::set().await;
    stage.world.set_visibility(Visibility {
        events_ms: 20_000,
        receipts_ms: 50_000,
    });
    let id = unread(&stage.world);
    let seen = async || {
        let record = records(&stage.by_id(&id).await)[0].clone();
        let len = |name: &str| record[name].as_array().unwrap().len();
        (len("messageRecords"), len("messageStatuses"))
    };
    let before = seen().await;
    stage.world.agent_says(&id, "One more thing.");
    stage.world.consumer_reads(&id);
    assert_eq!(seen().await, before);
    stage.world.clock().advance(TimeDelta::seconds(20));
    assert_eq!(seen().await, (before.0 + 1, before.1));
    stage.world.clock().advance(TimeDelta::seconds(30));
    // The agent's last two messages.
    assert_eq!(seen().await, (before.0 + 1, before.1 + 2));
    stage.world.close(&id);
    assert_eq!(
        stage.found(CUSTOMER_CARE).await,
        std::slice::from_ref(&id),
        "the closing is not visible yet"
    );
    stage.pass(1);
    assert_eq!(stage.found(CUSTOMER_CARE).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_search_for_several_skills_finds_the_conversations_of_each_in_one_order() {
    let stage = Stage::set().await;
    let mut expected = Vec::new();
    for skill in [ORDERS, CUSTOMER_CARE, ORDERS] {
        let conversation = stage.world.conversation(ACCOUNT, skill).start();
        stage.world.consumer_says(&conversation, "Hello?");
        expected.push(conversation);
    }
    let search = async |skills: &[i64]| {
        let mut body = scan_body(ORDERS);
        body["latestSkillIds"] = skills.iter().map(i64::to_string).collect();
        let query = "source=test&v=2&sort=start%3Aasc&limit=100&offset=0";
        stage.asked("search", query, &body).await
    };
    stage.pass(2);
    assert_eq!(ids(&search(&[CUSTOMER_CARE, ORDERS]).await), expected);
    assert_eq!(ids(&search(&[CUSTOMER_CARE, -1]).await), expected[1..2]);
    assert_eq!(ids(&search(&[]).await), Vec::<String>::new());
}

#[tokio::test]
async fn truncated_records_say_so_and_lack_their_receipts() {
    let stage = Stage::set().await;
    let (cut, whole_by_id) = (unread(&stage.world), unread(&stage.world));
    stage.world.partial(&cut, Partial::TruncatedAlways);
    stage
        .world
        .partial(&whole_by_id, Partial::TruncatedInSearch);
    stage.world.consumer_reads(&cut);
    stage.world.consumer_reads(&whole_by_id);
    for (id, truncated_by_id) in [(&cut, true), (&whole_by_id, false)] {
        let page = stage.scan(CUSTOMER_CARE, 0).await;
        let found = records(&page)
            .iter()
            .find(|r| r["info"]["conversationId"] == **id);
        let found = found.unwrap();
        assert_eq!(found["info"]["isTruncated"], true);
        assert_eq!(found["info"]["isPartial"], false);
        assert_eq!(found["messageStatuses"], json!([]));
        let by_id = stage.by_id(id).await;
        let by_id = &records(&by_id)[0];
        assert_eq!(by_id["info"]["isTruncated"] == true, truncated_by_id);
        assert_eq!(by_id["messageStatuses"] == json!([]), truncated_by_id);
    }
}

#[tokio::test]
async fn partial_and_garbled_records_stand_among_whole_ones() {
    let stage = Stage::set().await;
    let (partial, garbled, whole) = (
        unread(&stage.world),
        unread(&stage.world),
        unread(&stage.world),
    );
    stage.world.partial(&partial, Partial::InSearch);
    stage.world.garble(&garbled);
    let page = stage.scan(CUSTOMER_CARE, 0).await;
    assert_eq!(ids(&page), [partial.clone(), garbled, whole]);
    assert_eq!(records(&page)[0]["info"]["isPartial"], true);
    assert!(records(&page)[0].get("messageStatuses").is_none());
    assert!(records(&page)[1]["messageRecords"].is_object());
    assert_eq!(
        records(&stage.by_id(&partial).await)[0]["info"]["isPartial"],
        false
    );
}

#[tokio::test]
async fn the_domain_service_points_here_unless_told_otherwise() {
    let stage = Stage::set().await;
    let get = async |path: &str| stage.http.get(stage.url(path)).send().await.unwrap();
    let one = format!("/api/account/{ACCOUNT}/service/msgHist/baseURI.json?version=1.0");
    let answer: Value = get(&one).await.json().await.unwrap();
    assert_eq!(
        answer,
        json!({"service": "msgHist", "account": ACCOUNT, "baseURI": stage.address.to_string()})
    );
    let all: Value = get(&format!(
        "/api/account/{ACCOUNT}/service/baseURI.json?version=1.0"
    ))
    .await
    .json()
    .await
    .unwrap();
    let sample = sample(include_str!(
        "../../../../tests/fixtures/liveperson/domain_all.json"
    ));
    let names = |list: &Value| {
        list["baseURIs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["service"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&all), names(&sample));
    stage
        .world
        .set_host(ACCOUNT, "msgHist", "127.0.0.1:1")
        .unwrap();
    assert_eq!(
        get(&one).await.json::<Value>().await.unwrap()["baseURI"],
        "127.0.0.1:1"
    );
    assert_eq!(
        get(&format!(
            "/api/account/{ACCOUNT}/service/MsgHist/baseURI.json?version=1.0"
        ))
        .await
        .status(),
        400
    );
}

#[tokio::test]
async fn tokens_end_and_can_be_revoked() {
    let mut stage = Stage::set().await;
    let scan = async |stage: &Stage| {
        stage
            .post("search", "source=t", &scan_body(ORDERS))
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    assert_eq!(scan(&stage).await, 200);
    stage.pass(60);
    assert_eq!(scan(&stage).await, 401);
    let answer = stage.fresh_token().await;
    assert_eq!(
        (&answer["token_type"], &answer["expires_in"]),
        (&json!("Bearer"), &json!("3600"))
    );
    stage.token = answer["access_token"].as_str().unwrap().to_owned();
    assert_eq!(scan(&stage).await, 200);
    stage.world.revoke_tokens(ACCOUNT).unwrap();
    assert_eq!(scan(&stage).await, 401);
    let wrong = [
        ("client_id", "x"),
        ("client_secret", "y"),
        ("grant_type", "client_credentials"),
    ];
    let path = stage.url(&format!("/sentinel/api/v2/account/{ACCOUNT}/app/token"));
    assert_eq!(
        stage
            .http
            .post(path)
            .form(&wrong)
            .send()
            .await
            .unwrap()
            .status(),
        401
    );
}

#[tokio::test]
async fn a_wrong_signature_is_told_why_and_a_wrong_clock_what_to_do() {
    let stage = Stage::set().await;
    let keys = stage.world.credentials(ACCOUNT).unwrap();
    let path = stage.url(&format!(
        "/messaging_history/api/account/{ACCOUNT}/conversations/search?source=t"
    ));
    let bare = stage
        .http
        .post(&path)
        .json(&scan_body(ORDERS))
        .send()
        .await
        .unwrap();
    assert_eq!(bare.status(), 401);
    let signed = |timestamp: i64| {
        let authorization = format!(
            "OAuth oauth_consumer_key=\"{}\", oauth_token=\"{}\", oauth_nonce=\"n\", oauth_timestamp=\"{timestamp}\", \
             oauth_version=\"1.0\", oauth_signature_method=\"HMAC-SHA1\", oauth_signature=\"AAAA\"",
            keys.consumer_key, keys.token
        );
        stage
            .http
            .post(&path)
            .header("authorization", authorization)
            .json(&scan_body(ORDERS))
            .send()
    };
    let wrong = signed(NOW / 1000).await.unwrap();
    assert_eq!(wrong.status(), 401);
    assert!(
        wrong
            .text()
            .await
            .unwrap()
            .starts_with("oauth_problem=signature_invalid")
    );
    let late = signed(NOW / 1000 - 3600).await.unwrap();
    let challenge = late.headers()["www-authenticate"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(challenge.ends_with(&format!(
        "oauth_acceptable_timestamps={}-{}",
        NOW / 1000 - 300,
        NOW / 1000 + 300
    )));
}

#[tokio::test]
async fn a_right_signature_is_good_once() {
    use base64::Engine as _;
    use hmac::{KeyInit as _, Mac as _};
    let stage = Stage::set().await;
    let path = format!("/messaging_history/api/account/{ACCOUNT}/conversations/search");
    // Written out by hand: the sorted parameters, percent-encoded once more.
    let base = format!(
        "POST&http%3A%2F%2F127.0.0.1%3A{}{}&oauth_consumer_key%3Dsandboxappkey{ACCOUNT}%26oauth_nonce%3Dn1%26\
         oauth_signature_method%3DHMAC-SHA1%26oauth_timestamp%3D{}%26oauth_token%3Dsandboxtoken{ACCOUNT}%26\
         oauth_version%3D1.0%26sort%3Dstart%253Aasc%26source%3Dt",
        stage.address.port(),
        path.replace('/', "%2F"),
        NOW / 1000,
    );
    let key = b"sandbox%20app%20secret%20%26%20more&sandbox%2Btoken%2Fsecret%3D";
    let mut mac = hmac::Hmac::<sha1::Sha1>::new_from_slice(key).unwrap();
    mac.update(base.as_bytes());
    let signature = base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes());
    let signature = signature
        .replace('+', "%2B")
        .replace('/', "%2F")
        .replace('=', "%3D");
    let authorization = format!(
        "OAuth oauth_consumer_key=\"sandboxappkey{ACCOUNT}\", oauth_token=\"sandboxtoken{ACCOUNT}\", oauth_nonce=\"n1\", \
         oauth_timestamp=\"{}\", oauth_version=\"1.0\", oauth_signature_method=\"HMAC-SHA1\", oauth_signature=\"{signature}\"",
        NOW / 1000
    );
    let url = format!("{}?source=t&sort=start%3Aasc", stage.url(&path));
    let send = async || {
        let request = stage
            .http
            .post(&url)
            .header("authorization", &authorization);
        request.json(&scan_body(ORDERS)).send().await.unwrap()
    };
    assert_eq!(send().await.status(), 200);
    let again = send().await;
    assert_eq!(again.status(), 401);
    assert!(
        again
            .text()
            .await
            .unwrap()
            .starts_with("oauth_problem=nonce_used")
    );
}

#[tokio::test]
async fn skills_come_with_a_revision_and_only_when_changed() {
    let stage = Stage::set().await;
    let path = stage.url(&format!(
        "/api/account/{ACCOUNT}/configuration/le-users/skills"
    ));
    let get = async |query: &str, known: &str| {
        let request = stage
            .http
            .get(format!("{path}?{query}"))
            .bearer_auth(&stage.token);
        request.header("if-match", known).send().await.unwrap()
    };
    let full = get("v=4.0&select=$all", "-1").await;
    let revision = full.headers()["ac-revision"].to_str().unwrap().to_owned();
    let sample = sample(include_str!(
        "../../../../tests/fixtures/liveperson/skills.json"
    ));
    assert_eq!(shape_of(&full.json().await.unwrap()), shape_of(&sample));
    assert_eq!(get("v=4.0", &revision).await.status(), 304);
    stage
        .world
        .set_skill(
            ACCOUNT,
            Skill {
                id: ORDERS,
                name: "Orders".into(),
                deleted: true,
            },
        )
        .unwrap();
    let names = async |query: &str| {
        let list: Value = get(query, &revision).await.json().await.unwrap();
        list.as_array()
            .unwrap()
            .iter()
            .map(|skill| skill["name"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names("v=4.0&select=id,name,deleted").await,
        ["Customer Care", "Bot Triage"]
    );
    assert_eq!(
        names("v=4.0&include_deleted=true").await,
        ["Customer Care", "Bot Triage", "Orders"]
    );
}

#[tokio::test]
async fn every_fault_looks_as_it_should() {
    let stage = Stage::set().await;
    unread(&stage.world);
    let search = || {
        stage
            .post("search", "source=t", &scan_body(CUSTOMER_CARE))
            .send()
    };
    let next = |fault| {
        stage
            .faults
            .set(Endpoint::Search, fault, FaultSpan::Next(1))
    };
    for (fault, status) in [
        (Fault::BadRequest, 400),
        (Fault::Unauthorized, 401),
        (Fault::Forbidden, 403),
        (
            Fault::Throttled {
                retry_after_s: None,
            },
            429,
        ),
        (Fault::Runtime, 500),
        (Fault::Unavailable, 503),
        (Fault::NoContent, 204),
    ] {
        next(fault);
        assert_eq!(search().await.unwrap().status(), status);
    }
    next(Fault::Throttled {
        retry_after_s: Some(3),
    });
    assert_eq!(search().await.unwrap().headers()["retry-after"], "3");
    next(Fault::ElasticSearch);
    let body: Value = search().await.unwrap().json().await.unwrap();
    assert_eq!(body["error"]["internalCode"], "0007");
    next(Fault::Garbage);
    assert!(search().await.unwrap().json::<Value>().await.is_err());
    next(Fault::Dropped);
    assert!(search().await.is_err(), "no answer at all");
    next(Fault::Truncated);
    let answer = search().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.bytes().await.is_err(), "the body breaks off");
    next(Fault::PartialResult);
    let page: Value = search().await.unwrap().json().await.unwrap();
    assert_eq!(
        page["_metadata"]["shardsStatusResult"]["partialResult"],
        true
    );
    assert_eq!(search().await.unwrap().status(), 200);
    let traffic = stage.faults.traffic(Endpoint::Search);
    assert_eq!(
        (traffic.requests, traffic.faults, traffic.in_flight),
        (14, 13, 0)
    );
}

#[tokio::test]
async fn a_broken_skill_leaves_the_others_searchable() {
    let stage = Stage::set().await;
    stage.faults.add(FaultRule {
        endpoint: None,
        account: Some(ACCOUNT.into()),
        skill: Some(ORDERS),
        fault: Fault::Unavailable,
        when: FaultSpan::UntilCleared,
    });
    let status = async |skill| {
        stage
            .post("search", "source=t", &scan_body(skill))
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    assert_eq!(
        (status(ORDERS).await, status(CUSTOMER_CARE).await),
        (503, 200)
    );
}

#[test]
fn an_action_reads_from_json_as_the_admin_api_takes_it() {
    let action: Action =
        serde_json::from_value(json!({"do": "agent_says", "text": "Hello"})).unwrap();
    assert!(matches!(action, Action::AgentSays { text } if text == "Hello"));
}
