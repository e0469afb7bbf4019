//! Images that differ from the plain test image: with an entrypoint, a user, a stop signal, or a server: of gRPC, nginx, mosquitto. Made in
//! the local Docker Engine when they are not there.

use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
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
const IMAGES: [(&str, &[&str], &[&str]); 6] = [
    ("entry", &[], &["ENTRYPOINT [\"echo\",\"entrypoint\"]", "CMD [\"default\",\"arguments\"]"]),
    ("env", &["--env=ORIGIN=image", "--workdir=/srv"], &[SLEEP]),
    ("user", &["--user=1234"], &[SLEEP]),
    // A user by name, who is in a group of /etc/group as well: see `passwd`.
    ("named", &["--user=keeper"], &[SLEEP]),
    ("signal", &["--stop-signal=SIGUSR1"], &[]),
    // A stand-in of an example that names nobody's image.
    ("camera", &[], &["ENTRYPOINT [\"sh\",\"-c\",\"exec sleep 9999\",\"camera\"]"]),
];
const SLEEP: &str = "CMD [\"sleep\",\"9999\"]";

/// An image with a program of this machine in /bin.
struct Server {
    tag: &'static str,
    program: PathBuf,
    changes: &'static [&'static str],
    /// Where the program is missing.
    advice: &'static str,
}

/// What nginx is told besides what it is given in `conf.d`, as the image on Docker Hub has it.
const NGINX: &str = "\
user root;
pid /tmp/nginx.pid;
error_log stderr;
events {}
http {
  access_log off;
  default_type text/html;
  client_body_temp_path /tmp/body;
  proxy_temp_path /tmp/proxy;
  fastcgi_temp_path /tmp/fastcgi;
  uwsgi_temp_path /tmp/uwsgi;
  scgi_temp_path /tmp/scgi;
  include /etc/nginx/conf.d/*.conf;
}
";

fn servers() -> Result<[Server; 3]> {
    let advice = "run `tests/host/prepare.sh --examples`";
    Ok([
        Server {
            tag: "health",
            program: target_dir()?.join("skerry-health-server"),
            changes: &[SLEEP],
            advice: "run `make build`",
        },
        // What the examples name, as Debian has it.
        Server {
            tag: "web",
            program: "/usr/sbin/nginx".into(),
            changes: &["CMD [\"nginx\",\"-e\",\"stderr\",\"-g\",\"daemon off;\"]"],
            advice,
        },
        Server {
            tag: "broker",
            program: "/usr/sbin/mosquitto".into(),
            // It gives up being root, as the one on Docker Hub does.
            changes: &[
                "CMD [\"sh\",\"-c\",\"chown -R nobody /mosquitto/data && exec mosquitto -c /mosquitto/config/mosquitto.conf\"]",
            ],
            advice,
        },
    ])
}

/// Makes those that are not there as they would be made now.
pub async fn make() -> Result<()> {
    let servers = servers()?;
    let mut recipe = std::hash::DefaultHasher::new();
    docker_run(&["image", "inspect", "--format", "{{.Id}}", IMAGE]).await?.hash(&mut recipe);
    for Server { tag, program, changes, advice } in &servers {
        let bytes = std::fs::read(program);
        bytes.with_context(|| format!("{} is missing: {advice} first", program.display()))?.hash(&mut recipe);
        (tag, changes).hash(&mut recipe);
    }
    (IMAGES, NGINX).hash(&mut recipe);
    let recipe = format!("recipe={:016x}", recipe.finish());
    let present = ["image", "ls", "--quiet", "--filter", &format!("label={recipe}")];
    if docker_run(&present).await?.lines().count() >= IMAGES.len() + servers.len() {
        return Ok(());
    }
    let etc = tempfile::tempdir()?;
    passwd(etc.path())?;
    for (tag, flags, changes) in IMAGES {
        image(tag, flags, changes, &recipe, (etc.path(), "/etc")).await?;
    }
    for Server { tag, program, changes, advice: _ } in servers {
        let root = tempfile::tempdir()?;
        collect(&program, root.path())?;
        std::fs::create_dir_all(root.path().join("etc/nginx"))?;
        std::fs::write(root.path().join("etc/nginx/nginx.conf"), NGINX)?;
        passwd(&root.path().join("etc"))?;
        image(tag, &[], changes, &recipe, (root.path(), "/")).await?;
    }
    Ok(())
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
    let name = program.file_name().context("a program has a name")?;
    std::fs::create_dir_all(root.join("bin"))?;
    std::fs::copy(program, root.join("bin").join(name))?;
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
