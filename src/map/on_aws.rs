//! `weir function` and `weir map` on AWS: a function is a Lambda, which the stack's state machine invokes with pointers to
//! objects.
//!
//! In the raw bucket, `functions/NAME.json` is a function, `map-items/RUN.json` the pointers of a run, and
//! `map-results/RUN/N` what the Lambda put there for the Nth object. With `--reduce`, `map-results/RUN/all.json.gz` has all results
//! in order, and a second run gets a pointer to it. Events never pass through Step Functions.

use std::{io, process::ExitCode, slice, time::Duration};

use anyhow::{Context, Result, anyhow, bail};
use flate2::{Compression, write::GzEncoder};
use futures_util::{StreamExt, TryStreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use serde_json::json;
use weir_aws::{Put, S3Files};
use weir_core::{Clock, EventId, SystemClock, SystemRandom, sealing::SealedDays};

use super::mapping::{self, Chosen};
use crate::{
    aws::{Execution, Executions, Mapping},
    cli::{EngineName, FunctionName, MapArgs},
    counted::counted,
    names::{self, Selection},
    signals::Signals,
};

const FUNCTIONS: &str = "functions/";

/// The prefix of results.
const RESULTS: &str = "map-results/";

/// The most functions.
const MOST_FUNCTIONS: usize = 10_000;

/// How many batches of objects are worked on at once unless `--workers` says otherwise: a new account may run ten Lambdas.
const AT_ONCE: u16 = 10;

/// How many results are fetched at once.
const FETCHED_AT_ONCE: usize = 16;

/// The pause between two looks at a run.
const PAUSE: Duration = Duration::from_secs(1);

/// A function on AWS.
#[derive(Debug, Serialize, Deserialize)]
struct Function {
    lambda: String,
}

/// A pointer to an object, and to the place of its result.
#[derive(Debug, Serialize)]
struct Item<'a> {
    bucket: &'a str,
    key: &'a str,
    result: String,
}

pub(super) async fn add(name: &FunctionName, lambda: &str) -> Result<()> {
    let Mapping { files, executions, .. } = crate::aws::mapping().await?;
    check(lambda, executions.machine())?;
    let function = serde_json::to_vec_pretty(&Function { lambda: lambda.to_owned() })?;
    match files.put(&key(name), function).await? {
        Put::Done => eprintln!("There is a function {name} now: weir map --engine aws {name} --type TYPE"),
        Put::Taken => bail!("there is a function {name} already: remove it first, or choose another name"),
    }
    Ok(())
}

/// Returns the names and Lambdas of all functions, by name.
pub(super) async fn list() -> Result<Vec<(FunctionName, String)>> {
    let files = crate::aws::mapping().await?.files;
    let mut functions = Vec::new();
    for name in known(&files).await? {
        let lambda = get(&files, &name).await?.lambda;
        functions.push((name, lambda));
    }
    Ok(functions)
}

pub(super) async fn remove(name: &FunctionName) -> Result<()> {
    let files = crate::aws::mapping().await?.files;
    get(&files, name).await?;
    files.remove(&key(name)).await?;
    eprintln!("The function {name} is removed.");
    Ok(())
}

fn key(name: &FunctionName) -> String {
    format!("{FUNCTIONS}{name}.json")
}

async fn known(files: &S3Files) -> Result<Vec<FunctionName>> {
    let keys = files.list(FUNCTIONS, MOST_FUNCTIONS).await?;
    let name = |key: String| key.strip_prefix(FUNCTIONS)?.strip_suffix(".json")?.parse().ok();
    Ok(keys.into_iter().filter_map(name).collect())
}

async fn get(files: &S3Files, name: &FunctionName) -> Result<Function> {
    let Some(text) = files.read(&key(name)).await? else {
        let known = known(files).await?;
        bail!(names::no_such("function", name.as_str(), &known.iter().map(FunctionName::as_str).collect()));
    };
    serde_json::from_slice(&text)
        .with_context(|| format!("{} is damaged: remove the function and add it again", key(name)))
}

/// Refuses what is no ARN of a Lambda that the state machine may invoke: its name begins with the machine's own.
fn check(lambda: &str, machine: &str) -> Result<()> {
    let parts: Vec<&str> = lambda.split(':').collect();
    let ["arn", partition, "lambda", region, account, "function", name, ref alias @ ..] = parts[..] else {
        bail!("a Lambda's ARN is like arn:aws:lambda:REGION:ACCOUNT:function:NAME, not {lambda:?}");
    };
    let [_, own_partition, _, own_region, own_account, _, machine] =
        machine.split(':').collect::<Vec<_>>()[..]
    else {
        bail!("WEIR_MAP_MACHINE is not the ARN of a state machine: the stack's output Environment has it");
    };
    let is_word = |word: &&str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_$".contains(&byte))
    };
    if alias.len() > 1 || !alias.iter().chain([&name]).all(is_word) {
        bail!("a Lambda's ARN is like arn:aws:lambda:REGION:ACCOUNT:function:NAME, not {lambda:?}");
    }
    if [partition, region, account] != [own_partition, own_region, own_account] {
        bail!("the Lambda must be in the stack's own account and region: {own_account}, {own_region}");
    }
    if !name.starts_with(&format!("{machine}-")) {
        bail!("the stack may only invoke Lambdas whose names begin with {machine}-, and this is {name}");
    }
    Ok(())
}

/// Runs `weir map`.
pub(super) async fn map(args: MapArgs, print: impl Fn(&[u8]) -> io::Result<()>) -> Result<ExitCode> {
    let Mapping { files, executions, lake, lake_bucket, raw_bucket } = crate::aws::mapping().await?;
    let function = get(&files, &args.name).await?;
    let reduce = match &args.reduce {
        Some(name) => Some((get(&files, name).await?, name.clone())),
        None => None,
    };
    let (user, event_type) = (args.user.as_ref(), Some(&args.event_type));
    let data = &args.place.data;
    Selection { engine: EngineName::Aws, data, catalog: None, user, event_type }.check().await?;
    let chosen = Chosen { event_type: args.event_type, user: args.user, from: args.from, to: args.to };
    if let Some(days) = crate::aws::sealed_days().await? {
        super::warn_of_expired(&days.manifest().await?, "LakeJsonRetentionDays", &chosen);
    }
    let objects = chosen.objects(&lake).await?;
    let run = EventId::generate(SystemClock.now(), &SystemRandom).as_str().to_owned();
    let at_once = args.workers.unwrap_or(AT_ONCE);
    let runs = Runs { files: &files, executions: &executions, at_once };
    // From here on a signal does not end the process by itself: nothing may go on that no one waits for.
    let mut signals = Signals::listen(None)?;
    let items = items(&run, &lake_bucket, &objects);
    let mut reduced = reduce.is_some().then(|| GzEncoder::new(Vec::new(), Compression::fast()));
    if !objects.is_empty() {
        let ended = match runs.run(&run, &function, &items, &mut signals).await? {
            Ok(ended) => ended,
            Err(code) => return Ok(ExitCode::from(code)),
        };
        let printed = async {
            match &mut reduced {
                None => results(&files, &items, &ended, |result| print(result)).await,
                Some(input) => {
                    results(&files, &items, &ended, |result| mapping::write(&mut *input, result)).await
                }
            }
        };
        tokio::select! {
            printed = printed => printed?,
            code = signals.next() => return Ok(ExitCode::from(code)),
        };
        if let Execution::Ended(why) = ended {
            bail!("the run {run} failed, although all objects have results: {why}");
        }
    }
    if let (Some(input), Some((reduce, name))) = (reduced, reduce) {
        // An object like those of the lake, so that one Lambda can be both.
        let key = format!("{RESULTS}{run}/all.json.gz");
        files.put(&key, input.finish()?).await?;
        let item = Item { bucket: &raw_bucket, key: &key, result: format!("{RESULTS}{run}/reduced") };
        let reducing = format!("{run}-reduce");
        let ended = match runs.run(&reducing, &reduce, slice::from_ref(&item), &mut signals).await? {
            Ok(ended) => ended,
            Err(code) => return Ok(ExitCode::from(code)),
        };
        let reduced = results(&files, slice::from_ref(&item), &ended, print).await;
        reduced.with_context(|| format!("the results could not be reduced by {name}"))?;
        if let Execution::Ended(why) = ended {
            bail!("the run {reducing} failed, although it has a result: {why}");
        }
    }
    eprintln!("weir: {} mapped", counted(objects.len() as u64, "object was", "objects were"));
    Ok(ExitCode::SUCCESS)
}

/// Where runs are started.
struct Runs<'a> {
    files: &'a S3Files,
    executions: &'a Executions,
    at_once: u16,
}

impl Runs<'_> {
    /// Runs a function over objects. Returns how that ended, or the exit code if a signal came: the run is stopped then.
    async fn run(
        &self,
        run: &str,
        function: &Function,
        items: &[Item<'_>],
        signals: &mut Signals,
    ) -> Result<Result<Execution, u8>> {
        let items_key = format!("map-items/{run}.json");
        self.files.put(&items_key, serde_json::to_vec(&items)?).await?;
        let (lambda, at_once) = (&function.lambda, self.at_once);
        let input = json!({"run": run, "items": items_key, "function": lambda, "at_once": at_once});
        let execution = self.executions.start(run, &input).await?;
        let ended = tokio::select! {
            ended = wait(self.executions, &execution, items.len()) => ended,
            code = signals.next() => {
                stop(self.executions, &execution).await;
                return Ok(Err(code));
            }
        };
        if ended.is_err() {
            stop(self.executions, &execution).await;
        }
        Ok(Ok(ended?))
    }
}

/// The pointers of a run. The places of results are of one width, so that their order is that of the objects.
fn items<'a>(run: &str, bucket: &'a str, objects: &'a [String]) -> Vec<Item<'a>> {
    let item = |(index, key)| Item { bucket, key, result: format!("{RESULTS}{run}/{index:010}") };
    objects.iter().map(String::as_str).enumerate().map(item).collect()
}

/// Waits for the end of an execution. An error means that the outcome is unknown.
async fn wait(executions: &Executions, execution: &str, objects: usize) -> Result<Execution> {
    let bar = ProgressBar::new(objects as u64);
    // The template is a constant.
    let style = ProgressStyle::with_template("{spinner} {pos}/{len} objects, {elapsed}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(200));
    loop {
        match executions.describe(execution).await? {
            Execution::Running => {}
            ended => {
                bar.finish_and_clear();
                return Ok(ended);
            }
        }
        if !bar.is_hidden()
            && let Some(progress) = executions.progress(execution).await?
        {
            bar.set_length(progress.total);
            bar.set_position(progress.done);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Stops an execution, and says so if that fails.
async fn stop(executions: &Executions, execution: &str) {
    match executions.stop(execution).await {
        Ok(()) => eprintln!("weir: the run was stopped"),
        Err(error) => eprintln!("weir: {execution} may go on: {}", crate::told(&error)),
    }
}

/// Gives the results in the order of the objects. An object without one is an error, which names it.
async fn results(
    files: &S3Files,
    items: &[Item<'_>],
    ended: &Execution,
    mut print: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<()> {
    let fetch = |item: &Item<'_>| {
        let (files, result, key) = (files.clone(), item.result.clone(), item.key.to_owned());
        async move { anyhow::Ok((files.read(&result).await?, key)) }
    };
    let fetched = stream::iter(items.iter().map(fetch)).buffered(FETCHED_AT_ONCE);
    let mut fetched = std::pin::pin!(fetched);
    while let Some((result, key)) = fetched.try_next().await? {
        let result = result.ok_or_else(|| match ended {
            Execution::Ended(why) => anyhow!("{key} could not be mapped: {why}"),
            _ => anyhow!(
                "{key} could not be mapped: the function put no result at the place that its item names"
            ),
        })?;
        print(&result).context("results cannot be written")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lambda_that_the_stack_may_invoke_is_a_function() {
        let machine = "arn:aws:states:eu-west-1:123456789012:stateMachine:weir-map";
        let lambda = |name: &str| format!("arn:aws:lambda:eu-west-1:123456789012:function:{name}");
        for good in ["weir-map-score", "weir-map-score:live", "weir-map-score:3", "weir-map-a_b"] {
            assert!(check(&lambda(good), machine).is_ok(), "{good}");
        }
        for bad in [
            "score",
            "weir-map",
            "weir-mapper",
            "weir-map-a:b:c",
            "weir-map-a/b",
            "weir-map-*",
            "weir-map-a:",
            "",
        ] {
            assert!(check(&lambda(bad), machine).is_err(), "{bad}");
        }
        let good = lambda("weir-map-score");
        for (from, to) in [
            ("eu-west-1", "us-east-1"),
            ("123456789012", "123456789013"),
            ("arn:aws:", "arn:aws-cn:"),
            ("lambda", "states"),
        ] {
            assert!(check(&good.replacen(from, to, 1), machine).is_err(), "{to}");
        }
        assert!(check(&good, "weir-map").is_err());
    }

    #[test]
    fn the_places_of_results_are_in_the_order_of_the_objects_and_a_batch_of_pointers_is_small() {
        // A path's longest user, type and batch.
        let objects: Vec<String> = (0..1200).map(|n| format!("username={}/{n}", "u".repeat(400))).collect();
        let items = items("019ab3de-7c14-7d3e-9c1b-5f0e6a2d4b88", "bucket", &objects);
        assert!(items.is_sorted_by(|one, next| one.result < next.result));
        assert!(items.iter().zip(&objects).all(|(item, object)| item.key == object));
        let item = json!(items[0]);
        assert!(item.to_string().len() * 10 < 128 << 10);
    }
}
