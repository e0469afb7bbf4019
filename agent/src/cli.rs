//! The command line: what there is to say. What is done about it is in the files beside.

mod bundle;
pub(crate) mod check;
mod containers;
mod exec;
mod hand_over;
mod logs;
mod remove;
mod status;
mod target;
mod terminal;
mod upgrade;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::check::{Only, Site};
use crate::config::{self, Given};
use crate::logging::{LogFormat, LogLevel};
use target::AppName;
pub(crate) use target::duration;

pub use bundle::bundle;
pub use check::check;
pub use exec::exec;
pub use hand_over::{Handed, hand_over};
pub use logs::logs;
pub use remove::remove;
pub use status::status;
pub use upgrade::{self_check, upgrade};

/// Asked of a new agent by the one that runs, before anything is risked for it.
pub const SELF_CHECK: &str = "self-check";
/// What is left of an agent while a new one is tried.
pub const STAND_BY: &str = "stand-by";
/// Tells a new agent that it is being tried.
pub const ON_TRIAL: &str = "--on-trial";

const EXAMPLES: &str = "\
Examples:
  skerry-agent run                                   with /etc/skerry/agent.toml, or defaults
  skerry-agent run -f web.yaml                       an app of the box's own, with no controller
  skerry-agent status                                what runs here, and what is wrong
  skerry-agent logs web -f
  skerry-agent exec -it web -- sh
  skerry-agent check                                 is this box fit, and what to do where it is not
  skerry-agent bundle                                a support archive, without secrets
  skerry-agent upgrade ./skerry-agent-0.2            another version takes over; no container notices
  skerry-agent completion bash > /etc/bash_completion.d/skerry-agent

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration; status: 3 something is not ready; check: 3 a check failed; upgrade: 4 the new
version was tried and gave way; exec: the command's own.";

/// Skerry's agent: runs on an edge box what the controller asks for, and keeps it running with no controller at all.
#[derive(Debug, Parser)]
#[command(name = "skerry-agent", version, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs the agent until SIGTERM. Stopping it stops no container. With -f, hands apps to the agent that runs here, or becomes it.
    #[command(after_help = RUN_HELP)]
    Run(RunArgs),
    /// Shows the apps on this box, and how the box itself is.
    #[command(after_help = STATUS_HELP)]
    Status(StatusArgs),
    /// Prints the log of an app's container. Works while the agent is down.
    #[command(after_help = LOGS_HELP)]
    Logs(LogsArgs),
    /// Runs a command in an app's container. Works while the agent is down.
    #[command(after_help = EXEC_HELP)]
    Exec(ExecArgs),
    /// Takes back an app that was handed over with run -f: its containers go.
    #[command(after_help = REMOVE_HELP)]
    Remove(RemoveArgs),
    /// Has another version take over from the agent that runs here. No container notices; if it does not stand, the present one goes on.
    #[command(after_help = UPGRADE_HELP)]
    Upgrade(UpgradeArgs),
    /// What this binary says of itself on this box, as JSON.
    #[command(name = SELF_CHECK, hide = true)]
    SelfCheck(RunArgs),
    /// Stands by while a new version is tried: for the agent itself.
    #[command(name = STAND_BY, hide = true)]
    StandBy,
    /// Looks whether this box is fit: Docker, disks, clock, names, controller, kernel, the agent's files. Changes nothing, and says what to do.
    #[command(after_help = CHECK_HELP)]
    Check(CheckArgs),
    /// Writes a support archive: how the box, Docker, the agent and its apps are, without the values of Secrets and variables.
    #[command(after_help = BUNDLE_HELP)]
    Bundle(BundleArgs),
    /// Prints a completion script for a shell.
    Completion { shell: clap_complete::Shell },
}

const RUN_HELP: &str = "\
Examples:
  skerry-agent run --node-name box-7 --state-dir ./state
  skerry-agent run -f web.yaml -f settings.yaml      waits until the apps are ready
  cat web.yaml | skerry-agent run -f - --no-wait

The file knows the same keys as the flags:

  node-name = \"box-7\"
  controller = \"http://127.0.0.1:7443\"
  state-dir = \"/var/lib/skerry\"
  docker-socket = \"unix:///var/run/docker.sock\"
  admin-socket = \"/run/skerry/agent.sock\"   where status, run -f and remove reach the agent
  log-format = \"text\"
  log-level = \"info\"
  store-key = \"/media/stick/store.key\"     the key of what is stored; default: in state-dir
  manifest-dir = \"/etc/skerry/manifests\"   EdgeApps that run without a controller
  seccomp-folder = \"/etc/skerry/seccomp\"   profiles for seccompProfile type Localhost; default: none
  app-names = \"Namespace\"                  apps that find each other by name: Namespace, All, None
  [labels]
  site = \"hz\"
  [policy]                                   what apps may do; these are the defaults
  privileged = false
  host-network = false
  host-pid = false
  host-ipc = false
  host-paths = []                            such as \"/data\": with all below it
  capabilities = []                          such as \"NET_ADMIN\"
  docker-socket = false                      true makes apps that mount it root on the box
  registries = []                            such as \"ghcr.io/acme\", \"*.example.com\"; empty: all
  sysctls = []                               beside Kubernetes' safe ones, such as \"net.core.*\"
  seccomp-unconfined = false
  [devices.camera]                           what skerry.dev/camera stands for
  paths = [\"/dev/video0\"]
  count = 1                                  how many containers may have it at once
  [devices.gpu]
  gpu = true
  [housekeeping]                             images that go when Docker's disk fills; these are the defaults
  image-gc = true                            false: no image is ever removed
  image-gc-high-percent = 85                 fuller than this, images go that Skerry pulled and nobody uses
  image-gc-low-percent = 80                  until the disk is no fuller than this
  image-min-age = \"2m\"                     and not one that was of use so shortly before";

const STATUS_HELP: &str = "\
Examples:
  skerry-agent status
  skerry-agent status plant/web -o json

READY: how many of the containers are. Exit codes: 0 all is well, 3 something is not ready, 1 no agent answers.";

const LOGS_HELP: &str = "\
Examples:
  skerry-agent logs web --tail 100 -f
  skerry-agent logs plant/web -c proxy --since 10m --timestamps
  skerry-agent logs web --previous                   of the run before the present one, while it is kept";

const EXEC_HELP: &str = "\
Examples:
  skerry-agent exec -it web -- sh
  skerry-agent exec plant/web -c proxy -- cat /etc/hosts
  tar c data | skerry-agent exec -i web -- tar x -C /srv

The exit code is the command's.";

const REMOVE_HELP: &str = "\
Examples:
  skerry-agent remove web
  skerry-agent remove plant/web

An app of a file in the manifests' folder goes with its file, one of the controller's with its EdgeApp.";

const UPGRADE_HELP: &str = "\
Examples:
  skerry-agent upgrade ./skerry-agent-0.2
  skerry-agent upgrade /usr/local/bin/skerry-agent.previous     back to the version before

The new binary is copied beside the present one, asked whether it can work with what is on this box, and tried: it must read the state, see
Docker, leave alone every app that is well, and meet the controller if it is connected now. Only then it is put in place; the present one is
kept as skerry-agent.previous. A new version that keeps ending badly in its first 10 minutes goes back by itself.

Exit codes: 0 the new version runs, 1 refused, nothing was tried, 4 it was tried and gave way: the present version runs on.";

const CHECK_HELP: &str = "\
Examples:
  skerry-agent check                                 before the agent is installed, or when something is odd
  sudo skerry-agent check -o json | jq -r '.checks[] | select(.outcome != \"ok\") | .id'
  skerry-agent check --only docker,disk-state        an id, or the word that several begin with
  skerry-agent check --controller http://127.0.0.1:7443

Some things only root can see. It ends within 15 s, whatever hangs.
Exit codes: 0 nothing failed, though there may be warnings; 3 something failed; 2 wrong usage.";

const BUNDLE_HELP: &str = "\
Examples:
  sudo skerry-agent bundle                           skerry-bundle-NODE-TIME.tar, in this folder
  sudo skerry-agent bundle /tmp/box-7.tar --force
  tar -xOf box-7.tar --wildcards '*/about.txt'       what is in it, what is missing and why

Works while the agent or Docker is down. Values of Secrets, ConfigMaps and variables, commands of containers, credentials and keys are not in
it. What containers print may hold secrets, and is added only with --container-logs.";

/// Which box is meant, and how it is reached: the same values that its agent was started with.
#[derive(Debug, Clone, Default, Args)]
pub struct BoxArgs {
    /// The configuration file; may be missing unless it is given here. [default: /etc/skerry/agent.toml]
    #[arg(long, env = "SKERRY_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Name of this node: of its EdgeNode object. [default: the host name]
    #[arg(long, env = "SKERRY_NODE_NAME", value_name = "NAME")]
    node_name: Option<String>,
    /// Where the agent keeps what it must run. [default: /var/lib/skerry]
    #[arg(long, env = "SKERRY_STATE_DIR", value_name = "FOLDER")]
    state_dir: Option<PathBuf>,
    /// Docker's socket. [default: DOCKER_HOST, else unix:///var/run/docker.sock]
    #[arg(long, env = "SKERRY_DOCKER_SOCKET", value_name = "SOCKET")]
    docker_socket: Option<String>,
    /// Where this command line reaches the agent. [default: /run/skerry/agent.sock, else in the state folder]
    #[arg(long, env = "SKERRY_ADMIN_SOCKET", value_name = "SOCKET")]
    admin_socket: Option<PathBuf>,
}

impl BoxArgs {
    /// The whole configuration, with what else was given.
    fn with(self, more: Given) -> Result<config::Config, config::ConfigError> {
        let Self { config, node_name, state_dir, docker_socket, admin_socket } = self;
        let explicit = config.is_some();
        let path = config.unwrap_or_else(|| config::DEFAULT_PATH.into());
        let file = config::read(&path, explicit)?;
        let flags = Given { node_name, state_dir, docker_socket, admin_socket, ..more };
        config::resolve(flags, file, &path)
    }

    /// As the agent that runs here has it, as far as this command line needs it.
    pub fn configuration(self) -> Result<config::Config, config::ConfigError> {
        self.with(Given::default())
    }
}

/// The same for a command that looks at all of the agent.
#[derive(Debug, Clone, Default, Args)]
pub struct WholeArgs {
    #[command(flatten)]
    place: BoxArgs,
    /// Where the controller is. [default: http://127.0.0.1:7443]
    #[arg(long, env = "SKERRY_CONTROLLER", value_name = "URL")]
    controller: Option<String>,
    /// Where the key of what is stored is. [default: store.key in the state folder]
    #[arg(long, env = "SKERRY_STORE_KEY", value_name = "FILE")]
    store_key: Option<PathBuf>,
    /// Folder of EdgeApps that run without a controller. [default: /etc/skerry/manifests]
    #[arg(long, env = "SKERRY_MANIFEST_DIR", value_name = "FOLDER")]
    manifest_dir: Option<PathBuf>,
}

impl WholeArgs {
    /// The box as it is configured. A file that is wrong is told of, not given up for: the flags over the defaults count then.
    fn site(self) -> Result<Site, config::ConfigError> {
        let Self { place, controller, store_key, manifest_dir } = self;
        let BoxArgs { config, node_name, state_dir, docker_socket, admin_socket } = place;
        let explicit = config.is_some();
        let path = config.unwrap_or_else(|| config::DEFAULT_PATH.into());
        let flags = Given {
            node_name,
            state_dir,
            docker_socket,
            admin_socket,
            controller,
            store_key,
            manifest_dir,
            ..Given::default()
        };
        let given_by_flag = flags.controller.is_some();
        let read = config::read(&path, explicit).and_then(|file| {
            let given = given_by_flag || file.controller.is_some();
            Ok((config::resolve(flags.clone(), file, &path)?, given))
        });
        match read {
            Ok((config, controller_given)) => {
                Ok(Site { config, config_error: None, config_path: path, controller_given })
            }
            Err(error) => {
                // What is wrong with a flag is wrong usage.
                let config = config::resolve(flags, Given::default(), &path)?;
                let config_error = Some(skerry_terms::Chain(&error).to_string());
                Ok(Site { config, config_error, config_path: path, controller_given: given_by_flag })
            }
        }
    }
}

#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    whole: WholeArgs,
    /// How it is printed.
    #[arg(short, long, value_enum, default_value_t)]
    output: CheckOutput,
    /// Only these checks, by id or by the word that several begin with.
    #[arg(long, value_name = "ID,…")]
    only: Option<Only>,
}

#[derive(Debug, Clone, Args)]
pub struct BundleArgs {
    /// Where it is written. [default: skerry-bundle-NODE-TIME.tar in this folder]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Replaces a file that is there.
    #[arg(long)]
    force: bool,
    /// Adds the last 100 lines of each container's log. They may hold secrets: look through them.
    #[arg(long)]
    container_logs: bool,
    #[command(flatten)]
    whole: WholeArgs,
}

/// How checks are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum CheckOutput {
    #[default]
    Table,
    Json,
}

#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    #[command(flatten)]
    place: BoxArgs,
    /// A manifest with EdgeApps, and the ConfigMaps and Secrets that they refer to; `-` for standard input. May be repeated: the files
    /// are taken one by one.
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// With -f and an agent that runs here: does not wait until the apps are ready.
    #[arg(long, requires = "files")]
    no_wait: bool,
    /// Where the controller is. Plain text is accepted on loopback only. [default: http://127.0.0.1:7443]
    #[arg(long, env = "SKERRY_CONTROLLER", value_name = "URL")]
    controller: Option<String>,
    /// Where the key of what is stored is. [default: store.key in the state folder]
    #[arg(long, env = "SKERRY_STORE_KEY", value_name = "FILE")]
    store_key: Option<PathBuf>,
    /// Folder of EdgeApps that run without a controller. [default: /etc/skerry/manifests]
    #[arg(long, env = "SKERRY_MANIFEST_DIR", value_name = "FOLDER")]
    manifest_dir: Option<PathBuf>,
    /// A label for the EdgeNode object, used only when it is created. May be repeated.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// How the log looks. [default: text]
    #[arg(long, env = "SKERRY_LOG_FORMAT", value_enum)]
    log_format: Option<LogFormat>,
    /// How much is logged. [default: info]
    #[arg(long, env = "SKERRY_LOG_LEVEL", value_enum)]
    log_level: Option<LogLevel>,
    /// Starts held to what the agent before it had reached, as standard input says.
    #[arg(long, hide = true)]
    on_trial: bool,
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err("a label is KEY=VALUE".to_owned()),
    }
}

impl RunArgs {
    /// The manifests to hand over, and whether to wait until their apps are ready.
    pub fn manifests(&self) -> (Vec<PathBuf>, bool) {
        (self.files.clone(), !self.no_wait)
    }

    /// Another version runs here, and waits for this one to prove itself.
    pub fn is_on_trial(&self) -> bool {
        self.on_trial
    }

    /// The arguments that make another agent like this one, whatever the environment is. Manifests were handed over already.
    pub fn again(&self) -> Result<Vec<String>, String> {
        let Self {
            place: BoxArgs { config, node_name, state_dir, docker_socket, admin_socket },
            files: _,
            no_wait: _,
            controller,
            store_key,
            manifest_dir,
            labels,
            log_format,
            log_level,
            on_trial: _,
        } = self;
        let path = |path: &Option<PathBuf>| match path.as_deref().map(|path| path.to_str().ok_or(path)) {
            None => Ok(None),
            Some(Ok(path)) => Ok(Some(path.to_owned())),
            Some(Err(path)) => Err(format!("the path {} is not UTF-8", path.display())),
        };
        let named =
            |value: Option<clap::builder::PossibleValue>| value.map(|value| value.get_name().to_owned());
        let given = [
            ("config", path(config)?),
            ("node-name", node_name.clone()),
            ("state-dir", path(state_dir)?),
            ("docker-socket", docker_socket.clone()),
            ("admin-socket", path(admin_socket)?),
            ("controller", controller.clone()),
            ("store-key", path(store_key)?),
            ("manifest-dir", path(manifest_dir)?),
            ("log-format", named(log_format.and_then(|format| format.to_possible_value()))),
            ("log-level", named(log_level.and_then(|level| level.to_possible_value()))),
        ];
        let given = given.into_iter().filter_map(|(flag, value)| Some(format!("--{flag}={}", value?)));
        let labels = labels.iter().map(|(key, value)| format!("--label={key}={value}"));
        Ok(given.chain(labels).collect())
    }

    /// The whole configuration, from all its sources.
    pub fn configuration(self) -> Result<config::Config, config::ConfigError> {
        let Self {
            place,
            files: _,
            no_wait: _,
            controller,
            store_key,
            manifest_dir,
            labels,
            log_format,
            log_level,
            on_trial: _,
        } = self;
        let labels = labels.into_iter().collect();
        let more =
            Given { controller, store_key, manifest_dir, labels, log_format, log_level, ..Given::default() };
        place.with(more)
    }
}

#[derive(Debug, Clone, Args)]
pub struct StatusArgs {
    /// Only this app: NAME in namespace default or in the only one that has it, or NAMESPACE/NAME.
    #[arg(value_name = "[NAMESPACE/]APP")]
    app: Option<AppName>,
    /// How it is printed.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    pub place: BoxArgs,
}

/// How a status is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Output {
    #[default]
    Table,
    /// With the containers.
    Wide,
    Json,
}

#[derive(Debug, Clone, Args)]
pub struct LogsArgs {
    /// NAME in namespace default or in the only one that has it, or NAMESPACE/NAME.
    #[arg(value_name = "[NAMESPACE/]APP")]
    app: AppName,
    /// Which container, where the app has several. [default: the first main one]
    #[arg(short, long)]
    container: Option<String>,
    /// Goes on until the container ends.
    #[arg(short, long)]
    follow: bool,
    /// Only the last lines.
    #[arg(long, value_name = "LINES")]
    tail: Option<u32>,
    /// Only what is younger, such as 90s, 10m, 1h30m, 2d.
    #[arg(long, value_name = "DURATION", value_parser = target::duration)]
    since: Option<Duration>,
    /// With the time of each line.
    #[arg(long)]
    timestamps: bool,
    /// Of the container's run before the present one.
    #[arg(short, long)]
    previous: bool,
    #[command(flatten)]
    pub place: BoxArgs,
}

#[derive(Debug, Clone, Args)]
pub struct ExecArgs {
    /// NAME in namespace default or in the only one that has it, or NAMESPACE/NAME.
    #[arg(value_name = "[NAMESPACE/]APP")]
    app: AppName,
    /// Which container, where the app has several. [default: the first main one]
    #[arg(short, long)]
    container: Option<String>,
    /// Passes standard input on.
    #[arg(short = 'i', long)]
    stdin: bool,
    /// The command gets a terminal.
    #[arg(short = 't', long)]
    tty: bool,
    /// The command, after `--`.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
    #[command(flatten)]
    pub place: BoxArgs,
}

#[derive(Debug, Clone, Args)]
pub struct RemoveArgs {
    /// NAME in namespace default or in the only one that has it, or NAMESPACE/NAME.
    #[arg(value_name = "[NAMESPACE/]APP")]
    app: AppName,
    #[command(flatten)]
    pub place: BoxArgs,
}

#[derive(Debug, Clone, Args)]
pub struct UpgradeArgs {
    /// The binary of the other version.
    #[arg(value_name = "BINARY")]
    binary: PathBuf,
    /// How long it may take to stand, such as 60s or 5m. [default: 60s]
    #[arg(long, value_name = "DURATION", value_parser = target::duration)]
    timeout: Option<Duration>,
    #[command(flatten)]
    pub place: BoxArgs,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_label_without_a_value_is_wrong_usage() {
        assert!(Cli::try_parse_from(["skerry-agent", "run", "--label", "site"]).is_err());
        assert!(Cli::try_parse_from(["skerry-agent", "run", "--label", "site=hz"]).is_ok());
    }

    #[test]
    fn a_command_follows_two_dashes() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' '));
        assert!(parse("skerry-agent exec -it web -- sh -c ls").is_ok());
        assert!(parse("skerry-agent exec web sh").is_err());
        assert!(parse("skerry-agent exec web").is_err());
        assert!(parse("skerry-agent logs a/b/c").is_err());
        assert!(parse("skerry-agent run --no-wait").is_err());
    }

    #[test]
    fn an_agent_starts_again_with_what_it_was_started_with() {
        let flags = "--config=/c --node-name=n --state-dir=/s --docker-socket=/d --admin-socket=/a --controller=http://x:1 \
                     --store-key=/k --manifest-dir=/m --log-format=json --log-level=debug --label=a=b --label=c=d";
        let flags: Vec<&str> = flags.split_whitespace().collect();
        let parse = |more: &[&str]| match Cli::try_parse_from([&["skerry-agent", "run"], more].concat()) {
            Ok(Cli { command: Command::Run(args) }) => args,
            other => panic!("{other:?}"),
        };
        assert_eq!(parse(&flags).again().expect("text"), flags);
        let handed = [&flags[..], &["-f", "web.yaml", "--no-wait", ON_TRIAL]].concat();
        assert_eq!(parse(&handed).again().expect("text"), flags, "once is enough for these");
    }
}
