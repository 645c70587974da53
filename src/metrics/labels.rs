//! The words of the labels that say what came of something.

/// What came of asking to be let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessOutcome {
    LoggedIn,
    WrongPassword,
    /// A wrong code of the second factor.
    WrongCode,
    /// Too many logins were tried for this name or from this address.
    TooManyTries,
    /// The issuer of the single sign-on knows the person, and nobody here does; or it has refused them.
    SsoRefused,
    /// The single sign-on does not work, or its answer is not to be believed.
    SsoFailed,
    /// A program's bearer token that is not known here, or has expired.
    WrongToken,
    /// Somebody is known and may not do this.
    MissingPermission,
}

impl AccessOutcome {
    pub const ALL: [Self; 8] = [
        Self::LoggedIn,
        Self::WrongPassword,
        Self::WrongCode,
        Self::TooManyTries,
        Self::SsoRefused,
        Self::SsoFailed,
        Self::WrongToken,
        Self::MissingPermission,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::LoggedIn => "logged_in",
            Self::WrongPassword => "wrong_password",
            Self::WrongCode => "wrong_code",
            Self::TooManyTries => "too_many_tries",
            Self::SsoRefused => "sso_refused",
            Self::SsoFailed => "sso_failed",
            Self::WrongToken => "wrong_token",
            Self::MissingPermission => "missing_permission",
        }
    }
}

/// Where the badge's answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadgeSource {
    Memory,
    Database,
    LivePerson,
    /// The last that was known, because LivePerson or the database could not be asked.
    Stale,
    /// What was asked for cannot be an id.
    None,
}

impl BadgeSource {
    pub const ALL: [Self; 5] = [
        Self::Memory,
        Self::Database,
        Self::LivePerson,
        Self::Stale,
        Self::None,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Database => "database",
            Self::LivePerson => "liveperson",
            Self::Stale => "stale",
            Self::None => "none",
        }
    }
}

/// Why a connection was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedConnection {
    /// Its address has its share.
    Address,
    /// There are as many as there may be: it is answered to probes only.
    Total,
    /// The process may open no more files.
    Files,
}

impl RefusedConnection {
    pub const ALL: [Self; 3] = [Self::Address, Self::Total, Self::Files];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Total => "total",
            Self::Files => "files",
        }
    }
}

/// Why we closed a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// A request's headers took too long.
    Headers,
    /// A request's body did.
    Body,
    /// Nothing was asked for too long.
    Idle,
    /// The answer was not taken.
    Unread,
    /// Others needed the place.
    Room,
}

impl Closed {
    pub const ALL: [Self; 5] = [
        Self::Headers,
        Self::Body,
        Self::Idle,
        Self::Unread,
        Self::Room,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Headers => "headers",
            Self::Body => "body",
            Self::Idle => "idle",
            Self::Unread => "unread",
            Self::Room => "room",
        }
    }
}
