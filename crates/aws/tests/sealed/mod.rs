//! Generations of sealed days for the suites, as a sealing leaves them.

#![allow(unreachable_pub, clippy::unwrap_used, reason = "it is for tests")]

use std::collections::BTreeSet;

use tokio::{runtime::Handle, task::block_in_place};
use weir_aws::S3SealedDays;
use weir_core::{Day, EventType, sealing::SealedDays};

use crate::emulator::{Emulator, LAKE};

/// Makes a generation with files of a type, of its repeats, and of an attempt that died.
pub fn make(emulator: &Emulator) -> impl Fn(Day, u64, &BTreeSet<String>) {
    |day, number, covered| {
        let click: EventType = "click".parse().unwrap();
        block_in_place(|| {
            Handle::current().block_on(async {
                let (days, s3) = (emulator.aws().sealed_days(LAKE), emulator.s3());
                for attempt in ["died", "done"] {
                    let folder = S3SealedDays::folder(day, number, attempt);
                    days.list_added(&folder, &click, &BTreeSet::from(["some/object"])).await.unwrap();
                    for of in [click.to_string(), S3SealedDays::repeats(&click)] {
                        let key = format!("sealed/{folder}/{of}/a_file_of_any_name");
                        s3.put_object()
                            .bucket(LAKE)
                            .key(key)
                            .body(b"rows".to_vec().into())
                            .send()
                            .await
                            .unwrap();
                    }
                }
                days.cover(day, number, covered).await.unwrap();
            });
        });
    }
}
