//! The binary: command line in, exit code out. Everything else is in the library.

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use skerry_agent::cli::{Cli, Command, RunArgs};
use skerry_agent::{logging, run};

fn main() -> ExitCode {
    // Wrong usage ends here with clap's own message and exit code 2.
    match Cli::parse().command {
        Command::Run(args) => run_agent(args),
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "skerry-agent", &mut std::io::stdout());
            ExitCode::SUCCESS
        }
    }
}

fn run_agent(args: RunArgs) -> ExitCode {
    let config = match args.configuration() {
        Ok(config) => config,
        Err(error) => return fail(&error, 2),
    };
    logging::init(config.log_format, config.log_level);
    match run::run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, 1),
    }
}

fn fail(error: &(dyn std::error::Error + 'static), code: u8) -> ExitCode {
    eprintln!("skerry-agent: {}", skerry_terms::Chain(error));
    ExitCode::from(code)
}
