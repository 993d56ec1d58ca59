//! A year of events in a data folder, filed as `weir serve` files them: one batch a day.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::Path,
    sync::Arc,
};

use anyhow::ensure;
use fan_out::FanOut;
use flate2::{Compression, write::GzEncoder};
use weir_core::{BatchKey, Clock, Day, EventId, SeededRandom, SystemClock, Timestamp};
use weir_embedded::{Embedded, Flush};

/// The hours of a day in which a user has events.
const HOURS: [u64; 4] = [7, 12, 13, 20];

const MILLIS_OF_A_DAY: u64 = 24 * 3_600_000;

/// The number of days, of events a day, and of users whose events they are.
#[derive(Clone, Copy)]
pub(crate) struct Year {
    pub(crate) days: u64,
    pub(crate) users: u64,
    pub(crate) events_a_day: u64,
}

impl Year {
    /// Returns the first of the days. The last one has been over for two days.
    pub(crate) fn first(self) -> Timestamp {
        let today = SystemClock.now().millis() / MILLIS_OF_A_DAY;
        Timestamp::saturating((today - 2 - self.days) * MILLIS_OF_A_DAY)
    }

    /// Returns the day with this number, from 0.
    pub(crate) fn day(self, number: u64) -> Day {
        Day::of(self.first().plus_millis(number * MILLIS_OF_A_DAY).hour())
    }

    /// Files all events in a data folder that no server uses.
    pub(crate) fn file(self, data: &Path) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async {
            let flush = Flush { every: std::time::Duration::MAX, size: u64::MAX };
            let (engine, _deliveries) = Embedded::open(data, flush, Arc::new(SystemClock))?;
            let (raw, lake, quarantine) = engine.folders();
            let fan_out =
                FanOut::new(Arc::new(raw), Arc::new(lake), Arc::new(quarantine), Arc::new(engine.clone()));
            for number in 0..self.days {
                let name = format!("{}.json.gz", self.day(number));
                let path = data.join("raw").join(&name);
                fs::create_dir_all(data.join("raw"))?;
                let packed = GzEncoder::new(BufWriter::new(File::create(&path)?), Compression::fast());
                self.write(number, packed)?.finish()?.flush()?;
                let filed = fan_out.file(&BatchKey::new(name)).await?;
                ensure!(
                    filed.events == self.events_a_day && filed.quarantined_lines == 0,
                    "{} events were filed of {}",
                    filed.events,
                    self.events_a_day
                );
                // What was filed is not read from there again.
                fs::remove_file(path)?;
            }
            engine.stop().await?;
            Ok(())
        })
    }

    /// Writes the events of a day: half are clicks, three of ten page views, and one each predictions and their outcomes.
    fn write<W: Write>(self, day: u64, mut out: W) -> std::io::Result<W> {
        let random = SeededRandom::new(day);
        let begin = self.first().millis() + day * MILLIS_OF_A_DAY;
        for number in 0..self.events_a_day {
            let user = number % self.users;
            let nth = number / self.users;
            let hour = HOURS[usize::try_from(nth / 10 % 4).unwrap_or_default()];
            let at = begin + hour * 3_600_000 + number * 7_919 % 3_600_000;
            let id = EventId::generate(Timestamp::saturating(at), &random);
            let session = nth / 20 % 500 + day * 500;
            let prediction = nth / 10 * self.users + user + day * self.events_a_day;
            let (event_type, fields) = match nth % 10 {
                0..5 => (
                    "button_click",
                    format!(r#""session_id":"session-{session}","button_id":"button-{}""#, number / 3 % 40),
                ),
                5..8 => (
                    "page_view",
                    format!(
                        r#""session_id":"session-{session}","url":"https://example.com/shop/{}","useragent":"Mozilla/5.0 (X11; Linux x86_64; rv:{}.0) Gecko/20100101""#,
                        number / 7 % 300,
                        100 + number % 40
                    ),
                ),
                8 => (
                    "prediction",
                    format!(
                        r#""prediction_id":"p{prediction}","model":"churn-{}","label":"stays","score":0.{}"#,
                        nth % 3,
                        10 + number % 90
                    ),
                ),
                _ => ("outcome", format!(r#""prediction_id":"p{prediction}","label":"stays""#)),
            };
            writeln!(
                out,
                r#"{{"time":{at},"event_id":"{id}","username":"user-{user}","event_type":"{event_type}","received_at":{at},{fields}}}"#
            )?;
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use weir_core::RecordHead;

    use super::*;

    #[test]
    fn each_line_is_an_event_of_its_day_and_each_user_and_type_has_its_share() {
        let year = Year { days: 2, users: 20, events_a_day: 4_000 };
        let text = String::from_utf8(year.write(1, Vec::new()).unwrap()).unwrap();
        let mut shares: BTreeMap<String, u64> = BTreeMap::new();
        for line in text.lines() {
            let head = RecordHead::read(line.as_bytes()).unwrap();
            assert_eq!(Day::of(head.partition.hour), year.day(1));
            serde_json::from_str::<serde_json::Value>(line).unwrap();
            *shares.entry(head.partition.event_type.to_string()).or_default() += 1;
        }
        let expected = [("button_click", 2_000), ("outcome", 400), ("page_view", 1_200), ("prediction", 400)];
        assert_eq!(shares, expected.map(|(name, count)| (name.to_owned(), count)).into());
    }
}
