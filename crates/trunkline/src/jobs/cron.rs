//! When a schedule fires: the times of a cron expression, by the clock of a time zone.
//!
//! `croner` says which times the expression names; what the clock's changes make of them is decided here:
//!
//! - Hours, minutes and seconds in numbers, lists and ranges name **fixed** times. One that the clock skips fires at the moment
//!   after the gap, and one that it repeats fires the first time; so each fires once on its day, and several that are skipped
//!   together fire once.
//! - With `*` or `/` in one of them it **follows** the clock: it fires whenever the clock shows such a time, so never in a gap, and
//!   in both passes of what is repeated. `*/15 * * * *` is every 15 minutes that pass.
//!
//! No state, no clock of its own, no database.

use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use jiff::{
    SignedDuration, Timestamp,
    civil::{self, DateTime},
    tz::{AmbiguousOffset, Offset, TimeZone},
};

use super::schedule::Missed;
use crate::{Error, ErrorKind, Result};

/// Times that are older than this were missed.
const GRACE: SignedDuration = SignedDuration::from_mins(1);
/// So many are fired at once; the rest in the next round.
pub(super) const MOST: usize = 1000;
/// The longest expression, in bytes; the database holds it to the same.
const LONGEST: usize = 200;
/// No zone's clock is further from UTC.
const FURTHEST: SignedDuration = SignedDuration::from_hours(26);
const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// A cron expression in a time zone.
#[derive(Debug)]
pub(super) struct Times {
    cron: Cron,
    zone: TimeZone,
    fixed: bool,
}

/// What is to be done about a schedule now.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// The times to be fired, oldest first.
    pub(super) ats: Vec<Timestamp>,
    /// Its next time; in the past when there are more to be fired.
    pub(super) next: Timestamp,
}

impl Times {
    /// Reads an expression and the name of a zone; refuses what is wrong, and an expression that names no time at all.
    pub(super) fn read(cron: &str, zone: &str) -> Result<Self> {
        let text = cron.trim();
        if cron.len() > LONGEST {
            return Err(invalid(format!("cron must be at most {LONGEST} bytes, got {}", cron.len())));
        }
        let wrong = |why: &str| invalid(format!("cron {cron:?}: {why}"));
        let fields: Vec<&str> = match text.to_ascii_lowercase().as_str() {
            "@midnight" => "0 0 * * *",
            _ => text,
        }
        .split_ascii_whitespace()
        .collect();
        let word = fields.len() == 1 && text.starts_with('@');
        if !word && !(5..=6).contains(&fields.len()) {
            let why = format!(
                "must have 5 fields, or 6 with seconds, or be a word such as @daily; it has {}",
                fields.len()
            );
            return Err(wrong(&why));
        }
        if fields.iter().any(|field| field.split(',').any(str::is_empty)) {
            return Err(wrong("a list has an empty item"));
        }
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        let parsed = parser.parse(&fields.join(" ")).map_err(|e| match word {
            true => wrong("there is no such word"),
            false => wrong(&e.to_string()),
        })?;
        let pattern = &parsed.pattern;
        if [&pattern.seconds, &pattern.minutes, &pattern.hours].iter().any(|field| field.values().is_empty())
        {
            return Err(wrong("names no time of the day")); // croner would look for it without end
        }
        let clock = fields.get(..fields.len().saturating_sub(3)).unwrap_or_default();
        let fixed = match word {
            true => !text.eq_ignore_ascii_case("@hourly"),
            false => !clock.iter().any(|field| field.contains(['*', '/'])),
        };
        let times = Self { cron: parsed, zone: read_zone(zone)?, fixed };
        // The calendar comes again after 400 years, and the search goes on for longer.
        times.named(civil::date(2000, 1, 1).at(0, 0, 0, 0), true).ok_or_else(|| wrong("never fires"))?;
        Ok(times)
    }

    /// The first time after a moment, if there is one before the year 5000.
    pub(super) fn next(&self, after: Timestamp) -> Option<Timestamp> {
        if self.fixed { self.next_fixed(after) } else { self.next_shown(after) }
    }

    /// The next time that the expression names, whatever any clock shows.
    fn named(&self, from: DateTime, inclusive: bool) -> Option<DateTime> {
        self.cron.find_next_occurrence(&from, inclusive).ok()
    }

    /// Each time that is named has one moment: the first pass of what is repeated, the end of the gap it is in.
    fn next_fixed(&self, after: Timestamp) -> Option<Timestamp> {
        let mut named = self.named(self.zone.to_datetime(whole(after)), true)?;
        loop {
            let ambiguous = self.zone.to_ambiguous_timestamp(named);
            let at = match ambiguous.offset() {
                AmbiguousOffset::Gap { .. } => {
                    let beyond = ambiguous.compatible().ok()?.checked_add(SECOND).ok()?;
                    self.zone.preceding(beyond).next()?.timestamp()
                }
                _ => ambiguous.earlier().ok()?,
            };
            if at > after {
                return Some(at);
            }
            named = self.named(named, false)?;
        }
    }

    /// From one change of the clock to the next: the clock runs evenly in between.
    fn next_shown(&self, after: Timestamp) -> Option<Timestamp> {
        let mut from = whole(after).checked_add(SECOND).ok()?;
        let mut changed = false;
        loop {
            let offset: Offset = self.zone.to_offset(from);
            let named = self.named(offset.to_datetime(from), true)?;
            let at = offset.to_timestamp(named).ok()?;
            let Some(change) = self.zone.following(from).next().map(|c| c.timestamp()).filter(|c| *c <= at)
            else {
                return Some(at);
            };
            // What the change repeats may be named and lies before `named`; what later ones repeat cannot be that far back.
            let near = Offset::UTC.to_timestamp(named).ok()?.checked_sub(FURTHEST).ok()?;
            from = if changed { change.max(near) } else { change };
            changed = true;
        }
    }

    /// What is to be fired now: `due` is the next time as it was worked out before, `since` from when on times count.
    pub(super) fn due(
        &self,
        missed: Missed,
        (due, since): (Option<Timestamp>, Timestamp),
        now: Timestamp,
    ) -> Option<Due> {
        let mut next = due.or_else(|| self.next(since))?;
        let mut ats = Vec::new();
        match missed {
            Missed::One if next <= now => {
                let newest = self.newest(next, now)?;
                return Some(Due { ats: vec![newest], next: self.next(newest)? });
            }
            Missed::Skip if next <= now.checked_sub(GRACE).ok()? => {
                next = self.next(now.checked_sub(GRACE).ok()?)?;
            }
            _ => {}
        }
        while next <= now && ats.len() < MOST {
            ats.push(next);
            next = self.next(next)?;
        }
        Some(Due { ats, next })
    }

    /// The newest time up to now, found by halves: `first` is one.
    fn newest(&self, first: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let (mut newest, mut beyond) = (first, now);
        loop {
            let half = (beyond.as_second() - newest.as_second()) / 2;
            let from = newest.checked_add(SignedDuration::from_secs(half)).ok()?;
            match self.next(from)? {
                at if at <= now => newest = at,
                _ if half == 0 => return Some(newest),
                _ => beyond = from,
            }
        }
    }
}

/// Down to the second.
fn whole(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

fn read_zone(name: &str) -> Result<TimeZone> {
    let known = name.len() <= 100 && !name.eq_ignore_ascii_case("Etc/Unknown");
    let zone = known.then(|| TimeZone::get(name).ok()).flatten();
    zone.ok_or_else(|| {
        let name: String = name.chars().take(100).collect();
        invalid(format!("there is no time zone {name:?}; give one such as Europe/Berlin or UTC"))
    })
}

fn invalid(text: String) -> Error {
    Error::new(ErrorKind::Invalid, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times from a moment on, by the zone's clock, with the distance from UTC.
    fn times(cron: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let times = Times::read(cron, zone).unwrap();
        let mut at: Timestamp = after.parse().unwrap();
        let mut shown = Vec::new();
        for _ in 0..count {
            at = times.next(at).unwrap();
            shown.push(at.to_zoned(times.zone.clone()).strftime("%m-%d %H:%M %:z").to_string());
        }
        shown
    }

    const BERLIN: &str = "Europe/Berlin";
    const NEW_YORK: &str = "America/New_York";
    const LORD_HOWE: &str = "Australia/Lord_Howe";

    #[test]
    fn what_the_clock_skips_fires_once_right_after_the_gap() {
        // 29 March 2026: 02:00 is 03:00.
        let nights = ["03-28 02:30 +01:00", "03-29 03:00 +02:00", "03-30 02:30 +02:00"];
        assert_eq!(times("30 2 * * *", BERLIN, "2026-03-27T12:00:00Z", 3), nights);
        let several = ["03-29 03:00 +02:00", "03-30 02:00 +02:00", "03-30 02:10 +02:00"];
        assert_eq!(times("0,10,50 2-3 * * *", BERLIN, "2026-03-28T12:00:00Z", 1), several[..1]);
        assert_eq!(times("0,10 2 * * *", BERLIN, "2026-03-28T12:00:00Z", 3), several);
        assert_eq!(
            times("0 2-3 * * *", BERLIN, "2026-03-28T12:00:00Z", 2),
            ["03-29 03:00 +02:00", "03-30 02:00 +02:00"],
            "02:00 and 03:00 are one moment"
        );
        // 8 March 2026: 02:00 is 03:00.
        let nights = ["03-07 02:15 -05:00", "03-08 03:00 -04:00", "03-09 02:15 -04:00"];
        assert_eq!(times("15 2 * * *", NEW_YORK, "2026-03-07T00:00:00Z", 3), nights);
        // 4 October 2026: 02:00 is 02:30.
        let nights = ["10-03 02:10 +10:30", "10-04 02:30 +11:00", "10-05 02:10 +11:00"];
        assert_eq!(times("10 2 * * *", LORD_HOWE, "2026-10-02T12:00:00Z", 3), nights);
        assert_eq!(times("45 2 * * *", LORD_HOWE, "2026-10-03T12:00:00Z", 1), ["10-04 02:45 +11:00"]);
        // A gap that ends on the next day: 28 March 2026, 23:00 is 00:00 of the 29th.
        assert_eq!(
            times("30 23 * * SAT", "America/Nuuk", "2026-03-22T12:00:00Z", 2),
            ["03-29 00:00 -01:00", "04-04 23:30 -01:00"]
        );
        // From the gap on, and from just before.
        assert_eq!(times("30 2 * * *", BERLIN, "2026-03-29T01:00:00Z", 1), ["03-30 02:30 +02:00"]);
        assert_eq!(times("30 2 * * *", BERLIN, "2026-03-29T00:59:59.9Z", 1), ["03-29 03:00 +02:00"]);
    }

    #[test]
    fn a_fixed_time_that_the_clock_repeats_fires_the_first_time() {
        // 25 October 2026: 03:00 is 02:00.
        let nights = ["10-24 02:30 +02:00", "10-25 02:30 +02:00", "10-26 02:30 +01:00"];
        assert_eq!(times("30 2 * * *", BERLIN, "2026-10-23T12:00:00Z", 3), nights);
        assert_eq!(times("30 2 * * *", BERLIN, "2026-10-25T00:45:00Z", 1), ["10-26 02:30 +01:00"]);
        assert_eq!(times("30 2 * * *", BERLIN, "2026-10-25T01:15:00Z", 1), ["10-26 02:30 +01:00"]);
        assert_eq!(
            times("0,30 1-3 * * *", BERLIN, "2026-10-24T23:15:00Z", 5),
            [
                "10-25 01:30 +02:00",
                "10-25 02:00 +02:00",
                "10-25 02:30 +02:00",
                "10-25 03:00 +01:00",
                "10-25 03:30 +01:00"
            ]
        );
        // 1 November 2026: 02:00 is 01:00.
        let nights = ["11-01 01:30 -04:00", "11-02 01:30 -05:00"];
        assert_eq!(times("30 1 * * *", NEW_YORK, "2026-10-31T12:00:00Z", 2), nights);
        // 5 April 2026: 02:00 is 01:30.
        let nights = ["04-05 01:45 +11:00", "04-06 01:45 +10:30"];
        assert_eq!(times("45 1 * * *", LORD_HOWE, "2026-04-04T12:00:00Z", 2), nights);
    }

    #[test]
    fn what_follows_the_clock_fires_by_the_time_that_passes() {
        let spring = ["03-29 01:30 +01:00", "03-29 01:45 +01:00", "03-29 03:00 +02:00", "03-29 03:15 +02:00"];
        assert_eq!(times("*/15 * * * *", BERLIN, "2026-03-29T00:15:00Z", 4), spring);
        let autumn = ["10-25 02:30 +02:00", "10-25 02:00 +01:00", "10-25 02:30 +01:00", "10-25 03:00 +01:00"];
        assert_eq!(times("*/30 * * * *", BERLIN, "2026-10-25T00:00:00Z", 4), autumn);
        assert_eq!(
            times("*/30 2 * * *", BERLIN, "2026-10-25T00:30:00Z", 3),
            ["10-25 02:00 +01:00", "10-25 02:30 +01:00", "10-26 02:00 +01:00"]
        );
        assert_eq!(
            times("0 * * * *", NEW_YORK, "2026-11-01T04:30:00Z", 3),
            ["11-01 01:00 -04:00", "11-01 01:00 -05:00", "11-01 02:00 -05:00"]
        );
        assert_eq!(
            times("@hourly", LORD_HOWE, "2026-10-03T14:00:00Z", 2),
            ["10-04 01:00 +10:30", "10-04 03:00 +11:00"]
        );
        assert_eq!(
            times("*/10 1 * * *", LORD_HOWE, "2026-04-04T14:45:00Z", 4),
            ["04-05 01:50 +11:00", "04-05 01:30 +10:30", "04-05 01:40 +10:30", "04-05 01:50 +10:30"]
        );
        for (cron, zone) in
            [("*/10 * * * *", BERLIN), ("*/10 * * * *", NEW_YORK), ("*/10 * * * *", LORD_HOWE)]
        {
            let times = Times::read(cron, zone).unwrap();
            let mut at: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
            for _ in 0..150_000 {
                let next = times.next(at).unwrap();
                assert_eq!(next.duration_since(at), SignedDuration::from_mins(10), "{zone} after {at}");
                at = next;
            }
        }
    }

    #[test]
    fn expressions_are_read_as_others_read_them() {
        for (cron, expected) in [
            ("@daily", ["01-02 00:00", "01-03 00:00"]),
            ("@midnight", ["01-02 00:00", "01-03 00:00"]),
            ("@weekly", ["01-04 00:00", "01-11 00:00"]),
            ("@Monthly", ["02-01 00:00", "03-01 00:00"]),
            ("0 9 * * MON-FRI", ["01-01 09:00", "01-02 09:00"]),
            ("0 0 l * *", ["01-31 00:00", "02-28 00:00"]),
            ("0 0 * * FRI#2", ["01-09 00:00", "02-13 00:00"]),
            ("0 0 * * 5L", ["01-30 00:00", "02-27 00:00"]),
            ("0 0 15W * *", ["01-15 00:00", "02-16 00:00"]),
            ("0 0 1 feb,DEC *", ["02-01 00:00", "12-01 00:00"]),
            ("0 0 13 * FRI", ["01-02 00:00", "01-09 00:00"]),
            ("30 30 12 * * *", ["01-01 12:30", "01-02 12:30"]),
            ("0 0 * * 7", ["01-04 00:00", "01-11 00:00"]),
        ] {
            let expected = expected.map(|t| format!("{t} +00:00"));
            assert_eq!(times(cron, "utc", "2026-01-01T06:00:00Z", 2), expected, "{cron}");
        }
        assert_eq!(times("*/5 3 29 2 *", BERLIN, "2026-01-01T00:00:00Z", 1), ["02-29 03:00 +01:00"]);
    }

    #[test]
    fn what_is_wrong_is_refused_by_name() {
        for (cron, zone, why) in [
            ("", "UTC", "5 fields"),
            ("* * * *", "UTC", "it has 4"),
            ("0 0 0 1 1 * 2030", "UTC", "it has 7"),
            ("60 * * * *", "UTC", "60"),
            ("* 24 * * *", "UTC", "24"),
            ("* * 0 * *", "UTC", "cron"),
            ("* * * 13 *", "UTC", "cron"),
            ("* * * * 8", "UTC", "cron"),
            ("*/0 * * * *", "UTC", "cron"),
            ("a b c d e", "UTC", "cron"),
            ("0 , * * *", "UTC", "empty item"),
            ("0 1,,2 * * *", "UTC", "empty item"),
            ("@reboot", "UTC", "no such word"),
            ("@every 5m", "UTC", "5 fields"),
            ("0 0 30 2 *", "UTC", "never fires"),
            ("0 0 31 4,6,9,11 *", "UTC", "never fires"),
            ("0 3 * * *", "Mars/Olympus", "\"Mars/Olympus\""),
            ("0 3 * * *", "", "time zone"),
            ("0 3 * * *", "../../etc/passwd", "time zone"),
        ] {
            let error = Times::read(cron, zone).expect_err(cron);
            assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains(why), "{cron}: {error}");
        }
        let long = format!("0 3 * * {}", "1,".repeat(100));
        assert!(Times::read(&long, "UTC").unwrap_err().to_string().contains("at most 200 bytes, got 208"));
    }

    #[test]
    fn missed_times_are_skipped_or_fired_once_or_all() {
        let times = Times::read("*/10 * * * *", "UTC").unwrap();
        let at = |text: &str| format!("2026-05-01T{text}Z").parse::<Timestamp>().unwrap();
        let due = |missed, due, now| {
            let found = times.due(missed, (Some(at(due)), at("00:00:00")), at(now)).unwrap();
            let show = |t: Timestamp| t.strftime("%H:%M").to_string();
            (found.ats.into_iter().map(show).collect::<Vec<_>>().join(" "), show(found.next))
        };
        let both = |ats: &str, next: &str| (ats.to_owned(), next.to_owned());
        assert_eq!(due(Missed::All, "10:00:00", "10:35:00"), both("10:00 10:10 10:20 10:30", "10:40"));
        assert_eq!(due(Missed::One, "10:00:00", "10:35:00"), both("10:30", "10:40"));
        assert_eq!(due(Missed::Skip, "10:00:00", "10:35:00"), both("", "10:40"));
        assert_eq!(due(Missed::Skip, "10:00:00", "10:30:59"), both("10:30", "10:40"));
        for missed in [Missed::All, Missed::One, Missed::Skip] {
            assert_eq!(due(missed, "10:00:00", "10:00:00.001"), both("10:00", "10:10"));
            assert_eq!(
                due(missed, "10:00:00", "09:59:59.999"),
                both("", "10:00"),
                "a time that has not come"
            );
        }
        let each = Times::read("* * * * * *", "UTC").unwrap();
        let found = each.due(Missed::All, (Some(at("10:00:00")), at("00:00:00")), at("11:00:00")).unwrap();
        assert_eq!((found.ats.len(), found.next), (MOST, at("10:16:40")), "bounded, and goes on there");
        let found = each.due(Missed::One, (None, at("00:00:00")), at("11:00:00.5")).unwrap();
        assert_eq!((found.ats, found.next), (vec![at("11:00:00")], at("11:00:01")));
        let rare = Times::read("* * * 2 +MON", BERLIN).unwrap();
        let (since, now) = ("2001-01-01T00:00:00Z".parse().unwrap(), at("10:00:00"));
        let found = rare.due(Missed::One, (None, since), now).unwrap();
        assert_eq!(found.ats, ["2026-02-23T22:59:00Z".parse().unwrap()]);
    }

    /// Of each minute on these days: its moment, and what the clock shows.
    fn minutes(zone: &TimeZone, from: &str, count: i64) -> Vec<(Timestamp, DateTime)> {
        let from: Timestamp = from.parse().unwrap();
        let at = |n| from.checked_add(SignedDuration::from_mins(n)).unwrap();
        (0..count).map(|n| (at(n), zone.to_datetime(at(n)))).collect()
    }

    #[test]
    fn every_time_is_found_and_no_other() {
        let mut compared = 0;
        for (zone, change) in [
            (BERLIN, "2026-03-27T00:00:00Z"),
            (BERLIN, "2026-10-23T00:00:00Z"),
            (NEW_YORK, "2026-03-06T00:00:00Z"),
            (NEW_YORK, "2026-10-30T00:00:00Z"),
            (LORD_HOWE, "2026-04-02T00:00:00Z"),
            (LORD_HOWE, "2026-10-01T00:00:00Z"),
            ("America/Nuuk", "2026-03-27T00:00:00Z"),
        ] {
            let known = read_zone(zone).unwrap();
            let all = minutes(&known, change, 5 * 1440);
            let (from, upto) = (all[1440].0, all[4 * 1440].0);
            for hours in ["*", "*/2", "1-3", "0,2,23"] {
                for minutes in ["0", "15,45", "*/20", "*"] {
                    for day in ["*", "SAT"] {
                        let cron = format!("{minutes} {hours} * * {day}");
                        let times = Times::read(&cron, zone).unwrap();
                        let named = |c: &DateTime| times.cron.is_time_matching(c).unwrap();
                        // Fixed: the first moment at which the clock shows this time or a later one.
                        let first =
                            |c: DateTime| all.iter().find(|(_, shown)| *shown >= c).map(|(at, _)| *at);
                        let mut expected: Vec<Timestamp> = if times.fixed {
                            let begin = all[0].1;
                            let civil = (0..5 * 1440)
                                .map(|n| begin.checked_add(SignedDuration::from_mins(n)).unwrap());
                            civil.filter(named).filter_map(first).collect()
                        } else {
                            all.iter().filter(|(_, shown)| named(shown)).map(|(at, _)| *at).collect()
                        };
                        expected.dedup();
                        expected.retain(|at| *at > from && *at <= upto);
                        let found: Vec<_> = std::iter::successors(times.next(from), |at| times.next(*at))
                            .take_while(|at| *at <= upto)
                            .collect();
                        assert_eq!(found, expected, "{cron} in {zone}");
                        compared += found.len();
                    }
                }
            }
        }
        assert!(compared > 10_000, "{compared}");
    }
}
