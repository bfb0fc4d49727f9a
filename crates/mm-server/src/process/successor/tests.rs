//! What one process gives to the next, without a process.

use super::*;

fn listening() -> Listener {
    Listener::bind(&ListenAddress::Ip("127.0.0.1:0".parse().unwrap()), 1).unwrap()
}

#[test]
fn a_package_arrives_as_it_was() {
    let (mut here, there) = UnixStream::pair().unwrap();
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
        let received = scope.spawn(|| receive(&there));
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
fn what_cannot_be_written_is_tried_once() {
    struct Full(usize);
    impl Write for &mut Full {
        fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
            self.0 += 1;
            Err(io::ErrorKind::WouldBlock.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    for len in [1, 1_000_000] {
        let mut full = Full(0);
        let package = Package { notes: vec![vec![0; len]], ..Package::default() };
        let error = write(&mut full, &package, [len, 0]).unwrap_err();
        assert_eq!((error.kind(), full.0), (io::ErrorKind::WouldBlock, 1));
    }
}

/// Why a process that runs this script could not be given a package.
fn refused(script: &str, package: &Package) -> String {
    let (channel, theirs) = UnixStream::pair().unwrap();
    let mut command = Command::new("sh");
    let child = command.args(["-c", script]).stdin(Stdio::from(OwnedFd::from(theirs))).spawn().unwrap();
    drop(command);
    Successor { child, channel }.give(package, Duration::from_secs(60)).unwrap_err().to_string()
}

#[test]
fn why_a_package_was_not_taken_is_told() {
    let small = Package::default();
    let too_large = Package { notes: vec![vec![0; PACKAGE_BYTES_MAX]], ..Package::default() };
    assert_eq!(refused("head -c 1 >/dev/null; exit 3", &small), "the new process has ended (exit status: 3)");
    let why = refused("read _", &too_large);
    assert!(why.ends_with("are more than can be handed over"), "{why}");
}

#[test]
fn signals_are_passed_on_as_long_as_both_live() {
    let (here, there) = UnixStream::pair().unwrap();
    let (told, heard) = std::sync::mpsc::channel();
    let predecessor = Predecessor { channel: Arc::new(there) };
    predecessor.listen(move |signal| told.send(signal).unwrap()).unwrap();
    drop(predecessor);
    let mut serving = Serving { channel: here };
    let signals = [Signal::Terminate, Signal::Interrupt, Signal::User1];
    signals.into_iter().for_each(|signal| serving.pass_on(signal).unwrap());
    drop(serving);
    assert_eq!(heard.iter().collect::<Vec<_>>(), signals);
}

#[test]
fn descriptors_that_do_not_come_are_not_waited_for() {
    let (here, there) = UnixStream::pair().unwrap();
    there.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let count = DESCRIPTORS_TAKEN_MAX + 8;
    let some = vec![here.as_fd(); count];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_TAKEN_MAX + 8))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&some)));
    // As many as the receiver's space does not hold: the kernel drops the rest, as where its table of files is full.
    rustix::net::sendmsg(&here, &[IoSlice::new(&[0])], &mut control, SendFlags::empty()).unwrap();
    let error = receive_descriptors(&there, count).unwrap_err();
    assert!(error.to_string().starts_with("not all open files have come"), "{error}");
}
