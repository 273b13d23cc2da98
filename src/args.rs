//! The command line, in SRS's letters.

use std::path::PathBuf;

/// Weir, a WebRTC-first live server: WHIP or RTMP in; WHEP, RTMP, HTTP-FLV and HLS out.
#[derive(Debug, clap::Parser)]
#[command(version, disable_version_flag = true)]
pub struct Args {
    /// The configuration file (SRS's syntax). Without one, a built-in default listens on loopback
    /// only.
    #[arg(short = 'c', value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Test the configuration and exit.
    #[arg(short = 't')]
    pub test: bool,
    /// Print the version.
    #[arg(short = 'v', short_alias = 'V', action = clap::ArgAction::Version)]
    version: Option<bool>,
}
