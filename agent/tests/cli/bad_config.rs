//! `agent.toml` with everything that can be wrong with it: exit code 2, and one line with the file, the line and the key.

use std::path::Path;

use super::{run, stderr};

fn refuse(path: &Path, words: &[&str]) {
    let output = run(&["run", "--config", path.to_str().expect("text")]);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.len() < 1000, "{} bytes", text.len());
    for words in words.iter().chain([&path.to_str().expect("text")]) {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn a_wrong_file_is_refused_with_one_line_that_says_where() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("agent.toml");
    let long = format!("node-name = \"{}\"", "x".repeat(100_000));
    let many = format!("node-name = \"a\"\n{}", "# filling\n".repeat(1 << 20));
    for (content, words) in [
        (&b"node-name"[..], &[":1: "][..]),
        (b"node-name = ", &[":1: ", "node-name"]),
        (b"\n\nstate_dir = \"/x\"\n", &[":3: ", "state_dir"]),
        (b"node-name = 7\n", &[":1: ", "node-name"]),
        (b"node-name = \"a\"\nlabels = [\"a\"]\n", &[":2: ", "labels"]),
        (b"node-name = \"a\"\nnode-name = \"b\"\n", &[":2: ", "node-name"]),
        (b"[policy]\nprivileged = \"yes\"\n", &[":2: ", "privileged"]),
        (b"node-name = \"\xff\xfe\"\n", &["UTF-8"]),
        (b"\x00\x00\x00\x00", &[":1: "]),
        (b"\xfe\xffn\x00o", &["UTF-8"]),
        (long.as_bytes(), &["node-name"]),
        (many.as_bytes(), &["larger than"]),
    ] {
        std::fs::write(&path, content).expect("written");
        refuse(&path, words);
    }
    std::fs::remove_file(&path).expect("removed");
    std::fs::create_dir(&path).expect("created");
    refuse(&path, &["irectory"]);
}

#[test]
fn a_byte_order_mark_is_no_mistake() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("agent.toml");
    std::fs::write(&path, b"\xef\xbb\xbfnode-name = \"A_b\"\n").expect("written");
    refuse(&path, &["node-name", "A_b"]);
}
