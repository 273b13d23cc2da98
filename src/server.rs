//! Placeholder.
use crate::Config;
/// The server.
pub struct Server;
impl Server {
    /// Runs.
    pub async fn run(_config: Config) -> anyhow::Result<()> {
        Ok(())
    }
}
