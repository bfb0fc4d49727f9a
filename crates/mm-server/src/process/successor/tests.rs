//! What one process gives to the next, without a process.

use super::*;

fn listening() -> Listener {
    Listener::bind(&ListenAddress::Ip("127.0.0.1:0".parse().unwrap()), 1).unwrap()
}

#[test]
fn a_package_arrives_as_it_was() {
    let (mut here, mut there) = UnixStream::pair().unwrap();
    let listener = listening();
    let address = listener.address().clone();
    let output = (0..1_000_000_u32).flat_map(u32::to_ne_bytes).collect();
    let packed = Packed { state: b"state".to_vec(), input: b"input".to_vec(), output };
    let socket = || OwnedFd::from(UnixStream::pair().unwrap().0);
    let carried = |packed| Carried { socket: socket(), listener: 7, packed };
    let connections = vec![carried(Some(packed.clone())), carried(None), carried(Some(Packed::default()))];
    let handed = Handed { listeners: vec![listener], connections, ..Handed::default() };
    let notes = vec![b"a note".to_vec(), Vec::new()];
    let package = Package { handed, files: vec![socket()], notes: notes.clone() };
    let received = std::thread::scope(|scope| {
        let received = scope.spawn(|| receive(&mut there));
        send(&mut here, &package).unwrap();
        received.join().unwrap().unwrap()
    });
    let Package { handed, files, notes: noted } = received;
    assert_eq!(handed.listeners.iter().map(Listener::address).collect::<Vec<_>>(), [&address]);
    let then: Vec<_> = handed.connections.iter().map(|carried| (carried.listener, &carried.packed)).collect();
    assert_eq!(then, [(7, &Some(packed)), (7, &None), (7, &Some(Packed::default()))]);
    assert_eq!((files.len(), noted), (1, notes));
}

#[test]
fn what_is_too_much_is_not_begun_to_be_sent() {
    let (mut here, mut there) = UnixStream::pair().unwrap();
    here.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    there.set_nonblocking(true).unwrap();
    // Of memory that nobody looks at there is none.
    let package = Package { notes: vec![vec![0; PACKAGE_BYTES_MAX]], ..Package::default() };
    let error = send(&mut here, &package).unwrap_err();
    assert!(error.to_string().ends_with("are more than can be handed over"), "{error}");
    assert_eq!(there.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn descriptors_that_do_not_come_are_not_waited_for() {
    let (here, there) = UnixStream::pair().unwrap();
    there.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let count = DESCRIPTORS_PER_MESSAGE_MAX + 8;
    let some = vec![here.as_fd(); count];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_PER_MESSAGE_MAX + 8))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&some)));
    // As many as the receiver's space does not hold: the kernel drops the rest, as where its table of files is full.
    rustix::net::sendmsg(&here, &[IoSlice::new(&[0])], &mut control, SendFlags::empty()).unwrap();
    let error = receive_descriptors(&there, count).unwrap_err();
    assert!(error.to_string().starts_with("not all open files have come"), "{error}");
}
