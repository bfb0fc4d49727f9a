//! The program where `io_uring` is missing, forbidden, or refused when it has half begun.

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

use crate::world::{converse, file, port_in, program};

/// The system calls of `io_uring`, the same on all architectures.
const SETUP: i64 = 425;
const ENTER: i64 = 426;
const REGISTER: i64 = 427;

/// Operations of `io_uring_register`, its second argument: `IORING_REGISTER_PROBE`, and `IORING_REGISTER_PBUF_RING`,
/// which kernels before 5.19 do not know.
const PROBE: Option<u64> = Some(8);
const BUFFER_RING: Option<u64> = Some(22);

const EPERM: u32 = 1;
const ENOMEM: u32 = 12;
const EINVAL: u32 = 22;
const ENOSYS: u32 = 38;

/// Not a test: the process that [`start`] makes of this program, which forbids itself a system call and then becomes
/// the server.
#[test]
fn a_child_under_a_filter() {
    let Ok(forbidden) = env::var("MM_FORBIDDEN") else { return };
    let mut numbers = forbidden.split(' ').map(|number| number.parse::<u64>().unwrap());
    let (call, errno) = (numbers.next().unwrap(), numbers.next().unwrap());
    let rule = |operation| {
        let is = SeccompCondition::new(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, operation).unwrap();
        SeccompRule::new(vec![is]).unwrap()
    };
    let rules = BTreeMap::from([(call.try_into().unwrap(), numbers.map(rule).collect())]);
    let action = SeccompAction::Errno(errno.try_into().unwrap());
    let architecture = env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, action, architecture).unwrap();
    seccompiler::apply_filter(&BpfProgram::try_from(filter).unwrap()).unwrap();
    panic!("{}", program(&env::var("MM_LINE").unwrap()).env_remove("MM_FORBIDDEN").exec());
}

/// Starts a server that is refused a system call, or one operation of it, with an error; its lines until it listens,
/// and its port.
fn start((call, operation): (i64, Option<u64>), errno: u32, line: &str) -> (Child, Vec<String>, u16) {
    let operation = operation.map_or_else(String::new, |operation| format!(" {operation}"));
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "forbidden::a_child_under_a_filter", "--nocapture"]).stdin(Stdio::null());
    command.env("MM_FORBIDDEN", format!("{call} {errno}{operation}")).env("MM_LINE", line);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = Vec::new();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    for line in stderr.lines().map(Result::unwrap).filter(|line| line.starts_with("mmem: ")) {
        let is_last = line.contains("reachable from");
        lines.push(line);
        if is_last {
            break;
        }
    }
    let port = lines[0].split([':', ' ']).filter_map(|word| word.parse().ok()).next().unwrap();
    (child, lines, port)
}

#[test]
fn epoll_serves_instead_and_one_line_says_so() {
    for (call, errno, step) in [
        ((SETUP, None), EPERM, "io_uring_setup"),
        ((SETUP, None), ENOSYS, "io_uring_setup"),
        ((SETUP, None), ENOMEM, "io_uring_setup"),
        ((REGISTER, None), EPERM, "io_uring_register"),
        ((REGISTER, PROBE), EINVAL, "io_uring_register"),
        ((REGISTER, BUFFER_RING), EINVAL, "io_uring_register (ring of buffers)"),
        ((REGISTER, BUFFER_RING), ENOMEM, "io_uring_register (ring of buffers)"),
        ((ENTER, None), EPERM, "io_uring_enter"),
    ] {
        let (mut child, lines, port) = start(call, errno, "mmem -p -1 --driver uring");
        assert!(lines[0].contains("driver epoll"), "{lines:?}");
        let notices: Vec<_> = lines.iter().filter(|line| line.contains("io_uring")).collect();
        assert_eq!(notices.len(), 1, "{lines:?}");
        assert!(notices[0].contains(&format!("io_uring cannot be used here ({step}: ")), "{notices:?}");
        assert!(notices[0].ends_with("; using epoll instead"), "{notices:?}");
        converse(TcpStream::connect(("127.0.0.1", port)).unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn without_locked_memory_it_serves() {
    let ports = file("locked");
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -l 0 && exec \"$0\" -p -1 --driver uring", env!("CARGO_BIN_EXE_mmem")]);
    shell.env("MEMCACHED_PORT_FILENAME", &ports).stdin(Stdio::null()).stderr(Stdio::null());
    let mut child = shell.spawn().unwrap();
    converse(TcpStream::connect(("127.0.0.1", port_in(&ports))).unwrap());
    child.kill().unwrap();
    child.wait().unwrap();
}
