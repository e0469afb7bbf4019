//! Where images come from, and when.

use anyhow::{Context, ensure};
use skerry_tests::{IMAGE, REGISTRY_PASSWORD, REGISTRY_USER, Registry, docker_run, unique};

use crate::case::{APP, Case};
use crate::scene::Scene;

fn pod(image: &str, policy: &str) -> String {
    format!(
        "{{containers: [{{name: main, image: '{image}', imagePullPolicy: {policy}, command: [sleep, '9999']}}]}}"
    )
}

/// A secret as `kubectl create secret docker-registry` makes it.
async fn credentials(scene: &Scene, registry: &Registry, password: &str) -> anyhow::Result<()> {
    let (server, user, password) = (
        format!("--docker-server={}", registry.host()),
        format!("--docker-username={REGISTRY_USER}"),
        format!("--docker-password={password}"),
    );
    let args = [
        "create",
        "secret",
        "docker-registry",
        "registry",
        "-n",
        &scene.namespace,
        &server,
        &user,
        &password,
    ];
    scene.stage.site.kubectl().run(&args).await.map(drop)
}

pub fn cases() -> Vec<Case> {
    let mut cases = policies();
    cases.extend(private());
    cases
}

fn policies() -> Vec<Case> {
    vec![
        Case::story(
            "an_image_is_pulled",
            "[sig-node] Container Runtime blackbox test when running a container with a new image should be able to pull image",
            async |scene| {
                let registry = Registry::start().await?;
                let image = registry.push("tools/app:1").await?;
                let app = scene.ready(APP, &pod(&image, "IfNotPresent")).await?;
                app.inspects("main", "/Config/Image", image.clone().into()).await?;
                app.delete().await?;
                docker_run(&["rmi", &image]).await.map(drop)
            },
        ),
        Case::story(
            "an_image_is_named_by_its_digest",
            "https://kubernetes.io/docs/concepts/containers/images/#image-names: an image by its digest, image@sha256:…, is always the same",
            async |scene| {
                let registry = Registry::start().await?;
                let image = registry.push("tools/app:1").await?;
                let said = docker_run(&["pull", &image]).await?;
                let digest =
                    said.lines().find_map(|line| line.strip_prefix("Digest: ")).context("a digest")?;
                let by_digest = format!("{}@{digest}", image.trim_end_matches(":1"));
                docker_run(&["rmi", &image]).await?;
                let app = scene.ready(APP, &pod(&by_digest, "IfNotPresent")).await?;
                app.inspects("main", "/Config/Image", by_digest.clone().into()).await?;
                app.delete().await?;
                docker_run(&["rmi", &by_digest]).await.map(drop)
            },
        ),
        Case::story(
            "an_image_that_nobody_has_is_named",
            "[sig-node] Container Runtime blackbox test when running a container with a new image should not be able to pull image from invalid registry",
            async |scene| {
                let port = skerry_tests::free_port()?;
                let image = format!("127.0.0.1:{port}/invalid/image:1");
                let app = scene.apply(APP, &pod(&image, "IfNotPresent")).await?;
                let report = app.reason("ImagePullFailed").await?;
                ensure!(report.message.contains(&image) && !app.exists("main").await?, "{report:?}");
                Ok(())
            },
        ),
        Case::story(
            "never_pulls_nothing",
            "https://kubernetes.io/docs/concepts/containers/images/#image-pull-policy: Never: the kubelet does not try fetching the image. If the image is somehow already \
             present locally, the kubelet attempts to start the container; otherwise, startup fails",
            async |scene| {
                let image = format!("skerry.local/{}:1", unique("never"));
                let app = scene.apply(APP, &pod(&image, "Never")).await?;
                app.reason("ErrImageNeverPull").await?;
                docker_run(&["tag", IMAGE, &image]).await?;
                app.ready().await?;
                app.delete().await?;
                docker_run(&["rmi", &image]).await.map(drop)
            },
        ),
        Case::story(
            "the_latest_is_always_pulled",
            "https://kubernetes.io/docs/concepts/containers/images/#imagepullpolicy-defaulting: if you omit the imagePullPolicy field, and the tag for the container image is \
             :latest, imagePullPolicy is automatically set to Always",
            async |scene| {
                let registry = Registry::start().await?;
                let image = registry.push("tools/app:latest").await?;
                // Something else of this name is on the box already.
                docker_run(&["tag", &crate::images::full("conformance:env"), &image]).await?;
                let pod =
                    format!("{{containers: [{{name: main, image: '{image}', command: [sleep, '9999']}}]}}");
                let app = scene.ready(APP, &pod).await?;
                app.says("main", "echo ${ORIGIN-of the registry}", "of the registry").await?;
                app.delete().await?;
                docker_run(&["rmi", &image]).await.map(drop)
            },
        ),
    ]
}

fn private() -> Vec<Case> {
    vec![
        Case::story(
            "a_private_registry_wants_a_secret",
            "[sig-node] Container Runtime blackbox test when running a container with a new image should not be able to pull from private registry without secret",
            async |scene| {
                let registry = Registry::start_private().await?;
                let image = registry.push("tools/app:1").await?;
                let app = scene.apply(APP, &pod(&image, "IfNotPresent")).await?;
                app.reason("ImagePullFailed").await?;
                ensure!(!app.exists("main").await?, "it was created");
                Ok(())
            },
        ),
        Case::story(
            "a_private_registry_takes_the_secret",
            "[sig-node] Container Runtime blackbox test when running a container with a new image should be able to pull from private registry with secret",
            async |scene| {
                let registry = Registry::start_private().await?;
                let image = registry.push("tools/app:1").await?;
                credentials(scene, &registry, REGISTRY_PASSWORD).await?;
                let pod =
                    pod(&image, "IfNotPresent").replacen('{', "{imagePullSecrets: [{name: registry}], ", 1);
                let app = scene.ready(APP, &pod).await?;
                let inspect = app.inspect("main").await?.to_string();
                ensure!(!inspect.contains(REGISTRY_PASSWORD), "the password is in docker inspect");
                app.delete().await?;
                docker_run(&["rmi", &image]).await.map(drop)
            },
        ),
        Case::story(
            "a_wrong_password_is_mended",
            "https://kubernetes.io/docs/tasks/configure-pod-container/pull-image-private-registry/: the kubelet tries again with back-off, with the Secret as it is then",
            async |scene| {
                let registry = Registry::start_private().await?;
                let image = registry.push("tools/app:1").await?;
                credentials(scene, &registry, "wrong").await?;
                let pod =
                    pod(&image, "IfNotPresent").replacen('{', "{imagePullSecrets: [{name: registry}], ", 1);
                let app = scene.apply(APP, &pod).await?;
                app.reason("ImagePullFailed").await?;
                scene.forget("Secret", "registry").await?;
                credentials(scene, &registry, REGISTRY_PASSWORD).await?;
                app.ready().await?;
                app.delete().await?;
                docker_run(&["rmi", &image]).await.map(drop)
            },
        ),
    ]
}
