//! Things that happen, for programs to see.

use std::{
    env, fs,
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

/// A program is executed.
pub fn exec() {
    assert!(Command::new("true").status().unwrap().success());
}

/// A processor works for a while.
pub fn work() {
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(20) {
        std::hint::black_box(start);
    }
}

/// The C library of this process, by path.
pub fn libc() -> String {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let mut paths = maps
        .lines()
        .filter_map(|line| line.split_ascii_whitespace().nth(5));
    paths
        .find(|path| path.contains("/libc"))
        .expect("this process uses libc.so")
        .to_owned()
}

/// A packet goes through the loopback interface.
pub fn loopback_packet() {
    udp("127.0.0.1:0").unwrap();
}

/// A packet leaves interface `left`, and `right` receives it.
pub fn cable_packet() {
    let socket = UdpSocket::bind((Ipv4Addr::new(10, 9, 8, 1), 0)).unwrap();
    socket.set_broadcast(true).unwrap();
    socket.send_to(b"packet", "10.9.8.255:9").unwrap();
}

/// A connection over loopback, both ends.
pub fn connection(address: &str) -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind(address)?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    for end in [&client, &server] {
        end.set_read_timeout(Some(Duration::from_secs(10)))?;
    }
    Ok((client, server))
}

/// Some bytes go from one end to the other.
pub fn talk(from: &mut TcpStream, to: &mut TcpStream) {
    from.write_all(b"hello").unwrap();
    let mut heard = [0; 5];
    to.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"hello");
}

/// Sends a datagram to itself: bind, sendmsg, recvmsg, getsockname; then connect and getpeername.
fn udp(address: &str) -> io::Result<()> {
    let socket = UdpSocket::bind(address)?;
    let own: SocketAddr = socket.local_addr()?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    socket.send_to(b"hello", own)?;
    let mut heard = [0; 5];
    socket.recv_from(&mut heard)?;
    socket.connect(own)?;
    socket.peer_addr()?;
    Ok(())
}

const CGROUP: &str = "BPFLEET_TEST_CGROUP";

/// Everything that a cgroup program can see happens in a cgroup: another process enters it and does it.
pub fn in_cgroup(cgroup: &Path) {
    let child = Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "support::events::the_process_in_a_cgroup",
            "--ignored",
            "--nocapture",
        ])
        .env(CGROUP, cgroup)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&child.stdout) + String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "run by other tests as a process of its own"]
fn the_process_in_a_cgroup() {
    let Some(cgroup) = env::var_os(CGROUP) else { return };
    fs::write(Path::new(&cgroup).join("cgroup.procs"), "0").unwrap();
    for address in ["127.0.0.1:0", "[::1]:0"] {
        udp(address).unwrap_or_else(|error| panic!("UDP at {address}: {error}"));
        let (mut client, mut server) = connection(address).unwrap();
        // A socket option, set and read.
        client.set_ttl(64).or_else(|_| client.set_nodelay(true)).unwrap();
        client.ttl().or_else(|_| client.nodelay().map(u32::from)).unwrap();
        talk(&mut client, &mut server);
    }
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    UnixStream::connect(&socket).unwrap();
    fs::read_to_string("/proc/sys/kernel/ostype").unwrap();
    fs::File::open("/dev/null").unwrap();
}
