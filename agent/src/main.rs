//! The binary: command line in, exit code out. Everything else is in the library.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use skerry_agent::cli::{self, BoxArgs, Cli, Command, Handed, RunArgs};
use skerry_agent::config::Config;
use skerry_agent::run::{Ended, RunError, Start};
use skerry_agent::upgrade::{self, Again, Next, Trial};
use skerry_agent::{logging, run};
use tokio::runtime::Runtime;

/// What went wrong, in words for the caller, and the exit code.
type Failure = (String, u8);

fn main() -> ExitCode {
    // Wrong usage ends here with clap's own message and exit code 2.
    let done = match Cli::parse().command {
        Command::Run(args) => run_agent(args),
        Command::Status(args) => asking(args.place.clone(), async |config| {
            let (text, code) = cli::status(args, config).await?;
            print(&text);
            Ok(code)
        }),
        Command::Logs(args) => asking(args.place.clone(), async |config| {
            cli::logs(args, config).await.map_err(failed).map(|()| 0)
        }),
        Command::Exec(args) => asking(args.place.clone(), async |config| {
            let code = cli::exec(args, config).await.map_err(failed)?;
            Ok(u8::try_from(code).unwrap_or(u8::MAX))
        }),
        Command::Remove(args) => asking(args.place.clone(), async |config| {
            print(&cli::remove(args, config).await.map_err(failed)?);
            Ok(0)
        }),
        Command::Upgrade(args) => asking(args.place.clone(), async |config| {
            cli::upgrade(args, &config, &mut |line| eprintln!("{line}")).await
        }),
        Command::SelfCheck(args) => self_check(args),
        Command::StandBy => stand_by(),
        Command::Check(args) => alone(async {
            let (text, code) = cli::check(args).await?;
            print(&text);
            Ok(code)
        }),
        Command::Bundle(args) => alone(async {
            print(&cli::bundle(args).await?);
            Ok(0)
        }),
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "skerry-agent", &mut std::io::stdout());
            Ok(0)
        }
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err((why, code)) => {
            eprintln!("skerry-agent: {why}");
            ExitCode::from(code)
        }
    }
}

fn run_agent(args: RunArgs) -> Result<u8, Failure> {
    name_process();
    let (files, wait) = args.manifests();
    let on_trial = args.is_on_trial();
    let again = args.again().map_err(|why| (why, 2))?;
    let config = args.configuration().map_err(|error| (chain(&error), 2))?;
    let manifests = match files.is_empty() {
        true => Vec::new(),
        false => match hand_over(&files, wait, &config)? {
            Handed::Over => return Ok(0),
            Handed::Kept(manifests) => manifests,
        },
    };
    logging::init(config.log_format, config.log_level);
    let again = Again {
        arguments: again,
        state_dir: config.state_dir.clone(),
        log_format: config.log_format,
        log_level: config.log_level,
    };
    let trial = match on_trial {
        true => Some(Trial::begin().map_err(|error| (format!("this is no trial: {error}"), 2))?),
        false => None,
    };
    let ended = run::run(Start { config, handed: manifests, again, trial });
    let ended = ended.map_err(|error: RunError| {
        let why = chain(&error);
        if on_trial {
            upgrade::fails(&why);
        }
        (why, 1)
    })?;
    match ended {
        Ended::Told => Ok(0),
        Ended::Upgrading(order) => match upgrade::begin(&order).map_err(|error| (chain(&error), 1))? {},
        Ended::Becoming(next) => becoming(next),
    }
}

fn self_check(args: RunArgs) -> Result<u8, Failure> {
    let config = args.configuration().map_err(|error| chain(&error));
    let (text, code) = runtime()?.block_on(cli::self_check(config));
    print(&text);
    Ok(code)
}

fn stand_by() -> Result<u8, Failure> {
    name_process();
    becoming(upgrade::stand_by().map_err(|error| (chain(&error), 1))?)
}

fn becoming(next: Next) -> Result<u8, Failure> {
    upgrade::become_next(next).map(|()| 0).map_err(|error| (chain(&error), 1))
}

/// Whatever path it was started from.
fn name_process() {
    let _ = rustix::thread::set_name(c"skerry-agent");
}

fn hand_over(files: &[PathBuf], wait: bool, config: &Config) -> Result<Handed, Failure> {
    let mut tell = |line: &str| eprintln!("{line}");
    let handed = runtime()?.block_on(cli::hand_over(files, wait, config, &mut tell));
    handed.map_err(failed)
}

/// A command that asks the box, and ends.
fn asking(place: BoxArgs, ask: impl AsyncFnOnce(Config) -> Result<u8, Failure>) -> Result<u8, Failure> {
    let config = place.configuration().map_err(|error| (chain(&error), 2))?;
    alone(ask(config))
}

/// A command that ends, with or without an agent.
fn alone(command: impl Future<Output = Result<u8, Failure>>) -> Result<u8, Failure> {
    let runtime = runtime()?;
    let done = runtime.block_on(command);
    // A thread that waits for standard input would wait on.
    runtime.shutdown_background();
    done
}

fn runtime() -> Result<Runtime, Failure> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime
        .enable_io()
        .enable_time()
        .build()
        .map_err(|error| (format!("cannot start the runtime: {error}"), 1))
}

fn print(text: &str) {
    // The reader may have seen enough.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn failed(why: String) -> Failure {
    (why, 1)
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    skerry_terms::Chain(error).to_string()
}
