use std::collections::HashSet;
use std::io::Read;

use socket2::{Domain, Socket, Type};

use super::*;
use crate::buffers::{self, Buffers};

/// A ring of a few submissions and completions; `None` where this machine has no io_uring.
fn ring(submissions: u32, completions: u32) -> Option<Ring> {
    match Ring::new(submissions, completions) {
        Err(error)
            if error.kind() == ErrorKind::Unsupported && Ring::new(SUBMISSIONS, COMPLETIONS).is_err() =>
        {
            eprintln!("skipped: {error}");
            None
        }
        ring => Some(ring.unwrap()),
    }
}

#[test]
fn every_operation_is_told_by_its_number() {
    use Operation::{Accept, Drain, Receive, Send, Unobserved};

    let mut numbers = HashSet::new();
    for operation in [Drain, Accept, Unobserved, Receive, Send] {
        for key in [0, 1, 7, 8, usize::MAX >> 3] {
            let number = operation.number(key);
            assert_eq!(Operation::of(number), (operation, key));
            assert!(numbers.insert(number), "{operation:?} {key}");
        }
    }
}

#[test]
fn a_full_queue_is_submitted_and_its_completions_are_kept() {
    let Some(mut ring) = ring(4, 4) else { return };
    for key in 0..100 {
        ring.push(opcode::Nop::new().build(), Operation::Receive, key).unwrap();
    }
    assert!(!ring.completions.is_empty());
    ring.enter(1, None).unwrap();
    let operations: Vec<_> = ring.completions.iter().map(|entry| Operation::of(entry.user_data())).collect();
    assert_eq!(operations, (0..100).map(|key| (Operation::Receive, key)).collect::<Vec<_>>());
}

#[test]
fn a_silent_send_that_fails_is_known_of_when_it_is_submitted_though_completions_overflow() {
    let Some(mut ring) = ring(4, 4) else { return };
    let _buffers = Buffers::register(&ring.io_uring.submitter()).unwrap();
    // One receive completes for each datagram, which is more often than the queue has room for.
    let (input, datagrams) = Socket::pair(Domain::UNIX, Type::DGRAM, None).unwrap();
    for _ in 0..8 {
        datagrams.send(b"datagram").unwrap();
    }
    let receive = opcode::RecvMulti::new(Fd(input.as_raw_fd()), buffers::GROUP).build();
    ring.push(receive, Operation::Receive, 0).unwrap();
    // Larger than what a socket takes at once. Both have completed by the end of this test, where `bytes` end.
    let bytes = vec![7_u8; 8 << 20];
    let (socket, mut peer) = Socket::pair(Domain::UNIX, Type::STREAM, None).unwrap();
    for (key, length) in [(1, 100), (2, bytes.len() as u32)] {
        let send = opcode::Send::new(Fd(socket.as_raw_fd()), bytes.as_ptr(), length)
            .flags(libc::MSG_DONTWAIT | libc::MSG_WAITALL)
            .build();
        ring.push(send.flags(Flags::SKIP_SUCCESS), Operation::Send, key).unwrap();
    }
    ring.enter(1, None).unwrap();

    let of = |operation| {
        let completions = ring.completions.iter();
        completions
            .map(|entry| (Operation::of(entry.user_data()), entry.result()))
            .filter(move |((other, _), _)| *other == operation)
            .collect::<Vec<_>>()
    };
    assert!(of(Operation::Receive).len() > 4, "{:?} do not overflow", of(Operation::Receive));
    let [((_, 2), sent)] = of(Operation::Send)[..] else { panic!("{:?}", of(Operation::Send)) };
    assert!((1..8 << 20).contains(&sent), "{sent} bytes were sent");
    let mut first = [0; 100];
    peer.read_exact(&mut first).unwrap();
    assert_eq!(first, [7; 100]);
}
