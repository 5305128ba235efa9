//! The beginning of the three services in one process. Between them there is the database, and one hint: intake tells the worker which lanes
//! have something new.

use assembly::Assembly;
use service::{Context, Parts};

/// Begins SMTP, API and worker. `alone`: no other process can be working on this database.
///
/// # Errors
/// When an address is taken, or a service cannot be set up from these settings.
pub(crate) async fn begin(context: &Context, parts: &mut Parts, assembly: &Assembly, alone: bool) -> anyhow::Result<()> {
    // Addresses first: one that is taken ends the program before anything runs.
    let smtp_listeners = postroad_smtp::Listeners::bind(&context.config.smtp)?;
    let api_listener = postroad_api::bind(context).await?;
    let smtp = postroad_smtp::Deps::of(assembly.clone());
    let api = postroad_api::Deps::of(assembly.clone());
    let worker = postroad_worker::Deps {
        assembly: assembly.clone(),
        alone,
    };
    parts.spawn("smtp", postroad_smtp::run(smtp, smtp_listeners, context.stop.clone()));
    parts.spawn("api", postroad_api::run(api, api_listener, context.stop.clone()));
    parts.spawn("worker", postroad_worker::run(worker, context.stop.clone()));
    Ok(())
}
