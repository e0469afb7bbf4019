//! What a case is: a name, the Kubernetes behaviour that it stands on, and what is played on a [`Scene`]. Most are data: a pod spec and what
//! must be seen of it. The others are told as a story.

use std::pin::Pin;
use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use serde_json::Value;

use crate::scene::Scene;

/// The app of a case that has one only.
pub const APP: &str = "app";

/// One behaviour.
pub struct Case {
    /// Unique within its group.
    pub name: &'static str,
    /// The full name of a Kubernetes end-to-end test, or the place in Kubernetes' documentation with its words.
    pub stands_on: &'static str,
    play: Play,
}

type Story = Box<dyn Fn(Scene) -> Pin<Box<dyn Future<Output = Result<()>>>> + Send + Sync>;

enum Play {
    /// A pod, and what is seen of it.
    Pod {
        config: &'static str,
        pod: &'static str,
        ends: Ends,
        checks: Vec<Check>,
    },
    /// A pod that the API refuses.
    Refused {
        pod: &'static str,
        words: &'static [&'static str],
    },
    /// A pod that the API takes and the controller does not.
    Invalid {
        pod: &'static str,
        words: &'static [&'static str],
    },
    Story(Story),
}

/// How the app of a case stands when the checks are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// It runs and is ready.
    Ready,
    /// It is in this phase.
    Phase(&'static str),
}

enum Check {
    /// The container's log has this line.
    Prints(&'static str, &'static str),
    /// A shell in the container prints this.
    Says(&'static str, &'static str, &'static str),
    /// `docker inspect` of the container has this value at this JSON pointer.
    Inspects(&'static str, &'static str, Value),
    /// The node gives this reason for the app's phase.
    Reason(&'static str),
    /// The node's message of the app has these words.
    Message(&'static str),
}

impl Case {
    /// A pod that is there to stay: the checks are made once it is ready.
    pub fn pod(name: &'static str, stands_on: &'static str, pod: &'static str) -> Self {
        Self::of(name, stands_on, pod, Ends::Ready)
    }

    /// A pod that runs to a good end.
    pub fn job(name: &'static str, stands_on: &'static str, pod: &'static str) -> Self {
        Self::of(name, stands_on, pod, Ends::Phase("Succeeded"))
    }

    /// A pod that comes to stand in this phase.
    pub fn in_phase(
        name: &'static str,
        stands_on: &'static str,
        pod: &'static str,
        phase: &'static str,
    ) -> Self {
        Self::of(name, stands_on, pod, Ends::Phase(phase))
    }

    /// A pod spec that is refused at apply with each of these words.
    pub fn refused(
        name: &'static str,
        stands_on: &'static str,
        pod: &'static str,
        words: &'static [&'static str],
    ) -> Self {
        Self { name, stands_on, play: Play::Refused { pod, words } }
    }

    /// A pod spec that is wrong in a way that a schema cannot see: the EdgeApp is InvalidSpec with each of these words, and no node has it.
    pub fn invalid(
        name: &'static str,
        stands_on: &'static str,
        pod: &'static str,
        words: &'static [&'static str],
    ) -> Self {
        Self { name, stands_on, play: Play::Invalid { pod, words } }
    }

    /// What takes more than one look.
    pub fn story<S>(name: &'static str, stands_on: &'static str, story: S) -> Self
    where
        S: AsyncFn(&Scene) -> Result<()> + Send + Sync + 'static,
    {
        let story = Arc::new(story);
        let play: Story = Box::new(move |scene| {
            let story = story.clone();
            Box::pin(async move { story(&scene).await })
        });
        Self { name, stands_on, play: Play::Story(play) }
    }

    fn of(name: &'static str, stands_on: &'static str, pod: &'static str, ends: Ends) -> Self {
        Self { name, stands_on, play: Play::Pod { config: "", pod, ends, checks: Vec::new() } }
    }

    /// ConfigMaps and Secrets that are there before the app is.
    pub fn with(mut self, yaml: &'static str) -> Self {
        if let Play::Pod { config, .. } = &mut self.play {
            *config = yaml;
        }
        self
    }

    pub fn prints(self, container: &'static str, line: &'static str) -> Self {
        self.check(Check::Prints(container, line))
    }

    pub fn says(self, container: &'static str, script: &'static str, output: &'static str) -> Self {
        self.check(Check::Says(container, script, output))
    }

    pub fn inspects(self, container: &'static str, pointer: &'static str, value: impl Into<Value>) -> Self {
        self.check(Check::Inspects(container, pointer, value.into()))
    }

    pub fn reason(self, reason: &'static str) -> Self {
        self.check(Check::Reason(reason))
    }

    pub fn message(self, words: &'static str) -> Self {
        self.check(Check::Message(words))
    }

    fn check(mut self, check: Check) -> Self {
        if let Play::Pod { checks, .. } = &mut self.play {
            checks.push(check);
        }
        self
    }

    /// Plays it. What it made is the scene's to remove.
    pub async fn play(&self, scene: Scene) -> Result<()> {
        match &self.play {
            Play::Pod { config, pod, ends, checks } => {
                scene.config(config).await?;
                let app = scene.apply(APP, pod).await?;
                match ends {
                    Ends::Ready => drop(app.ready().await?),
                    Ends::Phase(phase) => drop(app.phase(phase).await?),
                }
                for check in checks {
                    match check {
                        Check::Prints(container, line) => app.prints(container, line).await?,
                        Check::Says(container, script, output) => app.says(container, script, output).await?,
                        Check::Inspects(container, pointer, value) => {
                            app.inspects(container, pointer, value.clone()).await?;
                        }
                        Check::Reason(reason) => drop(app.reason(reason).await?),
                        Check::Message(words) => {
                            app.report(&format!("the message has {words:?}"), |report| {
                                report.message.contains(words)
                            })
                            .await?;
                        }
                    }
                }
                Ok(())
            }
            Play::Refused { pod, words } => {
                let Err(error) = scene.apply(APP, pod).await else { bail!("the API took it") };
                let said = format!("{error:#}");
                for word in *words {
                    ensure!(said.contains(word), "{word:?} is not in the refusal: {said}");
                }
                Ok(())
            }
            Play::Invalid { pod, words } => {
                let app = scene.apply(APP, pod).await?;
                let said = scene.condition(APP, "Ready", "InvalidSpec").await?;
                for word in *words {
                    ensure!(said.contains(word), "{word:?} is not in the message: {said}");
                }
                ensure!(app.containers().await?.is_empty(), "something was created");
                Ok(())
            }
            Play::Story(story) => story(scene).await,
        }
    }
}
