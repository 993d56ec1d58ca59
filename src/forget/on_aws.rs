//! `weir forget --engine aws`: takes events out of everything that the stack stores.

use std::{process::ExitCode, sync::Arc};

use anyhow::Result;
use seal::ForgetAmounts;
use weir_core::{Catalog, Redaction, SystemClock, SystemRandom, ports::Answers};

use crate::{catalog, cli::ForgetArgs, counted::counted, printed};

pub(super) async fn run(args: &ForgetArgs) -> Result<ExitCode> {
    let catalog = with_secret(catalog::read(args.catalog.folder())?, args)?;
    let known = catalog::read(args.catalog.folder())?;
    let request = super::request(args, &catalog);
    let catalogs = [catalog, catalog::read(args.catalog.folder())?];
    let forget = crate::aws::forget(catalogs, Arc::new(SystemClock), Arc::new(SystemRandom)).await?;
    if args.dry_run {
        let found = forget.look_only(&request).await?;
        if found.is_empty() {
            super::check_names(args, &known).await?;
        }
        super::report_found(args, &found);
        return Ok(ExitCode::SUCCESS);
    }
    let forget = forget.waiting(args.wait, args.wait);
    let amounts = forget.run(&request, &|step| eprintln!("weir: {step} …")).await?;
    if amounts == ForgetAmounts::default() {
        super::check_names(args, &known).await?;
    }
    report(args, &amounts);
    let answers = crate::aws::answers().await?.list().await?.len() as u64;
    if answers > 0 {
        printed::line(format_args!(
            "{} may have results of these events until `weir publish` or the schedule computes them again, and versions of them for two \
             days more.",
            counted(answers, "published answer", "published answers")
        ));
    }
    printed::line(format_args!(
        "Backups of the tables have the events for 35 days, as have results that `weir map` or `weir query` printed."
    ));
    Ok(ExitCode::SUCCESS)
}

/// Returns the catalog with the secret of the installation, if the field's values are hashed.
fn with_secret(catalog: Catalog, args: &ForgetArgs) -> Result<Catalog> {
    let field = args.condition.as_ref().map(|condition| condition.field.as_str()).unwrap_or_default();
    let is_hashed = catalog.iter().any(|it| it.redact().of(field) == Some(Redaction::Hash));
    let secret = is_hashed.then(crate::aws::secret).transpose()?;
    Ok(catalog.with_secret(secret))
}

fn report(args: &ForgetArgs, amounts: &ForgetAmounts) {
    super::report_events(args, &amounts.events);
    let rewritten = |number, one, many| format!("{} rewritten or removed", counted(number, one, many));
    printed::line(format_args!("  lake        {}", rewritten(amounts.lake, "object", "objects")));
    if amounts.sealed > 0 {
        let days = counted(amounts.sealed, "day", "days");
        printed::line(format_args!("  sealed      {days} sealed again without the events"));
    }
    printed::line(format_args!("  raw         {}", rewritten(amounts.raw, "batch", "batches")));
    printed::line(format_args!("  quarantine  {}", rewritten(amounts.quarantine, "object", "objects")));
    printed::line(format_args!(
        "  tables      {}{}, {} and {} removed",
        super::lowered(&amounts.events),
        counted(amounts.latest, "latest value", "latest values"),
        counted(amounts.rejected, "recent rejected event", "recent rejected events"),
        counted(amounts.ids, "remembered id", "remembered ids"),
    ));
    printed::line(format_args!(
        "  results     {} of queries and functions removed",
        counted(amounts.results, "object", "objects")
    ));
}
