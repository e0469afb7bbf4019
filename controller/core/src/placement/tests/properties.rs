//! What holds for all fleets: nothing moves without need, no node gets more than it has, and the answer does not depend on how the
//! changes came in.

use proptest::prelude::*;

use super::*;

/// One app of a fleet, small enough that apps meet on nodes.
#[derive(Debug, Clone)]
struct AppShape {
    created: i64,
    replicas: Option<usize>,
    cpu: u64,
    cameras: u64,
    tolerates: bool,
    site: Option<u8>,
}

#[derive(Debug, Clone)]
struct NodeShape {
    site: u8,
    cpu: u64,
    cameras: u64,
    taint: Option<&'static str>,
    cordoned: bool,
    connected: bool,
    has: Vec<usize>,
}

fn app_shape() -> impl Strategy<Value = AppShape> {
    let replicas = prop::option::weighted(0.6, 0..4usize);
    let site = prop::option::weighted(0.3, 0..2u8);
    (0..3i64, replicas, 0..3u64, 0..2u64, any::<bool>(), site).prop_map(
        |(created, replicas, cpu, cameras, tolerates, site)| AppShape {
            created,
            replicas,
            cpu,
            cameras,
            tolerates,
            site,
        },
    )
}

fn node_shape() -> impl Strategy<Value = NodeShape> {
    let effect = prop::sample::select(vec!["NoSchedule", "NoExecute", "PreferNoSchedule"]);
    let taint = prop::option::weighted(0.3, effect);
    let rest =
        (prop::bool::weighted(0.15), prop::bool::weighted(0.8), prop::collection::vec(0..6usize, 0..3));
    (0..2u8, 0..5u64, 0..3u64, taint, rest).prop_map(
        |(site, cpu, cameras, taint, (cordoned, connected, has))| NodeShape {
            site,
            cpu,
            cameras,
            taint,
            cordoned,
            connected,
            has,
        },
    )
}

fn fleet() -> impl Strategy<Value = (Vec<AppShape>, Vec<NodeShape>)> {
    (prop::collection::vec(app_shape(), 1..6), prop::collection::vec(node_shape(), 1..7))
}

fn demand_of(n: usize, shape: &AppShape) -> Demand {
    let mut placement = json!({});
    if let Some(replicas) = shape.replicas {
        placement["replicas"] = json!(replicas);
    }
    if shape.tolerates {
        placement["tolerations"] = json!([{"operator": "Exists"}]);
    }
    if let Some(site) = shape.site {
        placement["nodeSelector"] = json!({"matchLabels": {"site": site.to_string()}});
    }
    let requests = json!({"cpu": shape.cpu, "skerry.dev/camera": shape.cameras});
    demand(&format!("app-{n}"), shape.created, requests, json!({"placement": placement}))
}

fn node_of(shape: &NodeShape) -> Node {
    let room = json!({"cpu": shape.cpu, "skerry.dev/camera": shape.cameras});
    Node {
        labels: labels(&[("site", &shape.site.to_string())]),
        taints: shape.taint.map(taint).into_iter().collect(),
        unschedulable: shape.cordoned,
        connected: shape.connected,
        has: shape.has.iter().map(|n| key(&format!("app-{n}"))).collect(),
        ..node(room, &[])
    }
}

fn board_of(apps: &[AppShape], nodes: &[Node]) -> Board {
    let mut board = Board::default();
    for (n, shape) in apps.iter().enumerate() {
        board.set_app(&key(&format!("app-{n}")), Some(demand_of(n, shape)));
    }
    for (n, node) in nodes.iter().enumerate() {
        board.set_node(&box_name(n), Some(node.clone()));
    }
    board.settle();
    board
}

fn box_name(n: usize) -> NodeName {
    name(&format!("box-{n}"))
}

/// Every verdict there is.
fn verdicts(board: &Board, nodes: usize) -> Vec<(usize, AppKey, Verdict)> {
    let names: Vec<_> = (0..nodes).map(box_name).collect();
    let on = |(n, name)| board.on_node(name).map(move |(key, verdict)| (n, key.clone(), verdict.clone()));
    names.iter().enumerate().flat_map(on).collect()
}

/// The apps that each node runs.
fn runs(board: &Board, nodes: usize) -> Vec<BTreeSet<AppKey>> {
    let runs =
        |(key, verdict): (&AppKey, &Verdict)| matches!(verdict, Verdict::Runs { .. }).then(|| key.clone());
    (0..nodes).map(|n| board.on_node(&box_name(n)).filter_map(runs).collect()).collect()
}

/// The nodes as they are when they have taken over what they were given.
fn after(board: &Board, nodes: &[Node]) -> Vec<Node> {
    let runs = runs(board, nodes.len());
    nodes.iter().zip(runs).map(|(node, has)| Node { has, ..node.clone() }).collect()
}

proptest! {
    #[test]
    fn no_node_gets_more_than_it_has((apps, nodes) in fleet()) {
        let nodes: Vec<_> = nodes.iter().map(node_of).collect();
        let board = board_of(&apps, &nodes);
        for (node, runs) in nodes.iter().zip(runs(&board, nodes.len())) {
            let mut free = node.room.clone();
            for (n, shape) in apps.iter().enumerate() {
                if runs.contains(&key(&format!("app-{n}"))) {
                    prop_assert!(free.reserve(&demand_of(n, shape).requests).is_ok());
                }
            }
        }
    }

    #[test]
    fn replicas_are_as_many_as_wanted_or_every_other_node_says_why((apps, nodes) in fleet()) {
        let nodes: Vec<_> = nodes.iter().map(node_of).collect();
        let board = board_of(&apps, &nodes);
        let runs = runs(&board, nodes.len());
        for (n, shape) in apps.iter().enumerate() {
            let Some(wanted) = shape.replicas else { continue };
            let app = key(&format!("app-{n}"));
            let taken = runs.iter().filter(|runs| runs.contains(&app)).count();
            prop_assert_eq!(taken + board.missing(&app), wanted);
            if board.missing(&app) > 0 {
                let demand = demand_of(n, shape);
                for (i, node) in nodes.iter().enumerate() {
                    prop_assert_eq!(board.verdict(&box_name(i), &app).is_some(), demand.selects(&node.labels));
                }
            }
        }
    }

    #[test]
    fn what_has_come_to_rest_stays((apps, nodes) in fleet()) {
        let nodes: Vec<_> = nodes.iter().map(node_of).collect();
        let first = board_of(&apps, &nodes);
        let nodes = after(&first, &nodes);
        prop_assert_eq!(runs(&board_of(&apps, &nodes), nodes.len()), runs(&first, nodes.len()));
    }

    /// What fits stays where it is: a node that comes takes only what had no place, whatever it brings along.
    #[test]
    fn a_node_that_comes_moves_nothing((apps, nodes) in fleet(), new in node_shape()) {
        let nodes: Vec<_> = nodes.iter().map(node_of).collect();
        let first = board_of(&apps, &nodes);
        let mut nodes = after(&first, &nodes);
        let before = runs(&first, nodes.len());
        nodes.push(Node { created: i64::MAX, ..node_of(&new) });
        let now = runs(&board_of(&apps, &nodes), nodes.len());
        prop_assert_eq!(&now[..before.len()], &before[..]);
    }

    /// The nodes that stay keep all they had; only they that have room get more.
    #[test]
    fn a_node_that_goes_moves_only_its_share((apps, nodes) in fleet(), gone in any::<prop::sample::Index>()) {
        let nodes: Vec<_> = nodes.iter().map(node_of).collect();
        let first = board_of(&apps, &nodes);
        let nodes = after(&first, &nodes);
        let before = runs(&first, nodes.len());
        let gone = gone.index(nodes.len());
        let mut board = board_of(&apps, &nodes);
        board.set_node(&box_name(gone), None);
        board.settle();
        let now = runs(&board, nodes.len());
        let mut more = 0;
        for (n, (before, now)) in before.iter().zip(&now).enumerate().filter(|(n, _)| *n != gone) {
            prop_assert!(now.is_superset(before), "box-{} lost something", n);
            more += now.len() - before.len();
        }
        prop_assert!(more <= before[gone].len(), "{} moved, {} were there", more, before[gone].len());
    }

    /// With no memory of what runs, replicas alone follow the hash: nodes in common keep what they have.
    #[test]
    fn the_hash_moves_only_the_share_of_a_node_that_goes(replicas in 1..4usize, count in 4..12usize, gone in 0..4usize) {
        let shape = AppShape { created: 0, replicas: Some(replicas), cpu: 0, cameras: 0, tolerates: false, site: None };
        let nodes = vec![node(json!({}), &[]); count];
        let mut board = board_of(std::slice::from_ref(&shape), &nodes);
        let before = runs(&board, count);
        board.set_node(&box_name(gone), None);
        board.settle();
        let now = runs(&board, count);
        let lost = (0..count).filter(|n| *n != gone && !before[*n].is_empty() && now[*n].is_empty()).count();
        let gained = (0..count).filter(|n| before[*n].is_empty() && !now[*n].is_empty()).count();
        prop_assert_eq!((lost, gained), (0, before[gone].len()));
    }

    /// However the changes came in, and whatever was settled on the way, the answer is that of a board made afresh.
    #[test]
    fn changes_one_by_one_and_in_any_order_end_in_the_same(
        (apps, nodes) in fleet(),
        (other_apps, other_nodes) in fleet(),
        order in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>(), any::<bool>()), 0..12),
    ) {
        let nodes: Vec<_> = nodes.iter().map(node_of).collect();
        let mut board = board_of(&other_apps, &other_nodes.iter().map(node_of).collect::<Vec<_>>());
        for (is_app, which, settle) in order {
            if is_app {
                let n = which.index(apps.len());
                board.set_app(&key(&format!("app-{n}")), Some(demand_of(n, &apps[n])));
            } else {
                let n = which.index(nodes.len());
                board.set_node(&box_name(n), Some(nodes[n].clone()));
            }
            if settle {
                board.settle();
            }
        }
        for n in (0..apps.len().max(other_apps.len())).rev() {
            board.set_app(&key(&format!("app-{n}")), apps.get(n).map(|shape| demand_of(n, shape)));
        }
        for n in (0..nodes.len().max(other_nodes.len())).rev() {
            board.set_node(&box_name(n), nodes.get(n).cloned());
        }
        board.settle();
        let fresh = board_of(&apps, &nodes);
        prop_assert_eq!(verdicts(&board, 8), verdicts(&fresh, 8));
        for n in 0..6 {
            let app = key(&format!("app-{n}"));
            prop_assert_eq!(board.missing(&app), fresh.missing(&app));
        }
    }

    /// What a settle does not name has not changed.
    #[test]
    fn a_settle_names_all_that_has_moved((apps, nodes) in fleet(), change in node_shape(), which in any::<prop::sample::Index>()) {
        let nodes: Vec<_> = nodes.iter().map(node_of).collect();
        let mut board = board_of(&apps, &nodes);
        let before = verdicts(&board, nodes.len());
        board.set_node(&box_name(which.index(nodes.len())), Some(node_of(&change)));
        let moved = board.settle();
        let now = verdicts(&board, nodes.len());
        for entry in before.iter().filter(|entry| !now.contains(entry)).chain(now.iter().filter(|e| !before.contains(e))) {
            let (n, key, _) = entry;
            prop_assert!(moved.nodes.contains(&box_name(*n)) && moved.apps.contains(key));
        }
    }
}
