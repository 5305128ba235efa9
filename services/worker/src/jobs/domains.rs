//! Checks of domains on a schedule.
pub(super) async fn check_due(_deps: &crate::Deps) -> anyhow::Result<()> {
    Ok(())
}
