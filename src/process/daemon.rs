//! The background: the program starts itself once more, in a session without a terminal, and goes
//! when that one listens or has failed.
//!
//! Forking instead would not tell the shell whether the server came up, and is not safe to call.

use std::{
    env,
    fs::File,
    io::{self, BufRead as _, BufReader, Write as _},
    process::{Command, ExitCode, Stdio},
};

use anyhow::Context as _;

/// Set for the one that is to stay.
const MARK: &str = "WEIR_IN_BACKGROUND";
/// What it says when it listens. No line of ours begins like this.
const READY: &str = "\u{1}ready";

/// This is the one that is to stay.
pub(super) fn is_child() -> bool {
    env::var_os(MARK).is_some()
}

/// Starts the one that is to stay, repeats what it says, and waits until it listens or has ended.
pub(super) fn launch() -> anyhow::Result<ExitCode> {
    let program = env::current_exe().context("the program does not find itself (daemon off needs no second start)")?;
    let mut child = Command::new(program)
        .args(env::args_os().skip(1))
        .env(MARK, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("the program could not be started in the background")?;
    let lines = child.stdout.take().map(|stdout| BufReader::new(stdout).lines());
    for line in lines.into_iter().flatten() {
        match line.context("the program in the background cannot be understood")? {
            line if line.strip_prefix(READY).is_some() => {
                println!("weir runs in the background, pid {}{}", child.id(), line.strip_prefix(READY).unwrap_or_default());
                return Ok(ExitCode::SUCCESS);
            }
            line => println!("{line}"),
        }
    }
    // Its reasons went to our standard error, which it shares.
    let status = child.wait().context("the program in the background is lost")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0);
    Ok(ExitCode::from(code.unwrap_or(2)))
}

/// Out of the launcher's session: no terminal's end reaches it.
pub(super) fn detach() -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(())
}

/// Tells the launcher, with a few words for its user, and lets go of what it gave us.
pub(super) fn leave_terminal(words: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{READY}{words}")?;
    out.flush()?;
    let nowhere = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&nowhere)?;
    rustix::stdio::dup2_stdout(&nowhere)?;
    rustix::stdio::dup2_stderr(&nowhere)?;
    Ok(())
}
