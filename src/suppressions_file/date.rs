//! Moments as exports write them.

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};

/// Before this, a number of seconds is a mistake: a zero, or days since 1900.
const EARLIEST: i64 = 946_684_800; // 2000-01-01

/// A moment in any of the forms that can be read in one way only: seconds or milliseconds since 1970, RFC 3339, RFC 2822, and
/// year-month-day with or without a time of day, which is UTC if nothing else is said. `03/04/2024` is none of them.
pub fn moment(raw: &str) -> Option<DateTime<Utc>> {
    let raw = raw.trim();
    let at = match raw.parse::<i64>() {
        // Until the year 5138 a number this long is in milliseconds.
        Ok(number) if number >= 100_000_000_000 => DateTime::from_timestamp_millis(number),
        Ok(number) => DateTime::from_timestamp(number, 0),
        Err(_) => written(raw),
    };
    at.filter(|at| at.timestamp() >= EARLIEST)
}

/// Whether a moment is written as in mail: `Fri, 21 Oct 2011 11:02:55 UTC`.
pub fn is_of_mail(raw: &str) -> bool {
    of_mail(raw.trim()).is_some()
}

fn of_mail(raw: &str) -> Option<DateTime<Utc>> {
    // Not one of RFC 2822's names of zones, but what Mailgun writes.
    let numbered = raw.strip_suffix("UTC").map(|rest| format!("{rest}+0000"));
    let at = DateTime::parse_from_rfc2822(numbered.as_deref().unwrap_or(raw));
    at.ok().map(|at| at.to_utc())
}

fn written(raw: &str) -> Option<DateTime<Utc>> {
    if let Ok(at) = DateTime::parse_from_rfc3339(raw) {
        return Some(at.to_utc());
    }
    let with_zone = [
        "%Y-%m-%d %H:%M:%S%.f %z",
        "%Y-%m-%d %H:%M:%S%.f%z",
        "%Y-%m-%dT%H:%M:%S%.f%z",
    ];
    let zoned = with_zone
        .iter()
        .find_map(|form| DateTime::parse_from_str(raw, form).ok());
    if let Some(at) = zoned {
        return Some(at.to_utc());
    }
    let bare = ["UTC", "GMT", "Z"]
        .iter()
        .find_map(|zone| raw.strip_suffix(zone));
    let bare = bare.unwrap_or(raw).trim_end();
    let forms = [
        "%Y-%m-%d %H:%M:%S%.f",
        "%Y-%m-%dT%H:%M:%S%.f",
        "%Y-%m-%d %H:%M",
        "%Y/%m/%d %H:%M:%S",
    ];
    let timed = forms
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(bare, form).ok());
    let dated = || {
        NaiveDate::parse_from_str(bare, "%Y-%m-%d")
            .ok()?
            .and_hms_opt(0, 0, 0)
    };
    timed
        .or_else(dated)
        .map(|at| at.and_utc())
        .or_else(|| of_mail(raw))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exports_write_moments_in_many_ways() {
        for (raw, at) in [
            ("1443651125", "2015-09-30T22:12:05Z"),    // SendGrid: seconds
            ("1443651125000", "2015-09-30T22:12:05Z"), // milliseconds
            ("Fri, 21 Oct 2011 11:02:55 UTC", "2011-10-21T11:02:55Z"), // Mailgun
            ("Fri, 21 Oct 2011 11:02:55 GMT", "2011-10-21T11:02:55Z"), // RFC 2822
            ("Fri, 21 Oct 2011 13:02:55 +0200", "2011-10-21T11:02:55Z"), // RFC 2822, Twilio
            ("21 Oct 2011 11:02:55 +0000", "2011-10-21T11:02:55Z"),
            (
                "2020-04-10T21:03:05.297000+00:00",
                "2020-04-10T21:03:05.297Z",
            ), // Amazon SES
            ("2019-12-10T08:58:33-05:00", "2019-12-10T13:58:33Z"), // Postmark
            ("2023-02-21T20:07:38Z", "2023-02-21T20:07:38Z"),
            ("2019-03-04 12:00:01", "2019-03-04T12:00:01Z"), // Mailchimp
            ("2019-03-04 12:00:01 UTC", "2019-03-04T12:00:01Z"),
            ("2019-03-04 12:00:01 +0100", "2019-03-04T11:00:01Z"),
            ("2019-03-04T12:00:01.5+0100", "2019-03-04T11:00:01.5Z"),
            ("2019-03-04 12:00", "2019-03-04T12:00:00Z"),
            ("2019-03-04", "2019-03-04T00:00:00Z"),
        ] {
            let expected = DateTime::parse_from_rfc3339(at).unwrap().to_utc();
            assert_eq!(moment(raw), Some(expected), "{raw}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_or_none_is_not_read() {
        for raw in [
            "",
            "-",
            "0",
            "43891",
            "03/04/2024",
            "3.4.24 10:00",
            "yesterday",
            "99999999999999999999",
            "-5",
            "2019-02-30",
        ] {
            assert_eq!(moment(raw), None, "{raw}");
        }
    }
}
