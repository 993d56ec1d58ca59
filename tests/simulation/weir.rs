//! Weir's three functions, as their programs wire them, on the simulated AWS. Between a function and an engine there
//! may be a planted bug.

use std::{num::NonZeroU16, sync::Arc, time::Duration};

use authorizer::Authorizer;
use collector::{Collector, Gateway, GatewayAuthentication, Host, Limits, Origins};
use fan_out::FanOut;
use weir_aws::{Aws, DynamoCounts, DynamoLatest, DynamoUsers, Names};
use weir_core::{
    Catalog,
    ports::{Ports, Receipts},
};

use crate::{
    clock::WrongClock,
    dice::Dice,
    operations::Machine,
    planted::{self, Bug},
    world::{LAKE, RAW, World, s3},
};

/// As in the programs of the functions.
const GIVE_UP_AFTER: Duration = Duration::from_secs(8);
/// As the collector on Lambda.
const COUNTED_WITHIN: Duration = Duration::from_secs(13);
pub(crate) const CREDENTIALS_CACHED: Duration = Duration::from_mins(1);

/// Several shards, so that there is something to add up.
const SHARDS: NonZeroU16 = NonZeroU16::new(2).unwrap();

/// What the functions are made of.
#[derive(Clone)]
pub(crate) struct Weir {
    world: Arc<World>,
    aws: Aws,
    catalog: Arc<Catalog>,
    random: Arc<Dice>,
    /// Whether events go into a bucket of each user, where there is one.
    bucket_per_user: bool,
}

impl Weir {
    pub(crate) fn new(randomness: u64, world: &Arc<World>, catalog: &Arc<Catalog>) -> Self {
        let random = Arc::new(Dice::new(randomness, "weir"));
        let aws = Aws::new(world.config(), random.clone(), Arc::new(world.clock));
        let bucket_per_user = s3::has_bucket_per_user(&world.luck);
        Self { world: world.clone(), aws, catalog: catalog.clone(), random, bucket_per_user }
    }

    /// AWS as seen by a machine whose clocks go wrong in some runs.
    fn aws_of_another_machine(&self, machine: Machine) -> Aws {
        let clock = WrongClock::of(machine, self.world.clock, &self.world.luck);
        Aws::new(self.world.config(), self.random.clone(), Arc::new(clock))
    }

    pub(crate) fn users(&self) -> DynamoUsers {
        self.aws.users("users")
    }

    pub(crate) fn counts(&self) -> DynamoCounts {
        self.aws.counts("counts", SHARDS)
    }

    pub(crate) fn latest(&self) -> DynamoLatest {
        self.aws.latest("latest", LAKE)
    }

    pub(crate) fn authorizer(&self) -> Arc<Authorizer> {
        let cached =
            if self.world.has(Bug::BelievedForever) { Duration::from_hours(24) } else { CREDENTIALS_CACHED };
        let clock = Arc::new(WrongClock::of(Machine::Authorizer, self.world.clock, &self.world.luck));
        Arc::new(Authorizer::new(Arc::new(self.users()), clock, &*self.random, cached))
    }

    /// A collector behind its gateway, on a machine whose clocks go wrong in some runs where they `may`: what it claims must
    /// hold all the same. What it stamps is by a clock that is right, as the checks go by that.
    pub(crate) fn gateway(&self, may: bool) -> Gateway {
        let (ports, _) = self.aws.ports(&self.names(), GIVE_UP_AFTER);
        let ids = if may { self.aws_of_another_machine(Machine::Collector) } else { self.aws.clone() }
            .recent_ids("recent");
        let stream = self.aws.stream("weir", GIVE_UP_AFTER).remembering(ids);
        let ports = Ports {
            stream: planted::stream(&self.world, Arc::new(stream), ports.live.clone()),
            live: planted::live(&self.world, ports.live),
            rejected: planted::rejected(&self.world, ports.rejected),
            latest: planted::latest(&self.world, ports.latest),
            ..ports
        };
        let host = Host {
            authenticate: Arc::new(GatewayAuthentication::new(Arc::new(self.world.clock))),
            observe: Arc::new(()),
            clock: Arc::new(self.world.clock),
            random: self.random.clone(),
            runs: Arc::new(()),
            queries: Arc::new(()),
            counted_within: Some(COUNTED_WITHIN),
            keep_days: None,
        };
        let catalog = self.catalog.clone();
        let collector = Collector { catalog, ports, host, limits: Limits::default() };
        Gateway::new(collector::router(collector, &Origins::Any))
    }

    fn names(&self) -> Names {
        Names {
            stream: "weir".to_owned(),
            recent_ids: "recent".to_owned(),
            counts: "counts".to_owned(),
            shards: SHARDS,
            latest: "latest".to_owned(),
            raw: RAW.to_owned(),
            lake: LAKE.to_owned(),
            bucket_per_user: self.bucket_per_user,
        }
    }

    /// The receipts of events.
    pub(crate) fn receipts(&self) -> Arc<dyn Receipts> {
        planted::receipts(&self.world, self.aws.ports(&self.names(), GIVE_UP_AFTER).0.receipts)
    }

    pub(crate) fn fan_out(&self) -> FanOut {
        FanOut::new(
            planted::raw(&self.world, Arc::new(self.aws.raw(RAW))),
            planted::lake(&self.world, Arc::new(self.aws.lake(LAKE, self.bucket_per_user))),
            planted::quarantine(&self.world, Arc::new(self.aws.quarantine(RAW))),
            Arc::new(self.aws_of_another_machine(Machine::FanOut).counts("counts", NonZeroU16::MIN)),
        )
    }
}
