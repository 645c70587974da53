use proptest::prelude::*;

use super::super::conversation::{Dialog, Message, Party, Receipt, Record};
use super::super::sample::minute;
use super::ReadReason::{Answered, Closed, NoAgentMessage, Receipt as ByReceipt};
use super::*;

/// The verdict in the words of the table: what was read, or the `seq` of the episode's first and last message.
#[derive(Debug, PartialEq)]
enum Verdict {
    Read(ReadReason),
    Unread { first: i64, last: i64, count: u32 },
    Undecided,
}
use Verdict::{Read, Undecided, Unread};

fn unread(first: i64, last: i64, count: u32) -> Verdict {
    Unread { first, last, count }
}

fn verdict(record: &Record, count_bots: bool) -> Verdict {
    let seq = |id: &str| id.rsplit(':').next().unwrap().parse().unwrap();
    match read_state(record, count_bots) {
        ReadState::Read(reason) => Read(reason),
        ReadState::Undecided => Undecided,
        ReadState::Unread(e) => unread(seq(&e.first_message), seq(&e.last_message), e.count),
    }
}

fn closed(mut record: Record) -> Record {
    record.open = false;
    record
}

fn partial(mut record: Record) -> Record {
    record.partial = true;
    record.receipts = None;
    record.dialogs = None;
    record
}

/// The conversation stays, its main dialog closes, and a bot asks how it was.
fn survey(mut record: Record, main_open: bool) -> Record {
    record.dialogs = Some(vec![
        Dialog {
            id: "survey".to_owned(),
            main: false,
            open: true,
        },
        Dialog {
            id: "c1".to_owned(),
            main: true,
            open: main_open,
        },
    ]);
    let mut record = record.bot(0, 500);
    let question = record.messages.last_mut().unwrap();
    question.id = "ms::dialog:survey::msg:0".to_owned();
    question.dialog = Some("survey".to_owned());
    record
}

#[test]
fn the_reference_cases_have_their_verdicts() {
    let start = Record::sample;
    // Case, record, verdict with people only, verdict with bots.
    #[rustfmt::skip]
    let cases = [
        ("A unread", start().consumer(0, 0).agent(3, 4).agent(6, 60).read(3), unread(6, 6, 1), unread(6, 6, 1)),
        ("B accepted, not read", start().consumer(0, 0).agent(2, 5).accepted(2), unread(2, 2, 1), unread(2, 2, 1)),
        ("C read", start().consumer(0, 0).agent(3, 10).accepted(3).read(3), Read(ByReceipt), Read(ByReceipt)),
        ("D answered", start().consumer(0, 0).agent(2, 6).accepted(2).consumer(3, 9), Read(Answered), Read(Answered)),
        ("E private note", start().consumer(0, 0).agent(2, 5).note(6, 60).read(2), Read(ByReceipt), Read(ByReceipt)),
        ("F system message", start().consumer(0, 0).system(1, 1).accepted(1), Read(NoAgentMessage), Read(NoAgentMessage)),
        ("G bot", start().consumer(0, 0).bot(2, 1), Read(NoAgentMessage), unread(2, 2, 1)),
        ("H file", start().consumer(0, 0).agent(2, 240), unread(2, 2, 1), unread(2, 2, 1)),
        ("I step-up", start().consumer(0, 0).agent(4, 30).accepted(4).read(4), Read(ByReceipt), Read(ByReceipt)),
        ("J earlier read", start().consumer(0, 0).agent(2, 5).agent(5, 240).read(2), unread(5, 5, 1), unread(5, 5, 1)),
        ("K read by a manager", start().consumer(0, 0).agent(2, 5).read_by_agent(2), unread(2, 2, 1), unread(2, 2, 1)),
        ("L partial", partial(start().consumer(0, 0).agent(1, 3)), Undecided, Undecided),
        ("M bot, then queue", start().consumer(0, 0).bot(2, 1).accepted(2), Read(NoAgentMessage), unread(2, 2, 1)),
        ("A again, closed", closed(start().consumer(0, 0).agent(3, 4).read(3).agent(6, 60)), Read(Closed), Read(Closed)),
        ("N survey", survey(start().consumer(0, 0).agent(2, 2).accepted(2), false), Read(Closed), Read(Closed)),
    ];
    for (case, record, people_only, with_bots) in cases {
        assert_eq!(verdict(&record, false), people_only, "{case}, people only");
        assert_eq!(verdict(&record, true), with_bots, "{case}, with bots");
    }
}

#[test]
fn an_episode_begins_with_the_first_message_left_unread() {
    let start = || Record::sample().consumer(0, 0);
    #[rustfmt::skip]
    let cases = [
        ("three in a row", start().agent(1, 1).agent(2, 2).agent(3, 3), unread(1, 3, 3)),
        ("after an answer", start().agent(1, 1).consumer(2, 2).agent(3, 3).agent(4, 4), unread(3, 4, 2)),
        ("after a receipt", start().agent(1, 1).agent(2, 2).agent(3, 3).read(1), unread(2, 3, 2)),
        ("an answer after the receipt", start().agent(1, 1).consumer(2, 2).agent(3, 3).read(1), unread(3, 3, 1)),
        ("automatic messages in between", start().agent(1, 1).system(2, 2).bot(3, 3).agent(4, 4), unread(1, 4, 2)),
        ("a system message was read", start().agent(1, 1).system(2, 2).agent(3, 3).read(2), unread(3, 3, 1)),
    ];
    for (case, record, expected) in cases {
        assert_eq!(verdict(&record, false), expected, "{case}");
    }
}

#[test]
fn an_episode_tells_its_dates_and_who_wrote_last() {
    let record = Record::sample().consumer(0, 0).agent(1, 7).agent(2, 9);
    let ReadState::Unread(episode) = read_state(&record, false) else {
        panic!("unread");
    };
    assert_eq!((episode.since, episode.last_at), (minute(7), minute(9)));
    assert_eq!(episode.agent.as_deref(), Some("DANA"));
}

#[test]
fn a_sender_who_is_not_listed_counts_as_human() {
    let record = Record::sample().message(1, 1, Party::Agent, "stranger", true);
    assert_eq!(verdict(&record, false), unread(1, 1, 1));
}

#[test]
fn a_sender_of_an_undocumented_kind_is_no_agent_and_no_consumer() {
    let record = Record::sample()
        .agent(1, 1)
        .message(2, 2, Party::Other, "x", true);
    assert_eq!(verdict(&record, false), unread(1, 1, 1));
}

#[test]
fn a_complete_record_without_receipts_has_had_none() {
    let mut record = Record::sample().agent(1, 1);
    record.receipts = None;
    assert_eq!(verdict(&record, false), unread(1, 1, 1));
}

#[test]
fn an_open_survey_changes_nothing_while_the_main_dialog_is_open() {
    let record = survey(Record::sample().agent(1, 1), true);
    assert_eq!(verdict(&record, true), unread(1, 1, 1));
}

#[test]
fn reading_the_survey_is_not_reading_the_conversation() {
    let mut record = survey(Record::sample().agent(0, 1), true).read(0);
    let receipt = record.receipts.as_mut().unwrap().last_mut().unwrap();
    receipt.message = Some("ms::dialog:survey::msg:0".to_owned());
    receipt.dialog = Some("survey".to_owned());
    assert_eq!(verdict(&record, false), unread(0, 0, 1));
}

#[test]
fn without_a_list_of_dialogs_the_main_one_has_the_conversations_id_or_none() {
    for dialog in [None, Some("c1".to_owned())] {
        let mut record = Record::sample().agent(1, 1);
        record.dialogs = None;
        record.messages[0].dialog = dialog;
        assert_eq!(verdict(&record, false), unread(1, 1, 1));
    }
    let mut record = Record::sample().agent(1, 1);
    record.dialogs = None;
    record.messages[0].dialog = Some("survey".to_owned());
    assert_eq!(verdict(&record, false), Read(NoAgentMessage));
}

#[test]
fn a_receipt_for_a_message_the_record_lacks_counts_by_dialog_and_seq() {
    let reads = |seq: Option<i64>, dialog: Option<&str>, id: Option<&str>| Receipt {
        message: id.map(ToOwned::to_owned),
        seq,
        dialog: dialog.map(ToOwned::to_owned),
        at: None,
        by: Party::Consumer,
        read: true,
    };
    #[rustfmt::skip]
    let cases = [
        (reads(Some(9), Some("c1"), Some("ms::dialog:c1::msg:9")), Read(ByReceipt)),
        (reads(Some(5), Some("c1"), None), Read(ByReceipt)),
        (reads(Some(5), None, None), Read(ByReceipt)),
        (reads(Some(4), Some("c1"), None), unread(5, 5, 1)),
        (reads(Some(9), Some("survey"), None), unread(5, 5, 1)),
        (reads(None, Some("c1"), None), unread(5, 5, 1)),
        // The id wins over an odd dialog or seq.
        (reads(None, Some("elsewhere"), Some("ms::dialog:c1::msg:5")), Read(ByReceipt)),
        (reads(Some(9), Some("c1"), Some("ms::dialog:c1::msg:4")), unread(5, 5, 1)),
    ];
    for (receipt, expected) in cases {
        let mut record = Record::sample().consumer(3, 0).system(4, 1).agent(5, 5);
        record.receipts = Some(vec![receipt.clone()]);
        assert_eq!(verdict(&record, false), expected, "{receipt:?}");
    }
}

/// One thing that happens in a conversation; the next one happens a minute later.
#[derive(Clone, Copy, Debug)]
enum Event {
    Consumer,
    Agent,
    Bot,
    System,
    Note,
    /// A receipt for the message this many back.
    Reads(i64),
    Accepts(i64),
    AgentReads(i64),
}

fn stories() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        2 => Just(Event::Consumer),
        4 => Just(Event::Agent),
        1 => Just(Event::Bot),
        1 => Just(Event::System),
        1 => Just(Event::Note),
        2 => (0..4_i64).prop_map(Event::Reads),
        1 => (0..4_i64).prop_map(Event::Accepts),
        1 => (0..4_i64).prop_map(Event::AgentReads),
    ];
    prop::collection::vec(event, 0..20)
}

/// Tells the story twice: as LivePerson's record, and as the list of agent messages that a consumer has still to read.
fn tell(story: &[Event], count_bots: bool) -> (Record, Vec<i64>) {
    let mut record = Record::sample();
    let mut unread = Vec::new();
    // Every other `seq` is left free for what a test adds.
    for (i, event) in (0_i64..).zip(story) {
        let seq = i * 2;
        record = match *event {
            Event::Consumer => {
                unread.clear();
                record.consumer(seq, i)
            }
            Event::Agent => {
                unread.push(seq);
                record.agent(seq, i)
            }
            Event::Bot => {
                unread.extend(count_bots.then_some(seq));
                record.bot(seq, i)
            }
            Event::System => record.system(seq, i),
            Event::Note => record.note(seq, i),
            Event::Reads(back) => {
                unread.retain(|m| *m > seq - back * 2);
                record.read(seq - back * 2)
            }
            Event::Accepts(back) => record.accepted(seq - back * 2),
            Event::AgentReads(back) => record.read_by_agent(seq - back * 2),
        };
    }
    (record, unread)
}

proptest! {
    #[test]
    fn the_verdict_is_what_a_consumer_living_through_it_would_say(story in stories(), bots: bool) {
        let (record, still_unread) = tell(&story, bots);
        match verdict(&record, bots) {
            Unread { first, last, count } => {
                prop_assert_eq!(Some(&first), still_unread.first());
                prop_assert_eq!(Some(&last), still_unread.last());
                prop_assert_eq!(count as usize, still_unread.len());
            }
            Read(_) => prop_assert!(still_unread.is_empty()),
            Undecided => prop_assert!(false, "the record is complete"),
        }
    }

    #[test]
    fn the_order_of_messages_and_receipts_never_matters(
        (story, messages, receipts) in stories().prop_flat_map(|story| {
            let record = tell(&story, true).0;
            (
                Just(story),
                Just(record.messages).prop_shuffle(),
                Just(record.receipts.unwrap_or_default()).prop_shuffle(),
            )
        }),
        bots: bool,
    ) {
        let (record, _) = tell(&story, bots);
        let shuffled = Record { messages, receipts: Some(receipts), ..record.clone() };
        prop_assert_eq!(read_state(&shuffled, bots), read_state(&record, bots));
    }

    #[test]
    fn a_receipt_for_the_last_agent_message_is_reading_everything(story in stories(), bots: bool) {
        let (record, _) = tell(&story, bots);
        let agents = |m: &&Message| m.sent_by == Party::Agent && m.public && m.participant != "system";
        let last = record.messages.iter().filter(agents).map(|m| m.seq).max();
        let record = record.read(last.unwrap_or(0));
        prop_assert!(matches!(verdict(&record, bots), Read(_)));
    }

    #[test]
    fn a_further_receipt_of_the_consumer_never_makes_anything_unread(
        story in stories(), bots: bool, seq in 0..40_i64,
    ) {
        let (record, _) = tell(&story, bots);
        if matches!(verdict(&record, bots), Read(_)) {
            prop_assert!(matches!(verdict(&record.read(seq), bots), Read(_)));
        }
    }

    #[test]
    fn notes_and_automatic_messages_never_change_the_verdict(
        story in stories(), bots: bool, at in 0..20_i64, note: bool,
    ) {
        let (record, _) = tell(&story, bots);
        let before = read_state(&record, bots);
        let seq = at * 2 + 1;
        let record = if note { record.note(seq, at) } else { record.system(seq, at) };
        prop_assert_eq!(read_state(&record, bots), before);
    }

    #[test]
    fn an_episode_is_consistent(story in stories(), bots: bool) {
        if let ReadState::Unread(e) = read_state(&tell(&story, bots).0, bots) {
            prop_assert!(e.since <= e.last_at);
            prop_assert!(e.count >= 1);
            prop_assert_eq!(e.count == 1, e.first_message == e.last_message);
        }
    }

    #[test]
    fn a_closed_conversation_is_never_unread_and_a_partial_one_never_decided(story in stories(), bots: bool) {
        let (record, _) = tell(&story, bots);
        prop_assert_eq!(verdict(&closed(record.clone()), bots), Read(Closed));
        prop_assert_eq!(verdict(&partial(record), bots), Undecided);
    }
}
