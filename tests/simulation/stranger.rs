//! Somebody else who writes into the stream and into raw: what cannot be filed must not be lost, nor hurt the rest.

use std::sync::{Arc, Mutex};

use crate::{
    clock::wait,
    dice::Dice,
    ledger::Ledger,
    world::{RAW, World},
};

/// What is in an object that is no batch.
pub(crate) const JUNK: &str = "this is no batch at all";

pub(crate) async fn work(world: Arc<World>, ledger: Arc<Mutex<Ledger>>, dice: Dice, until: u64) {
    for number in 0.. {
        wait(dice.range(100_000..1_500_000)).await;
        let now = world.clock.millis();
        if now >= until {
            return;
        }
        if dice.chance(150) {
            let key = format!("raw/by hand/junk+{number}.gz");
            world.objects.lock().unwrap().put(RAW, &key, JUNK.into());
            ledger.lock().unwrap().junk.push(key.clone());
            world.announce(&key.replace('+', "%2B").replace(' ', "+"));
            continue;
        }
        let line: Vec<u8> = match dice.range(0..5) {
            0 => format!("garbage {number}").into(),
            1 => format!("{{\"event_id\":\"g{number}\",\"username\":\"anna\"}}").into(),
            2 => [format!("{{\"g\":{number}, ").as_bytes(), b"\xff\xfe}"].concat(),
            3 => format!(
                "{{\"event_id\":\"g{number}\",\"username\":\"../{number}\",\"event_type\":\"button_click\",\"received_at\":1}}"
            )
            .into(),
            _ => format!("[{number}]").into(),
        };
        world.note(&format!("a stranger writes {number}"));
        world.stream.lock().unwrap().put(now, &[line.as_slice(), b"\n"].concat());
        ledger.lock().unwrap().garbage.push(line);
    }
}
