//! A whole life of an episode, minute by minute: random rules, addresses that come and go, reports, a no, reads, edits. What is scheduled is
//! written down and delivered as the jobs do it, by the rules' own functions; the promises are checked against what was sent.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;

use super::super::channel::PerChannel;
use super::super::contact::{Address, Contact, Suppression};
use super::super::conversation::Record;
use super::super::decide::{AskedBy, Cause, Decision, Earlier, Facts, History, Reason, decide};
use super::super::ids::Channel;
use super::super::local_time::LocalTime;
use super::super::reached::{DoneStep, ReportWaits, StepReminder, comes_back};
use super::super::read_state::{ReadState, read_state};
use super::super::reminder::ReminderState;
use super::super::rule::{Rule, Step, StepId, When};
use super::super::sample::{message_id, minute};
use super::super::zone::Zone;
use super::tests::{by_utc, rule};
use super::{DueStep, Next, Reach, Sequence, deadline, next_step};
use Channel::{Email, Sms};

/// Minutes that a life lasts.
const LIFE: i64 = 2_000;
/// Minutes from one scan to the next.
const SCAN: i64 = 7;

/// What happens to the messages of a step.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// Accepted; nobody hears of it again.
    Silent,
    Delivered {
        after: i64,
    },
    CameBack {
        after: i64,
    },
    Refused,
    /// May have been sent.
    Unknown,
}

#[derive(Clone, Debug)]
struct Life {
    steps: Vec<(Channel, i64, When)>,
    gap: i64,
    caps: (u32, u32),
    bounces_are_heard: bool,
    fates: Vec<Fate>,
    /// From when on, and until when, there is an address.
    email: (i64, i64),
    sms: (i64, i64),
    read_at: Option<i64>,
    no_at: Option<i64>,
    clicked_at: Option<i64>,
    edit: Option<Edit>,
}

/// How the rule is edited, once.
#[derive(Clone, Debug)]
struct Edit {
    at: i64,
    /// The places of the steps that are removed.
    removed: Vec<usize>,
    /// A step of those that stay, and the place it moves to.
    moved: Option<(usize, usize)>,
    /// Whether a step is added behind.
    adds: bool,
}

#[derive(Clone, Debug)]
struct Row {
    reminder: StepReminder,
    due_at: DateTime<Utc>,
    next_at: i64,
    fate: Fate,
}

/// A message that was sent.
#[derive(Clone, Copy, Debug)]
struct Sent {
    at: i64,
    step: StepId,
    channel: Channel,
    /// As the rule had it then.
    when: When,
    came_back: Option<i64>,
}

struct World {
    life: Life,
    rule: Rule,
    waits: ReportWaits,
    rows: Vec<Row>,
    sent: Vec<Sent>,
}

impl World {
    fn new(life: Life) -> Self {
        let steps: Vec<_> = (1..)
            .zip(&life.steps)
            .map(|(id, (channel, after, when))| (id, *channel, *after, *when))
            .collect();
        let mut rule = rule(&steps, 2);
        rule.settings.caps.gap = TimeDelta::minutes(life.gap);
        rule.settings.caps.per_conversation_24h = life.caps.0;
        rule.settings.caps.per_consumer_24h = life.caps.1;
        for (_, own) in rule.settings.channels.iter_mut() {
            own.max_age = TimeDelta::minutes(300);
            own.per_address_24h = 24;
        }
        let waits = ReportWaits::of(|channel| match channel {
            Email => life.bounces_are_heard.then_some(TimeDelta::minutes(15)),
            _ => Some(TimeDelta::hours(2)),
        });
        Self {
            life,
            rule,
            waits,
            rows: Vec::new(),
            sent: Vec::new(),
        }
    }

    fn record(&self, now: i64) -> Record {
        let record = Record::sample().agent(1, 0);
        match self.life.read_at {
            Some(at) if at <= now => record.read(1),
            _ => record,
        }
    }

    fn has(&self, channel: Channel, now: i64) -> bool {
        let (from, to) = match channel {
            Email => self.life.email,
            _ => self.life.sms,
        };
        (from..to).contains(&now)
    }

    fn done(&self, now: i64) -> Vec<DoneStep> {
        let rows = self.rows.iter();
        rows.map(|row| row.reminder.done(&self.waits, minute(now)))
            .collect()
    }

    fn pending(&self) -> Option<usize> {
        let is_pending = |row: &Row| {
            matches!(
                row.reminder.state,
                ReminderState::Scheduled | ReminderState::Sending
            )
        };
        self.rows.iter().position(is_pending)
    }

    /// As a scan does it.
    fn scan(&mut self, now: i64) {
        match self.next(now) {
            None => {
                for row in &mut self.rows {
                    if row.reminder.state == ReminderState::Scheduled {
                        end(row, ReminderState::Cancelled, Reason::Read, now);
                    }
                }
            }
            Some(Next::Due(due)) => self.write_down(&due, now),
            Some(_) => {}
        }
    }

    /// `None`: it is read.
    fn next(&self, now: i64) -> Option<Next> {
        let ReadState::Unread(episode) = read_state(&self.record(now), false) else {
            return None;
        };
        let reach = PerChannel::of(|channel| {
            if self.has(channel, now) {
                by_utc(&self.rule, channel)
            } else {
                Reach::NoAddress
            }
        });
        let next = next_step(&Sequence {
            rule: &self.rule,
            episode: &episode,
            reach: &reach,
            done: &self.done(now),
            now: minute(now),
        });
        Some(next.next)
    }

    fn write_down(&mut self, due: &DueStep, now: i64) {
        let minutes = |at: DateTime<Utc>| (at - minute(0)).num_minutes();
        let fate = self.life.fates[self.rows.len() % self.life.fates.len()];
        let fresh = Row {
            reminder: StepReminder {
                step: due.step,
                channel: due.channel,
                state: ReminderState::Scheduled,
                reason: None,
                tried: false,
                sent_at: None,
                final_at: None,
                clicked: false,
                said_no: None,
            },
            due_at: due.at,
            next_at: minutes(due.at).max(now),
            fate,
        };
        let same = |row: &Row| (row.reminder.step, row.reminder.channel) == (due.step, due.channel);
        match self.pending() {
            Some(at) if same(&self.rows[at]) => {
                if due.at < self.rows[at].due_at || self.rows[at].due_at < due.not_before {
                    self.rows[at] = fresh;
                }
            }
            Some(at) => {
                assert!(
                    !self.rows[at].reminder.tried,
                    "what is tried gives way to nothing"
                );
                match self.rows.iter().position(same) {
                    Some(other) => {
                        end(
                            &mut self.rows[at],
                            ReminderState::Cancelled,
                            Reason::Superseded,
                            now,
                        );
                        self.revive(other, fresh);
                    }
                    None => self.rows[at] = fresh,
                }
            }
            None => match self.rows.iter().position(same) {
                Some(at) => self.revive(at, fresh),
                None => self.rows.push(fresh),
            },
        }
    }

    fn revive(&mut self, at: usize, fresh: Row) {
        let was = &self.rows[at].reminder;
        let reason = was.reason.as_ref().and_then(Cause::reason);
        let may = reason.is_some_and(comes_back);
        assert!(!was.tried && may, "a step twice: {was:?}");
        self.rows[at] = fresh;
    }

    /// As the delivery does it.
    fn deliver(&mut self, now: i64) {
        let Some(at) = self.pending().filter(|at| self.rows[*at].next_at <= now) else {
            return;
        };
        let row = self.rows[at].clone();
        let (step, channel) = (row.reminder.step, row.reminder.channel);
        let record = self.record(now);
        let settings = &self.rule.settings;
        let local = LocalTime::new(
            Some(Zone::UTC),
            None,
            (settings, channel),
            Zone::UTC,
            minute(now),
        );
        let until = match (settings.place_of(step, channel), read_state(&record, false)) {
            (Some(place), ReadState::Unread(episode)) => {
                deadline(settings, place, &local, &episode, row.due_at).max(row.due_at)
            }
            _ => minute(LIFE * 2),
        };
        let mut others = self.done(now);
        others.remove(at);
        let said_no = self
            .life
            .no_at
            .is_some_and(|at| at <= now)
            .then_some(Suppression::OptedOut);
        let decision = decide(&Facts {
            episode: &message_id(1),
            step,
            channel,
            other_steps: &others,
            asked_by: AskedBy::Rule,
            deadline: until,
            local: &local,
            rule: Some(&self.rule),
            record: Some(&record),
            count_bots: false,
            contact: self.has(channel, now).then(|| contact(channel)),
            suppression: None,
            said_no,
            paused: false,
            held: false,
            history: &self.history(),
            clicked_at: None,
            holdout_bucket: 99,
            now: minute(now),
        });
        let row = &mut self.rows[at];
        match decision {
            Decision::Send(_) => self.send(at, now),
            Decision::Cancel(reason) => {
                end(row, ReminderState::Cancelled, reason, now);
                // Else it would be scheduled and cancelled in turns, for ever.
                let next = self.next(now);
                let again = matches!(next, Some(Next::Due(due)) if due.step == step && due.at <= minute(now));
                assert!(
                    !again,
                    "step {step} was cancelled ({reason:?}) and is due at once: {next:?}"
                );
            }
            Decision::Expire(reason) => end(row, ReminderState::Expired, reason, now),
            Decision::Postpone(until, _) => {
                row.next_at = (until - minute(0)).num_minutes().max(now + 1);
            }
        }
    }

    fn history(&self) -> History {
        let consumer = self.sent.iter().map(|sent| Earlier {
            at: minute(sent.at),
            same_conversation: true,
            came_back: sent.came_back.is_some(),
        });
        History {
            consumer: consumer.collect(),
            address: Vec::new(),
        }
    }

    fn send(&mut self, at: usize, now: i64) {
        let row = &mut self.rows[at];
        row.reminder.tried = true;
        match row.fate {
            Fate::Refused => {
                end(row, ReminderState::Failed, Reason::Due, now);
                return;
            }
            Fate::Unknown => end(row, ReminderState::Unknown, Reason::Due, now),
            Fate::Silent | Fate::Delivered { .. } | Fate::CameBack { .. } => {
                end(row, ReminderState::Sent, Reason::Due, now);
                row.reminder.sent_at = Some(minute(now));
            }
        }
        let (step, channel) = (row.reminder.step, row.reminder.channel);
        let place = self.rule.settings.place_of(step, channel);
        let when = place.map_or(When::Always, |place| self.rule.settings.steps[place].when);
        self.sent.push(Sent {
            at: now,
            step,
            channel,
            when,
            came_back: None,
        });
    }

    fn report(&mut self, now: i64) {
        for row in &mut self.rows {
            let Some(sent_at) = row
                .reminder
                .sent_at
                .filter(|_| row.reminder.state == ReminderState::Sent)
            else {
                continue;
            };
            let since = now - (sent_at - minute(0)).num_minutes();
            match row.fate {
                Fate::Delivered { after } if after <= since => {
                    row.reminder.state = ReminderState::Delivered;
                }
                Fate::CameBack { after } if after <= since => {
                    row.reminder.state = ReminderState::Undelivered;
                    let own = (row.reminder.step, row.reminder.channel);
                    for sent in &mut self.sent {
                        if (sent.step, sent.channel) == own {
                            sent.came_back = Some(now);
                        }
                    }
                }
                _ => {}
            }
            if self.life.clicked_at == Some(now) {
                row.reminder.clicked = true;
            }
        }
    }

    fn edit(&mut self, now: i64) {
        let Some(edit) = self.life.edit.clone().filter(|edit| edit.at == now) else {
            return;
        };
        let steps = &mut self.rule.settings.steps;
        let mut kept: Vec<Step> = steps
            .iter()
            .enumerate()
            .filter(|(place, _)| !edit.removed.contains(place))
            .map(|(_, step)| *step)
            .collect();
        if let Some((from, to)) = edit.moved
            && from < kept.len()
        {
            let step = kept.remove(from);
            kept.insert(to.min(kept.len()), step);
        }
        if edit.adds
            && let Some(last) = kept.last()
        {
            let after = last.after + TimeDelta::minutes(60);
            kept.push(Step {
                id: 99,
                channel: Sms,
                after,
                when: When::Always,
            });
        }
        if let Some(first) = kept.first_mut() {
            first.when = When::Always;
            // Waits never become shorter from one step to the next.
            let mut before = TimeDelta::zero();
            for step in &mut kept {
                let apart = TimeDelta::minutes(i64::from(step.when == When::Always));
                step.after = step.after.max(before + apart);
                before = step.after;
            }
            *steps = kept;
        }
    }

    fn live(&mut self) {
        for now in 1..LIFE {
            self.edit(now);
            self.report(now);
            if now % SCAN == 0 {
                self.scan(now);
            }
            self.deliver(now);
        }
    }
}

fn end(row: &mut Row, state: ReminderState, reason: Reason, now: i64) {
    row.reminder.state = state;
    row.reminder.reason = Some(reason.into());
    row.reminder.final_at = Some(minute(now));
}

fn contact(channel: Channel) -> Contact {
    let address = match channel {
        Email => Address::email("ana@example.com"),
        _ => Address::phone("+12025550143", None),
    };
    Contact {
        address: address.unwrap(),
        first_name: None,
    }
}

fn fates() -> impl Strategy<Value = Fate> {
    prop_oneof![
        3 => Just(Fate::Silent),
        3 => (1..200_i64).prop_map(|after| Fate::Delivered { after }),
        3 => (1..200_i64).prop_map(|after| Fate::CameBack { after }),
        2 => Just(Fate::Refused),
        1 => Just(Fate::Unknown),
    ]
}

fn spans() -> impl Strategy<Value = (i64, i64)> {
    prop_oneof![
        5 => Just((0, LIFE)),
        2 => (0..300_i64).prop_map(|from| (from, LIFE)),
        2 => (0..300_i64).prop_map(|to| (0, to)),
        1 => Just((0, 0)),
    ]
}

prop_compose! {
    fn edits()(
        at in 1..900_i64,
        removed in prop::collection::vec(0..6_usize, 0..3),
        moved in prop::option::of((0..6_usize, 0..6_usize)),
        adds: bool,
    ) -> Edit {
        Edit { at, removed, moved, adds }
    }
}

prop_compose! {
    fn lives()(
        mut after in prop::collection::vec((5..900_i64, any::<bool>(), any::<bool>()), 1..7),
        (gap, caps) in (0..200_i64, (1..9_u32, 1..9_u32)),
        bounces_are_heard: bool,
        fates in prop::collection::vec(fates(), 8),
        (email, sms) in (spans(), spans()),
        (read_at, no_at, clicked_at) in (prop::option::weighted(0.3, 1..LIFE), prop::option::weighted(0.2, 1..LIFE), prop::option::weighted(0.3, 1..400_i64)),
        edit in prop::option::weighted(0.4, edits()),
    ) -> Life {
        after.sort_unstable();
        let mut before = 0;
        let steps = after.iter().enumerate().map(|(place, (after, is_sms, always))| {
            let always = place == 0 || *always;
            let after = if always { (*after).max(before + 1) } else { (*after).max(before) };
            before = after;
            (if *is_sms { Sms } else { Email }, after, if always { When::Always } else { When::IfNotReached })
        }).collect();
        Life { steps, gap, caps, bounces_are_heard, fates, email, sms, read_at, no_at, clicked_at, edit }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn one_voice_never_twice_never_after_it_was_read_or_refused(life in lives()) {
        let mut world = World::new(life);
        world.live();
        let World { life, sent, rule, rows, .. } = &world;
        // Never a step twice.
        let mut times: BTreeMap<(StepId, Channel), u32> = BTreeMap::new();
        for sent in sent {
            *times.entry((sent.step, sent.channel)).or_default() += 1;
        }
        prop_assert!(times.values().all(|times| *times == 1), "{sent:?}");
        // Never within the gap, but by a step that is there for who was not reached.
        for pair in sent.windows(2) {
            let (earlier, later) = (pair[0], pair[1]);
            let excused = earlier.came_back.is_some_and(|back| back <= later.at) && later.when == When::IfNotReached;
            prop_assert!(later.at - earlier.at >= life.gap || excused, "{sent:?}, gap {}", life.gap);
        }
        // A step that is there for who was not reached goes only when nothing of its rung has reached them.
        let settings = &rule.settings;
        for own in sent.iter().filter(|_| life.edit.is_none()) {
            let place = settings.place_of(own.step, own.channel).unwrap();
            for earlier in super::super::reached::earlier_of_rung(settings, place) {
                let earlier = &settings.steps[earlier];
                let before = sent.iter().find(|sent| sent.at <= own.at && (sent.step, sent.channel) == (earlier.id, earlier.channel));
                let came_back = before.is_none_or(|sent| sent.came_back.is_some_and(|back| back <= own.at));
                prop_assert!(came_back, "step {}: {sent:?}", own.step);
            }
        }
        // Never after it was read or somebody said no.
        for over in [life.read_at, life.no_at].into_iter().flatten() {
            prop_assert!(sent.iter().all(|sent| sent.at < over), "{sent:?} {over}");
        }
        // Everything ends.
        let open = rows.iter().filter(|row| matches!(row.reminder.state, ReminderState::Scheduled | ReminderState::Sending));
        prop_assert_eq!(open.count(), 0, "{:?}", rows);
    }

    /// Who has every address, reads nothing and says nothing gets the first step of every rung: nothing that was still owed is skipped.
    #[test]
    fn nothing_that_is_owed_is_skipped(life in lives()) {
        let life = Life {
            gap: 0,
            caps: (24, 24),
            email: (0, LIFE),
            sms: (0, LIFE),
            read_at: None,
            no_at: None,
            edit: None,
            ..life
        };
        let mut world = World::new(life);
        world.live();
        for step in world.rule.settings.steps.iter().filter(|step| step.when == When::Always) {
            let row = world.rows.iter().find(|row| row.reminder.step == step.id);
            let tried = row.is_some_and(|row| row.reminder.tried);
            prop_assert!(tried, "step {} of {:?}: {:?}", step.id, world.life.steps, world.rows);
        }
        // A rung goes on until somebody was reached, or time is over.
        for (place, step) in world.rule.settings.steps.iter().enumerate() {
            if step.when == When::Always {
                continue;
            }
            let earlier = super::super::reached::earlier_of_rung(&world.rule.settings, place);
            let refused = |at: usize| {
                let step = &world.rule.settings.steps[at];
                world.rows.iter().any(|row| row.reminder.step == step.id && row.reminder.state == ReminderState::Failed)
            };
            let next_rung = world.rule.settings.steps[place..].iter().find(|s| s.when == When::Always);
            let in_time = next_rung.is_none_or(|next| next.after - step.after > TimeDelta::minutes(3 * SCAN));
            if earlier.clone().all(refused) && in_time {
                let row = world.rows.iter().find(|row| row.reminder.step == step.id);
                prop_assert!(row.is_some_and(|row| row.reminder.tried), "step {}: {:?}", step.id, world.rows);
            }
        }
    }
}
