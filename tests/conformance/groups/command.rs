//! What a container runs: command and args against the image's own, `$(VAR)`, the working directory.

use serde_json::json;

use crate::case::Case;

pub fn cases() -> Vec<Case> {
    vec![
        Case::job(
            "the_images_own_command_runs",
            "[sig-node] Containers should use the image defaults if command and args are blank",
            "{restartPolicy: Never, containers: [{name: main, image: 'conformance:entry'}]}",
        )
        .prints("main", "entrypoint default arguments")
        .inspects("main", "/Config/Entrypoint", json!(["echo", "entrypoint"])),
        Case::job(
            "args_replace_the_images_arguments",
            "[sig-node] Containers should be able to override the image's default arguments (container cmd)",
            "{restartPolicy: Never, containers: [{name: main, image: 'conformance:entry', args: [override, arguments]}]}",
        )
        .prints("main", "entrypoint override arguments")
        .inspects("main", "/Args", json!(["entrypoint", "override", "arguments"])),
        Case::job(
            "command_replaces_the_images_entrypoint_and_arguments",
            "[sig-node] Containers should be able to override the image's default command (container entrypoint)",
            "{restartPolicy: Never, containers: [{name: main, image: 'conformance:entry', command: [echo, -n, override]}]}",
        )
        .prints("main", "override")
        .inspects("main", "/Path", "echo")
        .inspects("main", "/Args", json!(["-n", "override"])),
        Case::job(
            "command_and_args_replace_both",
            "[sig-node] Containers should be able to override the image's default command and arguments",
            "{restartPolicy: Never, containers: [{name: main, image: 'conformance:entry', command: [printf], args: ['%s|', a, 'b c']}]}",
        )
        .prints("main", "a|b c|")
        .inspects("main", "/Args", json!(["%s|", "a", "b c"])),
        Case::job(
            "variables_in_command",
            "[sig-node] Variable Expansion should allow substituting values in a container's command",
            r#"
restartPolicy: Never
containers:
- name: main
  command: [sh, -c, 'TEST_VAR=wrong; echo "$(TEST_VAR)"']
  env: [{name: TEST_VAR, value: test-value}]
"#,
        )
        .prints("main", "test-value")
        .inspects("main", "/Args/1", "TEST_VAR=wrong; echo \"test-value\""),
        Case::job(
            "variables_in_args",
            "[sig-node] Variable Expansion should allow substituting values in a container's args",
            r#"
restartPolicy: Never
containers:
- name: main
  command: [sh, -c]
  args: ['TEST_VAR=wrong; echo "$(TEST_VAR)"']
  env: [{name: TEST_VAR, value: test-value}]
"#,
        )
        .prints("main", "test-value")
        .inspects("main", "/Args/1", "TEST_VAR=wrong; echo \"test-value\""),
        Case::job(
            "two_dollars_are_one_that_expands_nothing",
            "kubectl explain pod.spec.containers.args: Double $$ are reduced to a single $, which allows for escaping the $(VAR_NAME) syntax: \
             i.e. \"$$(VAR_NAME)\" will produce the string literal \"$(VAR_NAME)\"",
            "{restartPolicy: Never, containers: [{name: main, command: [echo, '$$(X)', '$$$(X)', '$$$$(X)', 'a$$b'], env: [{name: X, value: y}]}]}",
        )
        .prints("main", "$(X) $y $$(X) a$b"),
        Case::job(
            "an_unknown_variable_is_left_as_it_is",
            "kubectl explain pod.spec.containers.command: If a variable cannot be resolved, the reference in the input string will be unchanged",
            "{restartPolicy: Never, containers: [{name: main, command: [echo, '$(NOBODY)', '$(', '$x', '$', '$(X'], env: [{name: X, value: y}]}]}",
        )
        .prints("main", "$(NOBODY) $( $x $ $(X"),
        Case::job(
            "args_are_not_a_shells",
            "https://kubernetes.io/docs/tasks/inject-data-application/define-command-argument-container/: the command and arguments are run as they \
             are; a shell runs only if the command is one",
            r#"{restartPolicy: Never, containers: [{name: main, command: [printf, '%s\n'], args: ['a  "b" *', '`id`', "it's", '']}]}"#,
        )
        .prints("main", "a  \"b\" *\n`id`\nit's"),
        Case::pod(
            "the_working_directory_is_the_images",
            "kubectl explain pod.spec.containers.workingDir: If not specified, the container runtime's default will be used, which might be configured \
             in the container image",
            "{containers: [{name: main, image: 'conformance:env'}]}",
        )
        .says("main", "readlink /proc/1/cwd", "/srv")
        .inspects("main", "/Config/WorkingDir", "/srv"),
        Case::pod(
            "the_working_directory_is_chosen",
            "kubectl explain pod.spec.containers.workingDir: Container's working directory",
            "{containers: [{name: main, image: 'conformance:env', workingDir: /tmp}]}",
        )
        .says("main", "readlink /proc/1/cwd", "/tmp")
        .inspects("main", "/Config/WorkingDir", "/tmp"),
        Case::job(
            "what_it_prints_is_in_the_logs",
            "[sig-node] Kubelet when scheduling a busybox command in a pod should print the output to logs",
            "{restartPolicy: Never, containers: [{name: main, command: [sh, -c, 'echo Hello World; echo to standard error >&2']}]}",
        )
        .prints("main", "Hello World")
        .prints("main", "to standard error"),
        Case::pod(
            "stdin_and_a_terminal_are_there_when_asked_for",
            "kubectl explain pod.spec.containers.stdin: Whether this container should allocate a buffer for stdin in the container runtime. If this is \
             not set, reads from stdin in the container will always result in EOF",
            r#"
containers:
- {name: shell, command: [sh], stdin: true, tty: true}
- {name: plain, command: [sh, -c, 'cat; echo end of file; exec sleep 9999']}
"#,
        )
        .inspects("shell", "/Config/OpenStdin", true)
        .inspects("shell", "/Config/Tty", true)
        .says("shell", "test -t 0 < /proc/1/fd/0 && echo terminal", "terminal")
        .prints("plain", "end of file")
        .inspects("plain", "/Config/OpenStdin", false),
    ]
}
