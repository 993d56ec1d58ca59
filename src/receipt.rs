//! `weir receipt`: what became of an event, from `GET /events/{event_id}` of any Weir.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use weir_core::Timestamp;

use crate::{
    cli::{ReceiptArgs, ReceiptFormat},
    printed,
    send::client::{Client, Credentials},
    terminal::on_one_line,
};

/// Runs the command.
pub(crate) async fn run(args: ReceiptArgs) -> Result<ExitCode> {
    tokio::task::spawn_blocking(move || ask(&args)).await.context("asking ended without a word")?
}

/// Returns the path of a receipt. The id `stream` is escaped, as its path is that of the stream of events.
fn path(event_id: &str) -> String {
    match event_id {
        "stream" => "/events/%73tream".to_owned(),
        event_id => format!("/events/{event_id}"),
    }
}

fn ask(args: &ReceiptArgs) -> Result<ExitCode> {
    let credentials = Credentials::find(args.credentials_file.as_deref())?;
    let client = Client::new(args.to.clone(), &credentials, 1)?;
    let (status, receipt) = client.get(&path(args.event_id.as_str()))?;
    if status != 200 {
        let said =
            receipt["detail"].as_str().or(receipt["message"].as_str()).unwrap_or("that is no answer of Weir");
        bail!("{} ({status})", on_one_line(said.trim_end_matches('.')));
    }
    match args.format {
        ReceiptFormat::Json => printed::line(receipt),
        ReceiptFormat::Table => {
            for (title, name) in [
                ("status", "status"),
                ("type", "event_type"),
                ("received at", "received_at"),
                ("object", "object"),
                ("reason", "reason"),
            ] {
                let shown = match &receipt[name] {
                    Value::Null => continue,
                    Value::Number(millis) => {
                        millis.as_u64().map_or_else(String::new, |at| Timestamp::saturating(at).to_string())
                    }
                    Value::String(text) => on_one_line(text),
                    other => other.to_string(),
                };
                printed::line(format_args!("{title:<12} {shown}"));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
