//! What a million events cost on AWS.
//!
//! The functions' real programs run on a Runtime API and a stub AWS. What it saw, and what they logged and answered, is
//! counted and priced. Time is what they took against a stub that lets them wait as long as AWS is assumed to; on Lambda
//! they have less than a CPU, so that their own work takes longer by as much.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use crate::{
    bill::Bill,
    bootstraps,
    prices::{AS_OF, BY_THE_MONTH, Item},
    report::Results,
    run::{Latency, Time, Work, Worked},
    usage::{GB, Usage, as_f64},
};

/// A million events.
const EVENTS: u32 = 1_000_000;

/// How long it takes until they are all there, in seconds: the stream delivers no sooner for there being few.
pub(crate) const SPREADS: [(&str, u32); 2] = [("within a day", 86_400), ("within a week", 7 * 86_400)];

/// How long API Gateway believes credentials, in seconds.
const BELIEVED: u32 = 300;

/// What is promised: a million events in requests of a hundred, within a day. What takes longer is filed in more batches, and
/// costs a little more: filing is paid by the batch.
const BUDGET: f64 = 0.10;

/// How `cost` runs.
#[derive(Args)]
pub(crate) struct Options {
    /// After how many seconds the stream delivers a batch.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(60..=900))]
    pub(crate) buffer_seconds: u32,
    /// How many different buttons are clicked in a request of a hundred: each is a count to be raised.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) keys: u32,
    /// How long AWS is assumed to take.
    #[command(flatten)]
    pub(crate) latency: Latency,
    /// How often each function is invoked.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) invocations: u32,
    /// Takes the times that are stated instead of those that are measured: the same figures on every machine.
    #[arg(long)]
    stated: bool,
    /// Runs the programs that `sam build` made, in this folder, instead of building them: what is deployed.
    #[arg(long, value_name = "DIR")]
    built: Option<PathBuf>,
}

/// How large an event is as it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    /// A click, with nothing but what its type asks for.
    Click,
    /// 500 bytes.
    Large,
}

/// How a million events are sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) per_request: u32,
    pub(crate) size: Size,
    /// Whether clients give their events ids.
    pub(crate) ids: bool,
}

impl Scenario {
    /// The scenarios in the report.
    pub(crate) const ALL: [Self; 6] = [
        Self { per_request: 1, size: Size::Click, ids: false },
        Self { per_request: 1, size: Size::Large, ids: false },
        Self { per_request: 100, size: Size::Click, ids: false },
        Self { per_request: 100, size: Size::Large, ids: false },
        Self { per_request: 100, size: Size::Click, ids: true },
        Self { per_request: 100, size: Size::Large, ids: true },
    ];

    /// What its bill is called.
    pub(crate) fn title(self) -> String {
        let per_request = if self.per_request == 1 { "one".to_owned() } else { self.per_request.to_string() };
        let size = if self.size == Size::Click { "clicks" } else { "events of 500 bytes" };
        let ids = if self.ids { ", with ids of the client's" } else { "" };
        format!("a million {size}, {per_request} a request{ids}")
    }

    fn budget(self, seconds: u32) -> Option<f64> {
        (self.per_request == 100 && !self.ids && seconds <= 86_400).then_some(BUDGET)
    }

    /// An event as a client sends it.
    fn event(self, number: u32, keys: u32) -> Value {
        let mut event = json!({"session_id": format!("{:08x}", 0x3fa2_9c01_u32.wrapping_mul(number + 1)),
                               "button_id": format!("b{}", number % keys)});
        if self.per_request > 1 {
            event["event_type"] = json!("button_click");
        }
        if self.ids {
            event["event_id"] = json!(format!("{:032x}", u128::from(number) + (1 << 100)));
        }
        if self.size == Size::Large {
            event["page"] = json!("");
            let missing = 500_usize.saturating_sub(event.to_string().len());
            event["page"] = json!("https://example.com/shop?item=4711&from=".repeat(20)[..missing]);
        }
        event
    }

    /// A request's body and path.
    pub(crate) fn request(self, keys: u32) -> (String, &'static str) {
        if self.per_request == 1 {
            return (self.event(0, 1).to_string(), "/button/click");
        }
        let events = (0..self.per_request).map(|number| self.event(number, keys));
        (events.collect::<Value>().to_string(), "/events")
    }
}

/// Where the functions' programs are.
pub(crate) struct Programs {
    pub(crate) authorizer: PathBuf,
    pub(crate) collector: PathBuf,
    pub(crate) fan_out: PathBuf,
}

impl Programs {
    fn built(folder: Option<&Path>) -> anyhow::Result<Self> {
        let program = |function: &str, resource: &str| match folder {
            Some(folder) => Ok(folder.join(resource).join("bootstrap")),
            None => bootstraps::build(function),
        };
        Ok(Self {
            authorizer: program("authorizer", "Authorizer")?,
            collector: program("collector", "Collector")?,
            fan_out: program("fan-out", "FanOut")?,
        })
    }
}

/// All bills, and what of them depends on the number of partitions.
pub(crate) struct Costs {
    pub(crate) bills: Vec<Bill>,
    /// What a batch costs to file, by the number of its partitions.
    pub(crate) filing: Vec<Bill>,
    notes: Vec<String>,
}

/// The numbers of a batch's partitions for which the report has the cost of filing.
const PARTITIONS: [u64; 4] = [1, 10, 100, 1000];

/// A batch's events where partitions are compared.
const COMPARED_EVENTS: u32 = 10_000;

/// Requests of so many events, of so many resources, for which the report has the cost of latest values.
pub(crate) const LATEST: [(u32, u32); 2] = [(1, 1), (100, 4)];

/// What latest values cost for a million events: a write for each resource of a request, as `crates/aws/tests/latest.rs` counts
/// them; and an object more for each, if the events are above 8 KB.
pub(crate) fn latest_values(per_request: u32, resources: u32) -> [f64; 2] {
    let writes = f64::from(EVENTS / per_request * resources);
    [Item::Writes, Item::Puts].map(|item| writes * item.price().dollars / item.price().per)
}

/// Runs everything on programs as they are deployed.
pub(crate) fn run(options: &Options) -> anyhow::Result<Costs> {
    let time = if options.stated { Time::Stated } else { Time::Measured };
    bills(options, &Programs::built(options.built.as_deref())?, time)
}

/// Runs everything on these programs.
pub(crate) fn bills(options: &Options, programs: &Programs, time: Time) -> anyhow::Result<Costs> {
    let mut costs = Costs { bills: Vec::new(), filing: Vec::new(), notes: Vec::new() };
    let authorized = Work::authorizing(&options.latency).run(&programs.authorizer, 1, time)?;
    costs.note("authorizer", &authorized);
    for scenario in Scenario::ALL {
        let collected = collect(options, programs, time, scenario, &mut costs)?;
        for spread in SPREADS {
            let bill = bill(options, programs, time, (scenario, spread), (&authorized, &collected))?;
            costs.bills.push(bill);
        }
    }
    for partitions in PARTITIONS {
        let mut bill =
            Bill::new(format!("a batch of {COMPARED_EVENTS} events of {partitions} partitions"), None);
        let work = Work::filing(
            &options.latency,
            COMPARED_EVENTS,
            240,
            [partitions.min(100), partitions.div_ceil(100), 1],
        );
        let filed = work.run(&programs.fan_out, options.invocations.min(10), time)?;
        bill.add("filing", &filing(&filed), 1.0);
        costs.filing.push(bill);
    }
    Ok(costs)
}

/// What a request used: the collector, and the API before it.
struct Collected {
    api: Usage,
    function: Worked,
}

fn collect(
    options: &Options,
    programs: &Programs,
    time: Time,
    scenario: Scenario,
    costs: &mut Costs,
) -> anyhow::Result<Collected> {
    let (body, path) = scenario.request(options.keys);
    let work = Work::collecting(&options.latency, path, &body, scenario.per_request, scenario.ids);
    let function = work.run(&programs.collector, options.invocations, time)?;
    let mut api = Usage::default();
    api.add(Item::ApiRequests, as_f64(body.len().div_ceil(512_000).max(1)));
    api.add(Item::LogGb, as_f64(access_log_bytes(path)) / GB);
    api.add(Item::TransferGb, as_f64(function.answer_bytes + ANSWER_HEAD) / GB);
    costs.note(&format!("collector, {}", scenario.title()), &function);
    Ok(Collected { api, function })
}

fn bill(
    options: &Options,
    programs: &Programs,
    time: Time,
    (scenario, (spread, seconds)): (Scenario, (&str, u32)),
    (authorized, collected): (&Worked, &Collected),
) -> anyhow::Result<Bill> {
    let mut bill = Bill::new(format!("{}, {spread}", scenario.title()), scenario.budget(seconds));
    let requests = EVENTS / scenario.per_request;
    bill.add("API", &collected.api, f64::from(requests));
    // One user's credentials.
    bill.add("authorizer", &authorized.usage, f64::from(requests.min(seconds / BELIEVED)));
    bill.add("collector", &collected.function.usage, f64::from(requests));

    let batches = seconds / options.buffer_seconds;
    let line = collected.function.stream_bytes / scenario.per_request as usize;
    let file = |hours| {
        let work = Work::filing(&options.latency, EVENTS / batches, line, [1, 1, hours]);
        work.run(&programs.fan_out, options.invocations.clamp(1, 20), time)
    };
    let (in_one, in_two) = (file(1)?, file(2)?);
    // Of the batches of an hour, one lies in the next one as well.
    let in_both = f64::from(options.buffer_seconds) / 3600.0;
    let mut filed = Usage::default();
    filed.add_all(&filing(&in_one), 1.0 - in_both);
    filed.add_all(&filing(&in_two), in_both);
    bill.add("filing", &filed, f64::from(batches));
    bill.keep(in_one.stored_bytes / GB * f64::from(batches));
    Ok(bill)
}

/// What a batch costs beside the function: the stream puts it, S3 sends a message that is received and deleted.
fn filing(worked: &Worked) -> Usage {
    let mut usage = worked.usage.clone();
    usage.add(Item::Puts, 1.0);
    usage.add(Item::QueueRequests, 3.0);
    usage
}

/// What API Gateway sends beside a body: status line and headers.
const ANSWER_HEAD: usize = 300;

/// A line of the API's access log, as the template has it.
fn access_log_bytes(path: &str) -> usize {
    let line = format!(
        "{{\"requestId\":\"JKJaXmPLvHcESHA=\",\"method\":\"POST\",\"path\":\"{path}\", \"status\":\"200\",\"latency_ms\":\"100\", \
         \"authorizer_error\":\"-\",\"integration_error\":\"-\"}}"
    );
    line.len() + crate::run::LOG_LINE
}

impl Costs {
    fn note(&mut self, of: &str, worked: &Worked) {
        self.notes.push(format!(
            "{of} is billed {:.0} ms an invocation, {:.2} ms of CPU",
            worked.billed, worked.cpu
        ));
    }
}

impl Results for Costs {
    fn table(&self) -> String {
        let mut text = format!("Prices of us-east-1, on demand, without free tier, {AS_OF}.\n\n");
        for bill in &self.bills {
            text += &format!("{:70} ${:.4}\n", bill.title, bill.total());
        }
        text.push('\n');
        for bill in &self.bills {
            text += &format!("{}\n", bill.table());
        }
        text += "What a batch costs to file, by its partitions (users x types x hours)\n";
        for bill in &self.filing {
            text += &format!("  {:45} ${:.6}\n", bill.title, bill.total());
        }
        text += "\nWhat latest values add to a million events, for a type that has `latest_by`\n";
        for (per_request, resources) in LATEST {
            let [item, object] = latest_values(per_request, resources);
            let what = format!("{per_request} a request, of {resources} resources");
            text += &format!("  {what:45} ${item:.3}; above 8 KB ${object:.3} more\n");
        }
        text += "\nBy the month, however few events there are, where free allowances are used up by other things\n";
        for (what, dollars) in BY_THE_MONTH {
            text += &format!("  ${dollars:.2}  {what}\n");
        }
        text += "\nTimes\n";
        for note in &self.notes {
            text += &format!("  {note}\n");
        }
        text
    }

    fn json(&self) -> Value {
        let bills = |bills: &[Bill]| bills.iter().map(Bill::json).collect::<Value>();
        let months = BY_THE_MONTH.map(|(what, dollars)| json!({"what": what, "dollars": dollars}));
        json!({"as_of": AS_OF, "bills": bills(&self.bills), "filing": bills(&self.filing), "by_the_month": months})
    }

    fn missed(&self) -> Vec<String> {
        self.bills.iter().filter_map(Bill::missed).collect()
    }
}
