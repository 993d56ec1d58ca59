//! Executions of a state machine of Step Functions.

use anyhow::{Context, Result, anyhow};
use serde_json::{Value, json};
use weir_aws::Aws;

use super::signed::{Refusal, Service};

const STEP_FUNCTIONS: Service =
    Service { called: "Step Functions", name: "states", endpoint: "AWS_ENDPOINT_URL_SFN" };

/// The most bytes of the input of an execution.
const LONGEST_INPUT: usize = 256 << 10;

/// The executions of one state machine.
pub(crate) struct Executions {
    aws: Aws,
    /// The ARN of the state machine.
    machine: String,
}

/// How an execution is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Execution {
    Running,
    Succeeded,
    /// It failed, was stopped or took too long, for this reason.
    Ended(String),
}

/// How many objects of an execution are done, of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) done: u64,
    pub(crate) total: u64,
}

impl Executions {
    pub(super) fn new(aws: Aws, machine: String) -> Self {
        Self { aws, machine }
    }

    /// Returns the ARN of the state machine.
    pub(crate) fn machine(&self) -> &str {
        &self.machine
    }

    /// Starts an execution, and returns its ARN. A second call with the same name and input starts no other.
    pub(crate) async fn start(&self, name: &str, input: &Value) -> Result<String> {
        let input = input.to_string();
        if input.len() > LONGEST_INPUT {
            return Err(anyhow!("Step Functions takes an input of 256 KiB"));
        }
        let asked = json!({"stateMachineArn": self.machine, "name": name, "input": input});
        let started = self.call("StartExecution", &asked).await.map_err(|error| {
            match error.downcast_ref::<Refusal>().and_then(|refusal| refusal.kind.as_deref()) {
                Some("StateMachineDoesNotExist") => error.context(
                    "the stack has no state machine for functions: deploy it with the parameter WithMap=true",
                ),
                _ => error,
            }
        })?;
        Ok(started["executionArn"]
            .as_str()
            .context("Step Functions does not say what it started")?
            .to_owned())
    }

    pub(crate) async fn describe(&self, execution: &str) -> Result<Execution> {
        let described = self.call("DescribeExecution", &json!({"executionArn": execution})).await?;
        let why = || {
            let reasons = [&described["error"], &described["cause"]].into_iter().filter_map(Value::as_str);
            reasons.collect::<Vec<_>>().join(": ")
        };
        Ok(match described["status"].as_str() {
            Some("RUNNING" | "PENDING_REDRIVE") => Execution::Running,
            Some("SUCCEEDED") => Execution::Succeeded,
            Some("TIMED_OUT") => Execution::Ended("it took longer than a day".to_owned()),
            Some("ABORTED") => Execution::Ended("it was stopped".to_owned()),
            _ => Execution::Ended(why()),
        })
    }

    /// Returns how far an execution has come; `None` before its objects are known.
    pub(crate) async fn progress(&self, execution: &str) -> Result<Option<Progress>> {
        let runs = self.call("ListMapRuns", &json!({"executionArn": execution})).await?;
        let Some(run) = runs["mapRuns"][0]["mapRunArn"].as_str() else { return Ok(None) };
        let run = self.call("DescribeMapRun", &json!({"mapRunArn": run})).await?;
        let count = |name: &str| run["itemCounts"][name].as_u64().unwrap_or_default();
        Ok(Some(Progress { done: count("succeeded"), total: count("total") }))
    }

    pub(crate) async fn stop(&self, execution: &str) -> Result<()> {
        self.call("StopExecution", &json!({"executionArn": execution})).await.map(drop)
    }

    async fn call(&self, operation: &str, asked: &Value) -> Result<Value> {
        let target = format!("AWSStepFunctions.{operation}");
        let headers = [("content-type", "application/x-amz-json-1.0"), ("x-amz-target", &target)];
        STEP_FUNCTIONS.call(&self.aws, "POST", "/", &headers, asked.to_string().into_bytes()).await
    }
}
