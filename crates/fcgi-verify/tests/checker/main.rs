//! The checker itself: green for a correct server, red for the right reason for each of many bugs.

mod command_line;
mod interrupted;
mod left_behind;
mod output;
mod program;
mod server;
mod spawned;
mod trouble;

use std::time::Duration;

use fcgi_verify::{Address, Case, Level, Options, Outcome, Target, cases, chapters, run_case};
use server::{Bug, Server};

/// Cases that the small server of these tests passes: what the specification requires, but for limits and sheer amounts.
fn fast_cases() -> impl Iterator<Item = &'static Case> {
    let left_out = [
        "an-abort-ends-a-long-answer",
        "an-abort-ends-a-stream-of-chunks",
        "the-workload-answers-a-truncated-pair-by-400",
        "the-workload-refuses-a-length-that-lies",
    ];
    let required = |case: &&Case| case.level == Level::Required;
    let of_time = |case: &&Case| !["limits", "slow", "many-connections"].contains(&case.chapter);
    cases().iter().filter(required).filter(of_time).filter(move |case| !left_out.contains(&case.name))
}

fn target(server: &Server, timeout: Duration) -> Target {
    let options = Options {
        timeout,
        workload: Some(true),
        multiplexing: Some(true),
        connections: Some(8),
        ..Options::default()
    };
    Target::probe(Address::Tcp(format!("127.0.0.1:{}", server.port)), options).unwrap()
}

fn case(name: &str) -> &'static Case {
    cases().iter().find(|case| case.name == name).unwrap_or_else(|| panic!("there is no case {name}"))
}

/// The case is green for the correct server, and red for the bug, with these words in its explanation.
#[track_caller]
fn catches(bug: Bug, name: &str, words: &str) {
    let case = case(name);
    let correct = Server::start(None);
    let report = run_case(&target(&correct, Duration::from_secs(10)), case);
    assert_eq!(report.outcome, Outcome::Passed, "{}", report.transcript);
    let wrong = Server::start(Some(bug));
    let report = run_case(&target(&wrong, Duration::from_secs(1)), case);
    let Outcome::Failed(why) = report.outcome else { panic!("{bug:?} was not found: {:?}", report.outcome) };
    assert!(why.contains(words), "{bug:?}: {why}\n{}", report.transcript);
}

#[test]
fn a_correct_server_is_green() {
    let server = Server::start(None);
    let target = target(&server, Duration::from_secs(10));
    let mut failures = Vec::new();
    for case in fast_cases() {
        let report = run_case(&target, case);
        if let Outcome::Failed(why) = report.outcome {
            failures.push(format!("{}: {why}\n{}", case.name, report.transcript));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn the_probe_finds_out_what_the_server_is() {
    let server = Server::start(None);
    let address = Address::Tcp(format!("127.0.0.1:{}", server.port));
    let target = Target::probe(address, Options::default()).unwrap();
    assert!(target.workload && target.multiplexing && target.abort_while_waiting);
    assert_eq!((target.capacity.max_conns, target.connections), (Some(50), 64));
}

#[test]
fn names_are_unique_slugs_and_every_case_says_what_is_asked() {
    let mut names: Vec<_> = cases().iter().map(|case| case.name).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert!(names.len() == count && count >= 100, "{count} cases");
    for case in cases() {
        let slug = |byte: u8| {
            byte.is_ascii_lowercase()
                || byte.is_ascii_digit()
                || byte == b'-'
                || byte == b'G'
                || byte == b'B'
                || byte == b'i'
        };
        assert!(case.name.bytes().all(slug), "{}", case.name);
        assert!(
            !case.asks.is_empty() && !case.asks.contains('\n') && !case.section.is_empty(),
            "{}",
            case.name
        );
        assert!(chapters().any(|chapter| chapter == case.chapter), "{}", case.name);
        // What is our contract and not the specification's is asked of our workload only.
        assert!(case.section != "workload" || case.needs.workload, "{}", case.name);
    }
    let quick = cases().iter().filter(|case| case.quick).count();
    assert!((15..=30).contains(&quick), "{quick} quick cases");
}

#[test]
fn a_need_that_is_not_met_is_said() {
    let server = Server::start(None);
    let mut target = target(&server, Duration::from_secs(1));
    target.multiplexing = false;
    let report = run_case(&target, case("two-requests-interleave-in-every-order"));
    let Outcome::NotApplicable(why) = report.outcome else { panic!("{:?}", report.outcome) };
    assert!(why.contains("does not multiplex"), "{why}");
}

#[test]
fn what_the_specification_leaves_open_is_never_failed() {
    // This server never closes, and ends itself at the first wrong version.
    let server = Server::start(Some(Bug::DiesOfGarbage));
    let target = target(&server, Duration::from_millis(300));
    for case in cases().iter().filter(|case| case.level == Level::ImplementationDefined).take(6) {
        let report = run_case(&target, case);
        assert!(!matches!(report.outcome, Outcome::Failed(_)), "{}", case.name);
    }
}

#[test]
fn a_failure_comes_with_what_was_sent_and_what_came_back() {
    let server = Server::start(Some(Bug::StdoutNotEnded));
    let report = run_case(&target(&server, Duration::from_secs(1)), case("stdout-ends-with-an-empty-record"));
    for part in [
        "-> BEGIN_REQUEST id 1 length 8: role 1, flags 0",
        "<- END_REQUEST id 1 length 8: appStatus 0",
        "0000  01 01 00 01",
    ] {
        assert!(report.transcript.contains(part), "{part}\n{}", report.transcript);
    }
}

#[test]
fn a_report_says_whether_the_server_was_heard() {
    let case = case("a-plain-request-is-answered");
    let correct = Server::start(None);
    let correct = target(&correct, Duration::from_secs(10));
    assert!(run_case(&correct, case).heard && correct.answers());
    // The backlog takes the connections, and nobody accepts them.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::Tcp(listener.local_addr().unwrap().to_string());
    let silent = Target { address, timeout: Duration::from_millis(100), ..correct };
    assert!(!run_case(&silent, case).heard && !silent.answers());
}

/// One test for each bug: its name, the case that finds it, and words of the explanation.
macro_rules! bugs {
    ($($test:ident: $bug:ident, $case:literal, $words:literal;)*) => {
        $(#[test]
        fn $test() {
            catches(Bug::$bug, $case, $words);
        })*
    };
}

bugs! {
    padding_taken_for_content: PaddingIsContent, "padding-is-no-part-of-the-body", "no FCGI_END_REQUEST of request 1";
    padding_taken_for_params: PaddingIsContent, "padding-is-no-part-of-params", "";
    pairs_read_by_record: PairsPerRecord, "a-pair-may-straddle-params-records", "PARAMS cut after 1 bytes";
    pairs_read_by_record_by_any_responder: PairsPerRecord, "a-straddling-pair-changes-nothing-for-any-responder", "status is 404";
    lengths_of_one_byte: LengthsOfOneByte, "all-four-forms-of-lengths-are-read", "";
    end_request_sent_twice: EndTwice, "a-request-ends-exactly-once", "request 1 is not active";
    stdout_without_its_end: StdoutNotEnded, "stdout-ends-with-an-empty-record", "without an empty STDOUT record";
    stdout_after_its_end: StdoutAfterItsEnd, "a-plain-request-is-answered", "after the stream's empty record";
    end_request_too_short: ShortEnd, "a-plain-request-is-answered", "its body has 8 bytes (5.5)";
    app_status_lost: AppStatusLost, "the-app-status-is-what-the-application-returned", "appStatus is 0, expected 1";
    abort_ignored_while_waiting: AbortIgnored, "an-abort-while-the-request-waits-ends-it", "no FCGI_END_REQUEST of request 1";
    abort_ignored_within_stdin: AbortIgnored, "an-abort-within-stdin-ends-the-request", "no FCGI_END_REQUEST of request 1";
    abort_answered_and_ended: AbortAnswered, "an-abort-while-the-request-waits-ends-it", "request 1 is not active";
    kept_connection_closed: AlwaysCloses, "with-keep-conn-the-connection-stays-open", "where it should stay open";
    connection_never_closed: NeverCloses, "without-keep-conn-the-connection-is-closed-after-the-answer", "has not closed";
    id_of_one_byte: IdOfOneByte, "every-id-is-served", "for id 0";
    unknown_type_dropped: UnknownTypeDropped, "unknown-management-types-are-answered-by-unknown-type", "no FCGI_UNKNOWN_TYPE for type 12";
    unknown_type_wrong: UnknownTypeWrong, "unknown-management-types-are-answered-by-unknown-type", "expected 12";
    unknown_names_answered: UnknownNamesAnswered, "unknown-names-are-left-out", "FCGI_UNHEARD_OF";
    get_values_closes: GetValuesCloses, "get-values-leaves-the-connection-open", "where it should stay open";
    get_values_dropped_within_requests: GetValuesDroppedWithinRequests, "get-values-is-answered-within-params", "no GET_VALUES_RESULT";
    every_role_played: EveryRole, "an-unknown-role-is-refused", "expected UNKNOWN_ROLE";
    inactive_id_closes: InactiveCloses, "stdin-after-the-end-is-ignored", "";
    inactive_id_kept: InactiveKept, "records-before-begin-request-are-no-part-of-the-request", "";
    content_length_ignored: ContentLengthIgnored, "no-more-than-content-length-is-the-body", "the body has 10 bytes, expected 4";
    version_zero: VersionZero, "a-plain-request-is-answered", "a record of version 0 came";
    one_body_for_all: OneBody, "interleaved-requests-get-their-own-answers", "the body";
    reads_taken_for_records: ReadsAreRecords, "a-request-sent-byte-by-byte-is-read", "FCGI_END_REQUEST of request 1";
    answer_within_params: AnswersWithinParams, "output-waits-for-the-end-of-params", "where nothing is owed";
    garbage_ends_the_server: DiesOfGarbage, "random-bytes-are-survived", "";
    head_answered_with_a_body: HeadHasBody, "head-is-answered-without-a-body", "/hello: a body of 13 bytes came";
    end_of_input_taken_for_an_abort: EndOfInputAborts, "half-closed-before-a-large-answer-is-sent", "";
    busy_peer_served_alone: BusyStarvesOthers, "a-peer-that-pipelines-does-not-hold-up-others", "no FCGI_END_REQUEST of request 1";
    unread_answers_take_all_threads: FewThreads, "many-answers-that-are-not-read-do-not-hold-up-others", "no FCGI_END_REQUEST of request 1";
    unread_answer_to_a_query_holds_all: OneLockForAll, "unread-answers-to-queries-do-not-hold-up-others", "no FCGI_END_REQUEST of request 1";
    unread_unknown_type_holds_all: OneLockForAll, "unread-answers-to-unknown-types-do-not-hold-up-others", "no FCGI_END_REQUEST of request 1";
    unread_refusal_holds_all: OneLockForAll, "unread-refusals-do-not-hold-up-others", "no FCGI_END_REQUEST of request 1";
    requests_outlive_their_peers: FewThreadsForTheGone, "requests-of-peers-that-have-left-do-not-hold-up-others", "no FCGI_END_REQUEST of request 1";
    slow_holds_up_fast: OneAfterTheOther, "a-slow-request-does-not-hold-up-a-fast-one", "no FCGI_END_REQUEST of request 2";
}
