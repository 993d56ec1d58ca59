//! Publishes due answers again.
//!
//! An answer that fails waits for its usual time, as one machine does; the invocation fails, which an alarm watches. Lambda then
//! tries the invocation again, which finds nothing due: each answer was claimed before it was computed.

use std::time::Duration;

use publisher::{
    AnswerError, Question, Rows, Spooled, publish,
    schedule::{Due, due},
};
use serde_json::{Value, json};
use tokio::time::Instant;
use weir_aws::{Aws, DynamoUsers, S3AnswersAdmin, athena::Athena};
use weir_core::{Catalog, Clock, Random, SystemClock, SystemRandom, answers::Definition, ports::PortError};
use weir_lambda::{Environment, StartError};

/// How much time is left to stop a query and to say what happened.
const ENDING: Duration = Duration::from_secs(30);

/// No answer is begun with less time than this: it is due at the next look, too.
const LEAST: Duration = Duration::from_mins(2);

/// Why an invocation failed. It is logged already.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    #[error("the answers cannot be listed: {0}")]
    List(#[source] PortError),
    #[error("{0} of the answers could not be computed")]
    Answers(usize),
}

/// The function that publishes.
pub(crate) struct Publisher {
    store: S3AnswersAdmin,
    users: DynamoUsers,
    athena: Athena,
    database: String,
    catalog: Catalog,
    has_cdn: bool,
}

impl Publisher {
    pub(crate) fn new(environment: &Environment) -> Result<Self, StartError> {
        let lake = environment.text("WEIR_LAKE_BUCKET")?;
        let users = environment.text("WEIR_USERS_TABLE")?;
        let workgroup = environment.text("WEIR_WORKGROUP")?;
        let database = environment.text("WEIR_GLUE_DATABASE")?;
        let has_cdn = environment.or("WEIR_CDN", false)?;
        let aws = Aws::on_lambda();
        Ok(Self {
            store: aws.answers_admin(&lake),
            users: aws.users(&users),
            athena: aws.athena(&workgroup, &database),
            database,
            catalog: Catalog::built_in()?,
            has_cdn,
        })
    }

    /// Publishes what is due, one after the other.
    pub(crate) async fn answer(&self, left: Duration) -> Result<Value, Failed> {
        let ends = Instant::now() + left.saturating_sub(ENDING);
        let standing = self.store.standing().await.map_err(|error| {
            tracing::error!(%error, "the answers cannot be listed; what is published stays");
            Failed::List(error)
        })?;
        let (mut published, mut failed) = (0, 0);
        for due in due(standing, SystemClock.now()) {
            if ends.saturating_duration_since(Instant::now()) < LEAST {
                tracing::info!("no time is left: the other answers are computed at the next look");
                break;
            }
            let answer = due.definition.name.as_str();
            match self.again(&due, ends).await {
                Ok(true) => published += 1,
                // Another one computes it, or it was published by hand meanwhile.
                Ok(false) | Err(AnswerError::Outdated) => {}
                Err(error) => {
                    tracing::error!(answer, %error, "an answer cannot be computed; what is published stays");
                    failed += 1;
                }
            }
        }
        if failed > 0 { Err(Failed::Answers(failed)) } else { Ok(json!({"published": published})) }
    }

    /// Computes an answer again, and publishes it; returns false if it is not this one's to compute.
    async fn again(&self, Due { answer, definition }: &Due, ends: Instant) -> Result<bool, AnswerError> {
        let now = SystemClock.now();
        if !self.store.claim(answer, &SystemRandom.token(), now).await? {
            return Ok(false);
        }
        let sql = &answer.published.sql;
        let users = self.users.names().await?;
        let question = Question { catalog: &self.catalog, database: &self.database, users: &users };
        let asked = question.of(definition, sql, now)?;
        let (spooled, scanned) = self.ask(&asked, definition, ends).await?;
        let stored = publish(&self.store, (definition, sql), &spooled, now, self.has_cdn, true).await?;
        tracing::info!(
            answer = definition.name.as_str(),
            rows = stored.rows,
            left_out = stored.left_out,
            bytes = stored.length,
            bytes_scanned = scanned,
            "published"
        );
        Ok(true)
    }

    /// Asks Athena; returns the rows, and the bytes that it scanned.
    async fn ask(
        &self,
        sql: &str,
        definition: &Definition,
        ends: Instant,
    ) -> Result<(Spooled, u64), AnswerError> {
        let (query, scanned) = self.athena.ask_until(sql, ends).await?;
        let (mut answered, mut rows) = (self.athena.rows(&query), Rows::new(definition)?);
        let mut has_begun = false;
        while let Some(page) = answered.next().await? {
            if !has_begun {
                rows.begin(answered.columns().to_vec())?;
                has_begun = true;
            }
            page.into_iter().try_for_each(|row| rows.row(row))?;
        }
        Ok((rows.finish()?, scanned))
    }
}
