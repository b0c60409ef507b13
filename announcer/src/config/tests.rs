use clap::{CommandFactory, FromArgMatches, Parser};
use rstest::rstest;

use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    flags: Flags,
}

/// Flags as typed, whatever the environment of the test run holds.
fn parse(line: &[&str]) -> Result<Flags, clap::Error> {
    let command = Line::command().mut_args(|arg| arg.env(None::<&str>));
    let matches = command.try_get_matches_from(["agent"].iter().chain(line))?;
    Line::from_arg_matches(&matches).map(|line| line.flags)
}

fn flags(line: &[&str]) -> Flags {
    parse(line).unwrap()
}

fn names(settings: &Settings) -> Vec<&str> {
    settings.interfaces.iter().map(LinkPattern::text).collect()
}

fn file(text: &str) -> FileSettings {
    FileSettings::parse(text).unwrap()
}

#[test]
fn defaults_are_those_of_the_contract() {
    let settings = Settings::settle(flags(&["--node-name", "n1"]), file("")).unwrap();
    assert_eq!(settings.paths.bpffs, PathBuf::from("/sys/fs/bpf/announcer"));
    assert_eq!(settings.paths.control_socket(), PathBuf::from("/run/announcer/control.sock"));
    assert_eq!(settings.listen, DEFAULT_LISTEN.parse().unwrap());
    assert_eq!(settings.namespace, "announcer-system");
    assert_eq!(settings.peer_port, 7962);
    assert_eq!(settings.hold_time, Duration::from_secs(600));
    assert_eq!(settings.classless, Classless::Auto);
    assert!(settings.interfaces.is_empty());
}

#[test]
fn the_file_is_taken_where_no_flag_is_given() {
    let file = file(
        "# settings\nnode-name: from-file\ninterface: [eth0, 'en.*']\nhold-time: 90s\nflows: 4096\nclassless: no\n\
         run-dir: /run/x\nlisten: 0.0.0.0:1\nlog-format: json\n",
    );
    let settings = Settings::settle(flags(&[]), file).unwrap();
    assert_eq!(settings.node_name, "from-file");
    assert_eq!(names(&settings), ["eth0", "en.*"]);
    assert_eq!(settings.hold_time, Duration::from_secs(90));
    assert_eq!(settings.flows, 4096);
    assert_eq!(settings.classless, Classless::No);
    assert_eq!(settings.paths.run_dir, PathBuf::from("/run/x"));
    assert_eq!(settings.listen.port(), 1);
    assert_eq!(settings.log_format, LogFormat::Json);
}

#[test]
fn a_flag_goes_before_the_file() {
    let file = file("node-name: from-file\ninterface: eth9\nrun-dir: /run/x\nflows: 4096");
    let line =
        ["--node-name", "n1", "--interface", "eth0", "--interface", "eth1", "--run-dir", "/r", "--flows", "2048"];
    let settings = Settings::settle(flags(&line), file).unwrap();
    assert_eq!(settings.node_name, "n1");
    assert_eq!(names(&settings), ["eth0", "eth1"]);
    assert_eq!(settings.paths.run_dir, PathBuf::from("/r"));
    assert_eq!(settings.flows, 2048);
}

#[test]
fn a_missing_node_name_says_how_to_give_it() {
    let error = Settings::settle(flags(&[]), file("")).unwrap_err().to_string();
    assert!(error.contains("--node-name") && error.contains("NODE_NAME"), "{error}");
}

#[test]
fn a_kubeconfig_that_is_not_there_is_named() {
    let line = ["--node-name", "n1", "--kubeconfig", "/does/not/exist"];
    let error = Settings::settle(flags(&line), file("")).unwrap_err().to_string();
    assert!(error.contains("/does/not/exist"), "{error}");
}

#[rstest]
#[case::unknown_key("node-nam: n1", "node-nam", "line 1")]
#[case::bad_expression("flows: 2048\ninterface: 'eth['", "eth[", "line 2")]
#[case::bad_time("hold-time: soon", "10m", "line 1")]
#[case::time_too_short("hold-time: 1s", "2s", "line 1")]
#[case::bad_listen("listen: here", "127.0.0.1:9962", "line 1")]
#[case::bad_classless("classless: maybe", "maybe", "line 1")]
#[case::bad_flows("flows: 3", "1024", "line 1")]
#[case::bad_port("peer-port: 70000", "65535", "line 1")]
#[case::not_a_map("- a\n- b", "", "line 1")]
fn a_wrong_file_is_refused_with_line_and_remedy(#[case] text: &str, #[case] says: &str, #[case] place: &str) {
    let error = FileSettings::parse(text).unwrap_err();
    assert!(error.contains(says), "{error}");
    assert!(error.contains(place), "{error}");
}

#[rstest]
#[case::expression(&["--interface", "eth["], "regular expression")]
#[case::time(&["--hold-time=-5m"], "10m")]
#[case::namespace(&["--namespace", "Not_One"], "announcer-system")]
fn a_wrong_flag_is_refused_with_a_remedy(#[case] line: &[&str], #[case] says: &str) {
    let error = parse(line).unwrap_err().to_string();
    assert!(error.contains(says), "{error}");
}

#[test]
fn a_file_of_comments_only_is_empty() {
    assert_eq!(file("---\n# nothing yet\n\n"), FileSettings::default());
}

#[rstest]
#[case("node_name", "NODE_NAME")]
#[case("kubeconfig", "KUBECONFIG")]
#[case("namespace", "POD_NAMESPACE")]
#[case("bpffs", "ANNOUNCER_BPFFS")]
#[case("run_dir", "ANNOUNCER_RUN_DIR")]
fn the_environment_gives_settings_by_their_usual_names(#[case] flag: &str, #[case] variable: &str) {
    let command = Line::command();
    let arg = command.get_arguments().find(|arg| arg.get_id() == flag).unwrap();
    assert_eq!(arg.get_env(), Some(std::ffi::OsStr::new(variable)));
}
