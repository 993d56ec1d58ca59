//! A stranger who writes into the stream and into raw: what cannot be filed must not be lost, nor hurt the rest.

use std::sync::{Arc, Mutex};

use crate::{
    ledger::Ledger,
    operations::{Garbage, Op},
    world::{RAW, World},
};

/// What is in an object that is no batch.
pub(crate) const JUNK: &str = "this is no batch at all";

pub(crate) async fn work(world: Arc<World>, ledger: Arc<Mutex<Ledger>>) {
    for op in world.luck.people() {
        let Op::Stranger { n, at, writes } = *op else { continue };
        world.clock.until(at).await;
        let line: Vec<u8> = match writes {
            Garbage::NoBatch => {
                let key = format!("raw/by hand/junk+{n}.gz");
                world.objects.lock().unwrap().put(RAW, &key, JUNK.into());
                ledger.lock().unwrap().junk.push(key.clone());
                world.announce(&key.replace('+', "%2B").replace(' ', "+"));
                continue;
            }
            Garbage::Words => format!("garbage {n}").into(),
            Garbage::NoType => format!("{{\"event_id\":\"g{n}\",\"username\":\"anna\"}}").into(),
            Garbage::NotUtf8 => [format!("{{\"g\":{n}, ").as_bytes(), b"\xff\xfe}"].concat(),
            Garbage::NoUsername => format!(
                "{{\"event_id\":\"g{n}\",\"username\":\"../{n}\",\"event_type\":\"button_click\",\"received_at\":1}}"
            )
            .into(),
            Garbage::NoObject => format!("[{n}]").into(),
        };
        world.note(&format!("a stranger writes {n}"));
        let now = world.clock.millis();
        world.stream.lock().unwrap().put(now, &[line.as_slice(), b"\n"].concat());
        ledger.lock().unwrap().garbage.push(line);
    }
}
