//! `weir health`: asks a server whether it is well, for whoever has no other program to ask with, as in a container.

use std::{io, process::ExitCode};

use anyhow::{Context, Result, bail};
use axum::http::{Uri, header};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{cli::HealthArgs, terminal::on_one_line};

/// How much of the answer is read: the status and the problem details fit.
const ENOUGH: usize = 4096;

/// Exit code 0 if the server answers that it is well, 1 otherwise, with the reason.
pub(crate) async fn run(args: &HealthArgs) -> Result<ExitCode> {
    let status = timeout(args.within, ask(&args.to)).await;
    let status =
        status.map_err(|_| anyhow::anyhow!("{} did not answer within {:?}", args.to, args.within))?;
    match status.with_context(|| format!("{} cannot be asked", args.to))? {
        Answer { status: 200, .. } => Ok(ExitCode::SUCCESS),
        Answer { status, reason: Some(reason) } => {
            bail!("{} is not well: it answered {status}. {}", args.to, on_one_line(&reason))
        }
        Answer { status, reason: None } => bail!("{} is not well: it answered {status}", args.to),
    }
}

/// The server's answer.
struct Answer {
    status: u16,
    /// The detail of a problem.
    reason: Option<String>,
}

/// Asks `/health`.
async fn ask(server: &Uri) -> io::Result<Answer> {
    let host = server.host().unwrap_or("127.0.0.1").trim_start_matches('[').trim_end_matches(']');
    let mut stream = TcpStream::connect((host, server.port_u16().unwrap_or(80))).await?;
    let request = format!("GET /health HTTP/1.1\r\n{}: {host}\r\nconnection: close\r\n\r\n", header::HOST);
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ENOUGH as u64).read_to_end(&mut answer).await?;
    let status = answer.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3));
    let status = status.and_then(|status| std::str::from_utf8(status).ok()?.parse().ok());
    let status = status.ok_or_else(|| io::Error::other("it does not speak HTTP"))?;
    let body = String::from_utf8_lossy(&answer).split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    let problem = body.and_then(|body| serde_json::from_str::<Value>(&body).ok());
    let reason = problem.and_then(|problem| Some(problem["detail"].as_str()?.to_owned()));
    Ok(Answer { status, reason })
}
