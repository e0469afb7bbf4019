//! Images that differ from the plain test image: with an entrypoint, a user, a stop signal, a gRPC server. Made in the local Docker Engine
//! when they are not there.

use std::hash::{Hash, Hasher};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use skerry_tests::{IMAGE, docker_run, target_dir};

/// Where ours are.
const REPOSITORY: &str = "skerry.local/conformance";

/// `conformance:TAG`, as cases write it, is an image of ours; any other is itself.
pub fn full(image: &str) -> String {
    match image.strip_prefix("conformance:") {
        Some(tag) => format!("{REPOSITORY}:{tag}"),
        None => image.to_owned(),
    }
}

/// Tag, how its container is made, and what is said of it as in a Dockerfile. Not all can be said both ways.
const IMAGES: [(&str, &[&str], &[&str]); 8] = [
    ("entry", &[], &["ENTRYPOINT [\"echo\",\"entrypoint\"]", "CMD [\"default\",\"arguments\"]"]),
    ("env", &["--env=ORIGIN=image", "--workdir=/srv"], &[SLEEP]),
    ("user", &["--user=1234"], &[SLEEP]),
    // A user by name, who is in a group of /etc/group as well: see `passwd`.
    ("named", &["--user=keeper"], &[SLEEP]),
    ("signal", &["--stop-signal=SIGUSR1"], &[]),
    // Stand-ins of the examples: they use what they are given where the real ones would.
    ("web", &[], &["CMD [\"httpd\",\"-f\",\"-p\",\"80\",\"-h\",\"/usr/share/nginx/html\"]"]),
    (
        "broker",
        &[],
        &[
            "CMD [\"sh\",\"-c\",\"echo x >> /mosquitto/data/starts && exec httpd -f -p 1883 -h /mosquitto/config\"]",
        ],
    ),
    ("camera", &[], &["ENTRYPOINT [\"sh\",\"-c\",\"exec sleep 9999\",\"camera\"]"]),
];
const SLEEP: &str = "CMD [\"sleep\",\"9999\"]";

/// The image with the gRPC server in /bin.
const HEALTH: &str = "health";
const HEALTH_SERVER: &str = "skerry-health-server";

/// Makes those that are not there as they would be made now.
pub async fn make() -> Result<()> {
    let server = target_dir()?.join(HEALTH_SERVER);
    ensure!(server.exists(), "{} is missing: run `make build` first", server.display());
    let mut recipe = std::hash::DefaultHasher::new();
    docker_run(&["image", "inspect", "--format", "{{.Id}}", IMAGE]).await?.hash(&mut recipe);
    std::fs::read(&server)?.hash(&mut recipe);
    IMAGES.hash(&mut recipe);
    let recipe = format!("recipe={:016x}", recipe.finish());
    let present = ["image", "ls", "--quiet", "--filter", &format!("label={recipe}")];
    if docker_run(&present).await?.lines().count() > IMAGES.len() {
        return Ok(());
    }
    let etc = tempfile::tempdir()?;
    passwd(etc.path())?;
    for (tag, flags, changes) in IMAGES {
        image(tag, flags, changes, &recipe, (etc.path(), "/etc")).await?;
    }
    let programs = tempfile::tempdir()?;
    collect(&server, programs.path())?;
    image(HEALTH, &[], &[SLEEP], &recipe, (programs.path(), "/")).await
}

/// Makes one of the test image and the content of a folder.
async fn image(
    tag: &str,
    flags: &[&str],
    changes: &[&str],
    recipe: &str,
    (from, to): (&Path, &str),
) -> Result<()> {
    let container = docker_run(&[&["create"], flags, &[IMAGE]].concat()).await?;
    let made = async {
        docker_run(&["cp", &format!("{}/.", from.display()), &format!("{container}:{to}")]).await?;
        let (image, label) = (full(&format!("conformance:{tag}")), format!("LABEL {recipe}"));
        let changes = changes.iter().flat_map(|change| ["-c", *change]);
        let args: Vec<&str> =
            ["commit", "-c", &label].into_iter().chain(changes).chain([container.as_str(), &image]).collect();
        docker_run(&args).await
    };
    let made = made.await;
    docker_run(&["rm", &container]).await?;
    made.map(drop)
}

/// Puts the program and the shared libraries that it needs, its loader included, where they are in an image.
fn collect(program: &Path, root: &Path) -> Result<()> {
    let within = root.join("bin").join(HEALTH_SERVER);
    std::fs::create_dir_all(root.join("bin"))?;
    std::fs::copy(program, within)?;
    for library in libraries(program)? {
        let within = root.join(library.trim_start_matches('/'));
        std::fs::create_dir_all(within.parent().context("a library is in a folder")?)?;
        std::fs::copy(&library, &within).with_context(|| format!("copy {library}"))?;
    }
    Ok(())
}

fn passwd(dir: &Path) -> Result<()> {
    std::fs::write(
        dir.join("passwd"),
        "root:x:0:0:root:/:/bin/sh\nkeeper:x:1000:1000:keeper:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
    )?;
    Ok(std::fs::write(
        dir.join("group"),
        "root:x:0:\nkeeper:x:1000:\nlight:x:50000:keeper\nnogroup:x:65534:\n",
    )?)
}

/// What `ldd` names with a path.
fn libraries(program: &Path) -> Result<Vec<String>> {
    let output = Command::new("ldd").arg(program).output().context("start ldd")?;
    if !output.status.success() {
        bail!("ldd {} failed", program.display());
    }
    let text = String::from_utf8(output.stdout)?;
    let words = text.lines().flat_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    Ok(words.map(str::to_owned).collect())
}
