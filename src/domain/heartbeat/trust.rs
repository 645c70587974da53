//! When a process may send that has come to a database: not before whoever could object has had the time to.

/// So many beats of a process take longer than one of every other: its first two are further apart than theirs.
pub const OTHERS_HAVE_BEATEN: u32 = 2;

/// For so many beats, a minute and a half, whoever remembers the database is waited for; then it is not expected any more.
pub const LONGEST_WAIT: u32 = 30;

/// What a process sends by: the counter in its line, as it remembers it. Where the line is behind, nothing begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendingMark {
    pub process: String,
    /// More than any as long as the process may not send.
    pub counter: i64,
}

/// What a process knew of the database when it came, from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum PriorKnowledge {
    #[default]
    Nothing,
    /// Something, and the database knows it, too.
    Something,
    /// All: nobody has beaten since what is remembered.
    Everything,
}

/// How a process stands to the database when it beats and nothing that it remembers speaks against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessStanding {
    /// It has made the first beat of a fresh database: there was nothing to forget.
    pub founded: bool,
    pub knows: PriorKnowledge,
    /// Its beats, with this one.
    pub beats: u32,
    /// Since it came somebody has beaten who may send, or who remembers the database from outside.
    pub vouched_for: bool,
    /// The database knows of somebody who remembers it outside.
    pub somebody_remembers: bool,
}

/// Whether it may send from now on.
pub fn may_send(standing: ProcessStanding) -> bool {
    if standing.founded || standing.knows == PriorKnowledge::Everything {
        return true;
    }
    // Everybody who is alive has beaten since, and would have objected. Whoever is about to start is waited for.
    standing.beats >= OTHERS_HAVE_BEATEN
        && (standing.vouched_for
            || standing.knows == PriorKnowledge::Something
            || !standing.somebody_remembers
            || standing.beats >= LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_remembers_nothing_waits_for_those_who_do_but_not_for_ever() {
        let newcomer = ProcessStanding {
            founded: false,
            knows: PriorKnowledge::Nothing,
            beats: 1,
            vouched_for: false,
            somebody_remembers: false,
        };
        let after = |beats| ProcessStanding { beats, ..newcomer };
        let remembered = |beats| ProcessStanding {
            somebody_remembers: true,
            ..after(beats)
        };
        let vouched = |beats| ProcessStanding {
            vouched_for: true,
            ..remembered(beats)
        };
        let knows = |knows, beats| ProcessStanding {
            knows,
            ..remembered(beats)
        };
        for (what, standing, may) in [
            (
                "a fresh database",
                ProcessStanding {
                    founded: true,
                    ..newcomer
                },
                true,
            ),
            (
                "a service of one process, started again",
                knows(PriorKnowledge::Everything, 1),
                true,
            ),
            (
                "others have beaten since",
                knows(PriorKnowledge::Something, 1),
                false,
            ),
            (
                "and had the time to object",
                knows(PriorKnowledge::Something, 2),
                true,
            ),
            ("one more worker, its first beat", vouched(1), false),
            ("one more worker, one beat later", vouched(2), true),
            ("all started, nobody keeps a journal", after(1), false),
            ("and nobody has objected", after(2), true),
            (
                "all started, the journal's process has yet to",
                remembered(2),
                false,
            ),
            ("it has", vouched(3), true),
            ("it does not come", remembered(29), false),
            ("and is not waited for any more", remembered(30), true),
        ] {
            assert_eq!(may_send(standing), may, "{what}");
        }
    }
}
