//! Keeps a node's status writable: the API server refuses large objects, and what a node reports must not keep the controller from
//! writing that the node is away. Details go first, the list of apps never.

use skerry_api::{AppReport, EdgeNodeStatus};

/// Largest status, as JSON: a third of what etcd takes, so that there is room for the rest of the object.
pub const STATUS_MAX: usize = 512 << 10;
/// What stays of a message, in characters, when all else was not enough.
const WORDS: usize = 40;

/// The status, with so much left out that it fits.
pub fn fit(mut status: EdgeNodeStatus) -> EdgeNodeStatus {
    let steps: [fn(&mut AppReport); 4] = [
        |app| {
            if app.ready {
                app.containers.clear();
            }
        },
        |app| app.containers.clear(),
        |app| app.message = app.message.chars().take(WORDS).collect(),
        // Words of an honest agent are short.
        |app| {
            app.message.clear();
            app.reason.clear();
            app.revision.clear();
        },
    ];
    for step in steps {
        if fits(&status) {
            break;
        }
        status.apps.iter_mut().for_each(step);
    }
    status
}

fn fits(status: &EdgeNodeStatus) -> bool {
    // What cannot be serialised is refused by the client, whatever is left out.
    serde_json::to_vec(status).is_ok_and(|json| json.len() <= STATUS_MAX)
}

#[cfg(test)]
mod tests {
    use skerry_api::ContainerReport;

    use super::*;

    fn status(apps: usize, containers: usize, text: usize) -> EdgeNodeStatus {
        // A control character takes six in JSON.
        let text = "\u{1}".repeat(text);
        let container = ContainerReport { message: text.clone(), ..ContainerReport::default() };
        let app = |n: usize| AppReport {
            namespace: "n".repeat(63),
            name: format!("{n:0253}"),
            phase: "CrashLoopBackOff".into(),
            ready: n.is_multiple_of(2),
            reason: text.clone(),
            revision: text.clone(),
            message: text.clone(),
            containers: vec![container.clone(); containers],
            ..AppReport::default()
        };
        EdgeNodeStatus { apps: (0..apps).map(app).collect(), ..EdgeNodeStatus::default() }
    }

    #[test]
    fn whatever_a_node_reports_its_status_fits_and_names_every_app() {
        for (apps, containers, text) in [(1024, 32, 256), (1024, 0, 256), (40, 32, 256), (1024, 1, 0)] {
            let fitted = fit(status(apps, containers, text));
            assert!(fits(&fitted), "{apps} {containers} {text}");
            assert_eq!(fitted.apps.len(), apps);
            assert_eq!(fit(fitted.clone()), fitted, "said again it stays");
        }
    }

    #[test]
    fn an_honest_status_is_left_alone_and_apps_that_fail_keep_their_containers_longest() {
        let honest = status(20, 2, 20);
        assert_eq!(fit(honest.clone()), honest);
        let fitted = fit(status(20, 32, 150));
        let kept = |ready| fitted.apps.iter().any(|app| app.ready == ready && !app.containers.is_empty());
        assert!(kept(false) && !kept(true));
    }
}
