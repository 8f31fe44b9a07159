//! `strftime_now`: the host's time in the words of C's `strftime`, in the C locale.

use super::memory::failed;
use super::writer::TextWriter;
use crate::Result;

const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Seconds from 1970 to the beginning of year 1 and to the end of year 9999, which Python's calendar has.
const FIRST: i64 = -62_135_596_800;
const LAST: i64 = 253_402_300_799;

/// A moment, taken apart.
struct Moment {
    year: i64,
    /// From 1 on, as the day.
    month: i64,
    day: i64,
    /// From 0 on.
    year_day: i64,
    /// From 0 on, which is Sunday.
    week_day: i64,
    hour: i64,
    minute: i64,
    second: i64,
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

impl Moment {
    fn new(time: i64) -> Moment {
        let (days, seconds) = (time.div_euclid(86_400), time.rem_euclid(86_400));
        // Years begin in March, eras of 400 years on the first of March of year 0.
        let since = days + 719_468;
        let (era, day) = (since.div_euclid(146_097), since.rem_euclid(146_097));
        let of_era = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let of_year = day - (365 * of_era + of_era / 4 - of_era / 100);
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = of_era + 400 * era + i64::from(month <= 2);
        let before: i64 = (1..month).map(|m| month_days(year, m)).sum();
        Moment {
            year,
            month,
            day,
            year_day: before + day - 1,
            week_day: (days + 4).rem_euclid(7),
            hour: seconds / 3_600,
            minute: seconds / 60 % 60,
            second: seconds % 60,
        }
    }

    /// The year and week of ISO 8601.
    fn iso_week(&self) -> (i64, i64) {
        let monday = (self.week_day + 6) % 7;
        let week = (self.year_day - monday + 10) / 7;
        let weeks = |year: i64| {
            // The day of the week of 31 December.
            let last = |year: i64| (year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400)) % 7;
            if last(year) == 4 || last(year - 1) == 3 { 53 } else { 52 }
        };
        match week {
            0 => (self.year - 1, weeks(self.year - 1)),
            week if week > weeks(self.year) => (self.year + 1, 1),
            week => (self.year, week),
        }
    }
}

fn month_days(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Writes a time, in seconds since 1970 of the clock that is to be shown.
pub(super) fn strftime(out: &mut TextWriter, format: &str, time: i64) -> Result<()> {
    if !(FIRST..=LAST).contains(&time) {
        return failed(format_args!("strftime_now: {time} seconds since 1970 lie outside of the years 1 to 9999"));
    }
    let now = Moment::new(time);
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        match c {
            '%' => {
                let mut what = chars.next();
                // As in glibc: how a number is padded.
                let flag = what.filter(|c| "-_0".contains(*c));
                if flag.is_some() {
                    what = chars.next();
                }
                let Some(what) = what else { return failed("strftime_now: the format ends with a %") };
                now.directive(out, what, flag)?;
            }
            c => out.put_char(c)?,
        }
    }
    Ok(())
}

impl Moment {
    fn directive(&self, out: &mut TextWriter, what: char, flag: Option<char>) -> Result<()> {
        let hour = (self.hour + 11) % 12 + 1;
        let [day, month] = [DAYS[self.week_day as usize], MONTHS[self.month as usize - 1]];
        let number = |out: &mut TextWriter, n: i64, width: usize, fill: char| match flag.unwrap_or(fill) {
            '-' => out.format(format_args!("{n}")),
            '_' => out.format(format_args!("{n:width$}")),
            _ => out.format(format_args!("{n:0width$}")),
        };
        // Those that are made of others.
        let whole = match what {
            'c' => Some("%a %b %e %H:%M:%S %Y"),
            'x' | 'D' => Some("%m/%d/%y"),
            'X' | 'T' => Some("%H:%M:%S"),
            'F' => Some("%Y-%m-%d"),
            'R' => Some("%H:%M"),
            'r' => Some("%I:%M:%S %p"),
            _ => None,
        };
        if let Some(whole) = whole {
            let mut chars = whole.chars();
            while let Some(c) = chars.next() {
                match (c, flag) {
                    ('%', _) => self.directive(out, chars.next().unwrap_or('%'), None)?,
                    (c, _) => out.put_char(c)?,
                }
            }
            return Ok(());
        }
        match what {
            'Y' => match flag {
                None => out.format(format_args!("{}", self.year)),
                Some(_) => number(out, self.year, 4, '0'),
            },
            'C' => number(out, self.year / 100, 2, '0'),
            'y' => number(out, self.year % 100, 2, '0'),
            'm' => number(out, self.month, 2, '0'),
            'd' => number(out, self.day, 2, '0'),
            'e' => number(out, self.day, 2, '_'),
            'H' => number(out, self.hour, 2, '0'),
            'k' => number(out, self.hour, 2, '_'),
            'I' => number(out, hour, 2, '0'),
            'l' => number(out, hour, 2, '_'),
            'M' => number(out, self.minute, 2, '0'),
            'S' => number(out, self.second, 2, '0'),
            'f' if flag.is_none() => out.put("000000"),
            'j' => number(out, self.year_day + 1, 3, '0'),
            'w' => number(out, self.week_day, 1, '0'),
            'u' => number(out, (self.week_day + 6) % 7 + 1, 1, '0'),
            'U' => number(out, (self.year_day + 7 - self.week_day) / 7, 2, '0'),
            'W' => number(out, (self.year_day + 7 - (self.week_day + 6) % 7) / 7, 2, '0'),
            'G' => number(out, self.iso_week().0, 4, '0'),
            'g' => number(out, self.iso_week().0 % 100, 2, '0'),
            'V' => number(out, self.iso_week().1, 2, '0'),
            'a' => out.put(&day[..3]),
            'A' => out.put(day),
            'b' | 'h' => out.put(&month[..3]),
            'B' => out.put(month),
            'p' => out.put(if self.hour < 12 { "AM" } else { "PM" }),
            'P' => out.put(if self.hour < 12 { "am" } else { "pm" }),
            'n' => out.put("\n"),
            't' => out.put("\t"),
            // The time is that of a place that is not known.
            'z' | 'Z' => Ok(()),
            '%' => out.put("%"),
            other => failed(format_args!("strftime_now knows no %{other}")),
        }
    }
}
