//! A watch against an API server that speaks just enough HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use kube::Config;
use kube::core::{ApiResource, GroupVersionKind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// Serves empty lists, and watches that end at once with this line. Counts the watches.
async fn serve(line: &'static str) -> (Client, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let uri = format!("http://{}", listener.local_addr().expect("an address")).parse().expect("a uri");
    let watches = Arc::new(AtomicU32::new(0));
    let count = watches.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 8192];
            let read = stream.read(&mut request).await.unwrap_or_default();
            let request = String::from_utf8_lossy(&request[..read]).into_owned();
            let body = if request.contains("watch=true") {
                count.fetch_add(1, Ordering::Relaxed);
                line
            } else if request.contains("kube-system") {
                r#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"kube-system","uid":"e"}}"#
            } else {
                r#"{"apiVersion":"v1","kind":"List","metadata":{"resourceVersion":"7"},"items":[]}"#
            };
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
            let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (Client::try_from(Config::new(uri)).expect("a client"), watches)
}

#[tokio::test]
async fn a_watch_that_ends_at_once_is_not_repeated_in_a_loop() {
    let gone = r#"{"type":"ERROR","object":{"apiVersion":"v1","kind":"Status","status":"Failure","message":"old","reason":"Expired","code":410}}"#;
    for line in ["", gone] {
        let (client, watches) = serve(line).await;
        let kind = GroupVersionKind::gvk("skerry.dev", "v1alpha1", "EdgeApp");
        let api = Api::all_with(client.clone(), &ApiResource::from_gvk(&kind));
        let (_relist, relisted) = tokio::sync::watch::channel(3);
        let (tx, mut told) = tokio::sync::mpsc::unbounded_channel();
        let tell = |watched: Watched<Seen<Value, Value>>| std::future::ready(tx.send(watched).is_ok());
        let kind = Kind { api, name: "edgeapps", fields: "", read: whole };
        let watched = watch(client, kind, relisted, tell, || {});
        // Waits of at least 125, 250 and 500 ms fit in.
        let _ = tokio::time::timeout(Duration::from_secs(1), watched).await;
        let first = told.recv().await.expect("a list");
        let Watched::Listed { list, .. } = first else { panic!("{first:?}") };
        assert_eq!(list, ListId { epoch: "e".into(), round: 3 });
        let watches = watches.load(Ordering::Relaxed);
        assert!((1..=4).contains(&watches), "{watches}");
    }
}
