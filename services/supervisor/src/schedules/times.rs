//! When a schedule is due: a cron expression read in a time zone.

use croner::{Cron, Direction, parser::CronParser};
use hero_domain::{ApiError, Reason, Result, Timestamp};
use jiff::{Zoned, tz::TimeZone};

/// Bytes of an expression and of a time zone's name; both are far shorter.
const MAX_BYTES: usize = 256;

/// The times of one schedule.
pub(crate) struct Times {
    cron: Cron,
    zone: TimeZone,
}

impl Times {
    /// # Errors
    /// CronInvalid, TimeZoneUnknown.
    pub(crate) fn read(cron: &str, time_zone: &str) -> Result<Self> {
        let wrong = |why: String| {
            let words = format!(
                "{why}; five fields are taken (minute, hour, day of the month, month, day of the week), or six \
                 with seconds first"
            );
            ApiError::new(Reason::CronInvalid, words).with_field("cron")
        };
        if cron.len() > MAX_BYTES || time_zone.len() > MAX_BYTES {
            return Err(wrong(format!("more than {MAX_BYTES} bytes")));
        }
        let cron = CronParser::new().parse(cron).map_err(|error| wrong(error.to_string()))?;
        let zone = TimeZone::get(time_zone).map_err(|_| {
            let words =
                format!("`{time_zone}` is not in the IANA database; a name is like Europe/Brussels or UTC");
            ApiError::new(Reason::TimeZoneUnknown, words).with_field("time_zone")
        })?;
        Ok(Self { cron, zone })
    }

    /// The first time after this one, if there is any.
    pub(crate) fn after(&self, at: Timestamp) -> Option<Timestamp> {
        self.find(at, Direction::Forward)
    }

    /// The latest time before this one.
    pub(crate) fn before(&self, at: Timestamp) -> Option<Timestamp> {
        self.find(at, Direction::Backward)
    }

    /// # Errors
    /// CronInvalid when there is no such time.
    pub(crate) fn first_after(&self, now: Timestamp) -> Result<Timestamp> {
        self.after(now).ok_or_else(|| {
            ApiError::new(Reason::CronInvalid, "no time is left at which this comes true").with_field("cron")
        })
    }

    fn find(&self, at: Timestamp, direction: Direction) -> Option<Timestamp> {
        let at: Zoned = jiff::Timestamp::from_millisecond(at.as_millis()).ok()?.to_zoned(self.zone.clone());
        let found = match direction {
            Direction::Forward => self.cron.find_next_occurrence(&at, false),
            Direction::Backward => self.cron.find_previous_occurrence(&at, false),
        };
        Some(Timestamp::from_millis(found.ok()?.timestamp().as_millisecond()))
    }
}

#[cfg(test)]
mod tests {
    use hero_domain::{Reason, Timestamp};

    use super::Times;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn next(cron: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let times = Times::read(cron, zone).unwrap();
        let following = std::iter::successors(times.after(at(after)), |at| times.after(*at));
        following.take(count).map(|at| at.to_string()).collect()
    }

    #[test]
    fn an_expression_is_read_in_its_time_zone() {
        assert_eq!(
            next("0 4 * * *", "Europe/Brussels", "2026-11-21T12:00:00Z", 2),
            ["2026-11-22T03:00:00.000Z", "2026-11-23T03:00:00.000Z"]
        );
        assert_eq!(next("0 4 * * *", "UTC", "2026-11-21T12:00:00Z", 1), ["2026-11-22T04:00:00.000Z"]);
        assert_eq!(
            next("*/20 * * * * *", "UTC", "2026-11-21T12:00:00.500Z", 3),
            ["2026-11-21T12:00:20.000Z", "2026-11-21T12:00:40.000Z", "2026-11-21T12:01:00.000Z"]
        );
    }

    /// Clocks go from 02:00 to 03:00 on 29 March 2026, and from 03:00 back to 02:00 on 25 October.
    #[test]
    fn a_daily_time_comes_once_a_day_when_the_clocks_change() {
        assert_eq!(
            next("30 2 * * *", "Europe/Brussels", "2026-03-28T00:00:00Z", 3),
            ["2026-03-28T01:30:00.000Z", "2026-03-29T01:00:00.000Z", "2026-03-30T00:30:00.000Z"]
        );
        assert_eq!(
            next("30 2 * * *", "Europe/Brussels", "2026-10-24T00:30:01Z", 2),
            ["2026-10-25T00:30:00.000Z", "2026-10-26T01:30:00.000Z"]
        );
    }

    #[test]
    fn the_times_behind_are_found_too() {
        let times = Times::read("0 * * * *", "UTC").unwrap();
        assert_eq!(times.before(at("2026-11-21T12:59:59Z")), Some(at("2026-11-21T12:00:00Z")));
        assert_eq!(times.before(at("2026-11-21T12:00:00Z")), Some(at("2026-11-21T11:00:00Z")));
    }

    #[test]
    fn what_is_no_time_is_refused_by_name() {
        for cron in ["", "now", "* * * *", "60 * * * *", "* * * * * * * *", &"1,".repeat(200)] {
            let error = Times::read(cron, "UTC").err().unwrap();
            assert_eq!((error.reason(), error.field()), (Reason::CronInvalid, Some("cron")), "{cron}");
        }
        for zone in ["", "Mars", "Europe/Brussel", "../../etc/passwd", "+25:00"] {
            let error = Times::read("* * * * *", zone).err().unwrap();
            assert_eq!(error.reason(), Reason::TimeZoneUnknown, "{zone}");
        }
        let never = Times::read("0 0 30 2 *", "UTC").unwrap();
        assert_eq!(never.first_after(at("2026-11-21T12:00:00Z")).unwrap_err().reason(), Reason::CronInvalid);
    }
}
