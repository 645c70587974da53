//! What a process is to do, and which settings it cannot do without.

/// What this process is to do; decides which settings it cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessRole {
    /// Every role in one process.
    Run,
    Web,
    Worker,
    Scheduler,
    /// Brings the tables up to date, or changes what is in them.
    Migrate,
    /// A command that calls LivePerson and the providers as the web role does: going live, or looking up what was sent.
    Live,
    /// A dry run: one scan that changes nothing.
    Scan,
    Doctor,
    /// Asks the service that runs on the same machine.
    Beside,
    Demo,
    Sandbox,
}

impl ProcessRole {
    /// As traces name it; a command is `command`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Run | Self::Demo => "run",
            Self::Web => "web",
            Self::Worker => "worker",
            Self::Scheduler => "scheduler",
            _ => "command",
        }
    }

    /// It runs for long, and who reads what it writes is a collector of logs.
    pub fn keeps_log(self) -> bool {
        matches!(self, Self::Run | Self::Web | Self::Worker | Self::Scheduler)
    }

    /// Several processes meet in one database, so it cannot be one that a process starts for itself. Commands find their database
    /// when they need it.
    pub(super) fn needs_database_url(self) -> bool {
        matches!(self, Self::Web | Self::Worker | Self::Scheduler)
    }

    pub(super) fn needs_account(self) -> bool {
        matches!(
            self,
            Self::Run | Self::Web | Self::Worker | Self::Scheduler | Self::Live | Self::Scan
        )
    }

    /// The scheduler only names accounts; the others call LivePerson.
    pub(super) fn needs_credentials(self) -> bool {
        matches!(
            self,
            Self::Run | Self::Web | Self::Worker | Self::Live | Self::Scan
        )
    }

    pub(super) fn needs_channel(self) -> bool {
        matches!(self, Self::Run | Self::Worker)
    }

    /// What it does not have to do with it is not asked for, and need not be complete: each process may be given its own secrets only.
    pub(super) fn calls_liveperson(self) -> bool {
        !matches!(self, Self::Scheduler | Self::Migrate | Self::Beside)
    }

    /// Reminders, or test messages from the dashboard.
    pub(super) fn sends(self, dashboard: bool) -> bool {
        self.calls_liveperson() && (!matches!(self, Self::Web | Self::Live) || dashboard)
    }

    /// Twilio signs them with the account's token.
    pub(super) fn takes_webhooks(self) -> bool {
        self.calls_liveperson() && self != Self::Worker
    }
}
