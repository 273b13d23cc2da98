//! The command line, in SRS's letters.

use std::path::PathBuf;

use crate::config::{Config, Environment, Source};

/// Weir, a WebRTC-first live server: WHIP or RTMP in; WHEP, RTMP, HTTP-FLV and HLS out.
#[derive(Debug, clap::Parser)]
#[command(name = "weir", disable_version_flag = true, disable_help_flag = true, args_conflicts_with_subcommands = true)]
pub struct Args {
    /// The configuration file (SRS's syntax). Without one, a built-in default listens on loopback
    /// only.
    #[arg(short = 'c', value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Read no file: RTMP on 1935, in the foreground, and what SRS_* in the environment says.
    #[arg(short = 'e', global = true)]
    pub environment_only: bool,
    /// Test the configuration and exit: 0 if it is valid, 2 if not.
    #[arg(short = 't')]
    pub test: bool,
    /// Test it and show what each directive is set to, and by whom, as `weir config explain`.
    #[arg(short = 'T')]
    pub explain: bool,
    /// Print the version and exit.
    #[arg(short = 'v', short_alias = 'V', long = "version")]
    pub version: bool,
    /// Print the server's signature and exit.
    #[arg(short = 'g', short_alias = 'G')]
    pub signature: bool,
    /// Print help and exit.
    #[arg(short = 'h', short_alias = '?', long = "help", action = clap::ArgAction::Help, global = true)]
    help: Option<bool>,
    /// What else it can do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What the program does beside serving.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// The configuration, looked at.
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// What can be done with a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::Subcommand)]
pub enum ConfigCommand {
    /// Show what each directive is set to, and by whom: default, file:line:column, or environment.
    Explain,
    /// Show a file with every directive, its default and what it does.
    Full,
}

impl Args {
    /// The version, as `-v` prints it.
    pub const VERSION: &str = env!("CARGO_PKG_VERSION");

    /// The signature, as `-g` prints it.
    pub fn signature() -> String {
        format!("Weir/{}", Self::VERSION)
    }

    /// Does what does not serve, and says so with `None`; otherwise reads the configuration, and what
    /// there is to warn of.
    pub fn prepare(&self) -> anyhow::Result<Option<(Config, Vec<String>)>> {
        if self.version {
            // Where SRS prints it, and where scripts that ask SRS look for it.
            eprintln!("{}", Self::VERSION);
            return Ok(None);
        }
        if self.signature {
            println!("{}", Self::signature());
            return Ok(None);
        }
        if self.shown() == Some(ConfigCommand::Full) {
            print!("{}", Config::full());
            return Ok(None);
        }
        let environment = Environment::of_process();
        let (config, notes) = Config::load(&self.source(&environment), &environment)?;
        #[cfg(feature = "otel")]
        crate::traces::check()?;
        if self.test || self.shown().is_some() {
            notes.iter().for_each(|note| eprintln!("{note}"));
            match self.shown() {
                Some(_) => print!("{}", config.explain()),
                None => println!("the configuration is valid"),
            }
            return Ok(None);
        }
        Ok(Some((config, notes)))
    }

    /// Where the configuration comes from.
    pub fn source(&self, environment: &Environment) -> Source {
        Source::of(self.config.as_deref(), self.environment_only, environment)
    }

    /// The configuration is to be shown rather than served.
    pub fn shown(&self) -> Option<ConfigCommand> {
        match self.command {
            Some(Command::Config(command)) => Some(command),
            None => self.explain.then_some(ConfigCommand::Explain),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(line.split(' '))
    }

    #[test]
    fn letters_are_those_of_srs() {
        let args = parse("weir -t -c a.conf").unwrap();
        assert_eq!((args.test, args.config.as_deref()), (true, Some(std::path::Path::new("a.conf"))));
        assert!(parse("weir -e").unwrap().environment_only);
        for version in ["-v", "-V", "--version"] {
            assert!(parse(&format!("weir {version}")).unwrap().version);
        }
        for signature in ["-g", "-G"] {
            assert!(parse(&format!("weir {signature}")).unwrap().signature);
        }
        for help in ["-h", "-?", "--help"] {
            assert_eq!(parse(&format!("weir {help}")).unwrap_err().kind(), clap::error::ErrorKind::DisplayHelp, "{help}");
        }
        assert!(parse("weir -x").is_err());
    }

    #[test]
    fn a_configuration_can_be_shown() {
        assert_eq!(parse("weir -T").unwrap().shown(), Some(ConfigCommand::Explain));
        let args = parse("weir config explain -c a.conf").unwrap();
        assert_eq!((args.shown(), args.config.is_some()), (Some(ConfigCommand::Explain), true));
        assert_eq!(parse("weir config full").unwrap().shown(), Some(ConfigCommand::Full));
        assert_eq!(parse("weir -c a.conf").unwrap().shown(), None);
    }
}
