//! The program of two functions on Lambda: the publisher, and the function that seals days. Schedules invoke both, and both
//! query Athena. `WEIR_TASK` says which of them runs. One program is built and tested once.

mod answers;
mod days;

use std::{process::ExitCode, str::FromStr, sync::Arc, time::Duration};

use serde_json::Value;
use weir_lambda::{Environment, StartError};

use answers::Publisher;
use days::Sealer;

/// The task of this function.
enum Task {
    /// Publishes answers again.
    Publish,
    /// Seals days.
    Seal,
}

/// The name is not a task.
#[derive(Debug, thiserror::Error)]
#[error("there is no such task: use publish or seal")]
struct NoSuchTask;

impl FromStr for Task {
    type Err = NoSuchTask;

    fn from_str(name: &str) -> Result<Self, NoSuchTask> {
        match name {
            "publish" => Ok(Self::Publish),
            "seal" => Ok(Self::Seal),
            _ => Err(NoSuchTask),
        }
    }
}

enum Function {
    Publisher(Box<Publisher>),
    Sealer(Box<Sealer>),
}

/// Why an invocation failed. The reason is logged already.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Answers(#[from] answers::Failed),
    #[error(transparent)]
    Days(#[from] seal::RunError),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    weir_lambda::run_in_time(|environment| {
        let function = Arc::new(Function::new(environment)?);
        Ok(move |_: Value, left: Option<Duration>| {
            let function = function.clone();
            Box::pin(async move { function.answer(left.unwrap_or_default()).await })
        })
    })
    .await
}

impl Function {
    fn new(environment: &Environment) -> Result<Self, StartError> {
        Ok(match environment.or("WEIR_TASK", Task::Publish)? {
            Task::Publish => Self::Publisher(Box::new(Publisher::new(environment)?)),
            Task::Seal => Self::Sealer(Box::new(Sealer::new(environment)?)),
        })
    }

    async fn answer(&self, left: Duration) -> Result<Value, Failed> {
        Ok(match self {
            Self::Publisher(publisher) => publisher.answer(left).await?,
            Self::Sealer(sealer) => sealer.answer(left).await?,
        })
    }
}
