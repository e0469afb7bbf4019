//! `skerry-controller standalone`: the controller on an API of its own, and the small verbs around its data directory. All that an API
//! is stands in `skerry-standalone`; the controller sees a client, as on any cluster.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use kube::Client;
use skerry_standalone::access::{self, UserRole as Role};
use skerry_standalone::{ADMIN_KUBECONFIG, Standalone, USERS, serve, store};
use tokio_util::sync::CancellationToken;

use crate::args::{self, DataArgs, StandaloneArgs, StandaloneCommand, UserCommand, UserRole};
use crate::run;

/// Runs until SIGTERM or SIGINT. The API outlives the controller, which writes its last statuses to it.
pub async fn run(args: StandaloneArgs) -> anyhow::Result<()> {
    serve::check_listen(args.api_listen, args.allow_remote)?;
    let dir = data_dir(&args.data)?;
    let listener = run::bind(args.api_listen, "--api-listen").await?;
    let doors = run::Doors::open(args.replica).await?;
    let definitions: Vec<_> =
        skerry_api::crds::all().iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
    let standalone = Standalone::open(&dir, &definitions, listener.local_addr()?).await?;
    let client = Client::new(standalone.local(), "default");
    let stop = CancellationToken::new();
    let house = tokio::spawn(standalone.keep_house(stop.clone()));
    let api = tokio::spawn(standalone.serve(listener, &args.tls_san, stop.clone()).await?);
    let done = run::replica(client, doors).await;
    stop.cancel();
    api.await.context("the API ended")?;
    house.await.context("the housekeeping ended")?;
    done
}

/// The verbs that need no runtime.
pub fn command(command: StandaloneCommand) -> anyhow::Result<()> {
    match command {
        StandaloneCommand::Backup { file, data } => {
            let dir = data_dir(&data)?;
            store::backup_directory(&dir, &file, &[USERS])?;
            say(&format!(
                "{} is written. Secrets in it are encrypted with {}: keep a copy of that file too, in another place",
                file.display(),
                dir.join("secrets.key").display()
            ));
        }
        StandaloneCommand::Restore { file, data, key_file } => {
            let dir = data_dir(&data)?;
            store::restore(&file, &dir, key_file.as_deref(), &[USERS])?;
            say(&format!(
                "{} holds what the backup held. Nodes keep what they run that is newer, and say so: see docs/standalone.md, \"Restore\"",
                dir.display()
            ));
        }
        StandaloneCommand::User(command) => user(command)?,
    }
    Ok(())
}

fn user(command: UserCommand) -> anyhow::Result<()> {
    match command {
        UserCommand::Add { name, role, namespace, kubeconfig, server, data } => {
            let dir = store_dir(&data)?;
            if role == UserRole::Editor && namespace.is_empty() {
                bail!("an editor needs a namespace: give at least one with --namespace");
            }
            if let Some(file) = kubeconfig.as_ref().filter(|file| file.exists()) {
                bail!("{} exists; name another file", file.display());
            }
            let token = access::add_user(&dir.join(USERS), &name, role.into(), &namespace)?;
            let Some(file) = kubeconfig else {
                say(&token);
                return Ok(());
            };
            let text = access::user_kubeconfig(
                &dir.join(ADMIN_KUBECONFIG),
                server.as_deref(),
                &name,
                &token,
                namespace.first().map(String::as_str),
            );
            let written = text.map_err(anyhow::Error::from).and_then(|text| {
                access::write_private(&file, text.as_bytes())
                    .with_context(|| format!("failed to write {}", file.display()))
            });
            if let Err(failed) = written {
                // Nobody has the token, so nobody is to be in the list.
                access::remove_user(&dir.join(USERS), &name)?;
                return Err(failed);
            }
            say(&format!("{} lets {name} in", file.display()));
        }
        UserCommand::List { data } => {
            for user in access::list_users(&store_dir(&data)?.join(USERS))? {
                say(&format!("{}\t{}\t{}", user.name, user.role.name(), user.namespaces.join(",")));
            }
        }
        UserCommand::Remove { name, data } => {
            access::remove_user(&store_dir(&data)?.join(USERS), &name)?;
            say(&format!("{name} is removed"));
        }
    }
    Ok(())
}

impl From<UserRole> for Role {
    fn from(role: UserRole) -> Self {
        match role {
            UserRole::Admin => Self::Admin,
            UserRole::Viewer => Self::Viewer,
            UserRole::Editor => Self::Editor,
        }
    }
}

#[expect(clippy::print_stdout, reason = "what was asked for on the command line")]
fn say(text: &str) {
    println!("{text}");
}

/// The folder, which must hold a store: a user of another folder would be let in nowhere.
fn store_dir(args: &DataArgs) -> anyhow::Result<PathBuf> {
    let dir = data_dir(args)?;
    if !store::is_in(&dir) {
        bail!(
            "there is no store in {}: name its folder with --data-dir, or start the server once",
            dir.display()
        );
    }
    Ok(dir)
}

/// The folder as given, or where such data belongs.
fn data_dir(args: &DataArgs) -> anyhow::Result<PathBuf> {
    if let Some(dir) = &args.data_dir {
        return Ok(dir.clone());
    }
    if rustix::process::geteuid().is_root() {
        return Ok(Path::new(args::SYSTEM_DATA_DIR).to_owned());
    }
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".local/state"));
    let state = state
        .or_else(home)
        .context("neither XDG_STATE_HOME nor HOME is set: say where to keep the data with --data-dir")?;
    let dir = state.join("skerry-controller");
    fs::create_dir_all(&state).with_context(|| format!("failed to make {}", state.display()))?;
    Ok(dir)
}
