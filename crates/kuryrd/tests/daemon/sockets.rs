//! Whose a socket is.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;

use crate::subject::{Place, ask, assert_activated, run};

#[test]
fn no_one_else_may_open_its_sockets() {
    let place = Place::new();
    let daemon = place.start("kuryr", "");
    for path in [&daemon.socket, &daemon.admin] {
        let mode = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn the_folders_of_a_socket_are_made() {
    let place = Place::new();
    let path = place.path("run/docker/plugins/x.sock");
    let lines = format!("kuryr_uri = unix://{}\n", path.display());
    let _daemon = place.start("kuryr", &lines);
    assert_activated(&ask(
        UnixStream::connect(path).unwrap(),
        "POST",
        "/Plugin.Activate",
    ));
}

#[test]
fn a_stale_socket_is_replaced() {
    let place = Place::new();
    drop(UnixListener::bind(place.path("kuryr.sock")).unwrap());
    assert_activated(&place.start("kuryr", "").activate());
}

#[test]
fn a_socket_that_is_served_is_left_alone() {
    let place = Place::new();
    let daemon = place.start("kuryr", "");
    let lines = format!("kuryr_uri = unix://{}\n", daemon.socket.display());
    let mut second = place.command("second", &lines);
    second.env("OS_DEFAULT__USE_STDERR", "yes");
    let (code, said) = run(second);
    assert_eq!(code, Some(1));
    let expected = format!("{}: another program is serving it", daemon.socket.display());
    assert!(said.contains(&expected), "{said}");
    assert_activated(&daemon.activate());
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let place = Place::new();
    fs::write(place.path("kuryr.sock"), "precious").unwrap();
    let mut command = place.command("kuryr", "use_stderr = yes\n");
    command.env("NOTIFY_SOCKET", "");
    let (code, said) = run(command);
    assert_eq!(code, Some(1));
    assert!(said.contains("it is no socket"), "{said}");
    let kept = fs::read_to_string(place.path("kuryr.sock")).unwrap();
    assert_eq!(kept, "precious");
}

#[test]
fn the_socket_of_a_successor_outlives_it() {
    let place = Place::new();
    let mut daemon = place.start("kuryr", "");
    fs::remove_file(&daemon.socket).unwrap();
    let _successor = UnixListener::bind(&daemon.socket).unwrap();
    assert_eq!(daemon.terminate().code(), Some(0));
    assert!(daemon.socket.exists());
}

#[test]
fn http_is_served_where_configured() {
    let place = Place::new();
    for host in ["127.0.0.1", "[::1]"] {
        let daemon = place.start("kuryr", &format!("kuryr_uri = http://{host}:0\n"));
        let address = place_in(&daemon.log(), "http://");
        let Ok(stream) = TcpStream::connect(&address) else {
            panic!("{address}")
        };
        assert_activated(&ask(stream, "POST", "/Plugin.Activate"));
    }
}

/// The address in the line that tells where Docker is answered.
pub(crate) fn place_in(log: &str, scheme: &str) -> String {
    let after = log.split_once(&format!("Docker at {scheme}")).unwrap().1;
    after.split_whitespace().next().unwrap().to_owned()
}

/// The shell stands in for systemd: it passes a socket on as file descriptor 3.
#[test]
fn a_socket_that_systemd_opened_is_taken_over() {
    let place = Place::new();
    let path = place.path("activated.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let conf = place.configure("kuryr", "kuryr_uri = unix:///nonexistent/never\n");
    let mut shell = Command::new("/bin/sh");
    shell
        .env_clear()
        .env("LISTEN_FDS", "1")
        .args([
            "-c",
            "LISTEN_PID=$$ exec \"$0\" serve --config-file \"$1\" 3<&0 0</dev/null",
        ])
        .arg(env!("CARGO_BIN_EXE_kuryr"))
        .arg(conf)
        .stdin(std::os::fd::OwnedFd::from(listener));
    let mut daemon = place.start_command("kuryr", shell);
    daemon.socket = path;
    assert_activated(&daemon.activate());
    assert_eq!(daemon.terminate().code(), Some(0));
    assert!(daemon.socket.exists(), "it belongs to systemd");
}
