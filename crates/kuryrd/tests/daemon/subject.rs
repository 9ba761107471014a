//! A `kuryr` in a folder of its own, and the little HTTP that it takes to talk to it.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Nothing here takes this long unless it has failed.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// A folder for one daemon or several, with its configuration.
pub(crate) struct Place {
    pub(crate) dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a configuration of that name: these lines, and sockets in this folder.
    pub(crate) fn configure(&self, name: &str, lines: &str) -> PathBuf {
        let dir = self.dir.path().display();
        let conf = self.path(&format!("{name}.conf"));
        let text = format!(
            "[DEFAULT]\nkuryr_uri = unix://{dir}/{name}.sock\nadmin_uri = unix://{dir}/{name}.admin\n\
             state_path = {dir}/{name}.state\n{lines}\n"
        );
        fs::write(&conf, text).unwrap();
        conf
    }

    /// The program with that configuration, not started yet, in an empty environment.
    pub(crate) fn command(&self, name: &str, lines: &str) -> Command {
        let conf = self.configure(name, lines);
        let mut command = program();
        command.arg("serve").arg("--config-file").arg(conf);
        command.env("HOME", self.dir.path());
        command
    }

    /// Starts it and waits until it is ready.
    pub(crate) fn start(&self, name: &str, lines: &str) -> Daemon {
        let command = self.command(name, lines);
        self.start_command(name, command)
    }

    pub(crate) fn start_command(&self, name: &str, mut command: Command) -> Daemon {
        let notifications = self.path(&format!("{name}.notify"));
        let _ = fs::remove_file(&notifications);
        let notified = UnixDatagram::bind(&notifications).unwrap();
        notified.set_read_timeout(Some(LIMIT)).unwrap();
        command.env("NOTIFY_SOCKET", &notifications);
        let log = fs::File::create(self.path(&format!("{name}.out"))).unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let mut daemon = Daemon {
            child: command.spawn().unwrap(),
            notified,
            socket: self.path(&format!("{name}.sock")),
            admin: self.path(&format!("{name}.admin")),
            out: self.path(&format!("{name}.out")),
        };
        let notification = daemon.notification();
        assert_eq!(notification, "READY=1", "{}", daemon.log());
        daemon
    }
}

/// The program itself.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kuryr"));
    command.env_clear();
    command
}

/// Runs to its end what is expected to end by itself.
pub(crate) fn run(mut command: Command) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = command.stdout(Stdio::null()).output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

/// A program that has said it is ready. It is killed when dropped.
pub(crate) struct Daemon {
    pub(crate) child: Child,
    notified: UnixDatagram,
    pub(crate) socket: PathBuf,
    pub(crate) admin: PathBuf,
    out: PathBuf,
}

impl Daemon {
    /// What it tells the service manager next; nothing if it ends instead.
    pub(crate) fn notification(&mut self) -> String {
        let mut buffer = [0; 256];
        let length = self.notified.recv(&mut buffer).unwrap_or(0);
        String::from_utf8_lossy(&buffer[..length]).trim().to_owned()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.out).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = Pid::from_child(&self.child);
        kill_process(id, signal).unwrap();
    }

    pub(crate) fn exit(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < LIMIT, "it does not end: {}", self.log());
            sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.exit()
    }

    /// As a machine that loses power would.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        assert_eq!(self.exit().signal(), Some(9));
    }

    pub(crate) fn activate(&self) -> Reply {
        let stream = UnixStream::connect(&self.socket).unwrap();
        ask(stream, "POST", "/Plugin.Activate")
    }

    /// Asks for what takes a Neutron, and does not wait for the answer.
    pub(crate) fn request_pool(&self) -> UnixStream {
        const POOL: &str = r#"{"AddressSpace":"no_address_space","Pool":"10.1.0.0/24","SubPool":"","Options":{},"V6":false}"#;
        let length = POOL.len();
        let head = format!(
            "POST /IpamDriver.RequestPool HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
        );
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        stream
            .write_all(format!("{head}{POOL}").as_bytes())
            .unwrap();
        stream
    }

    pub(crate) fn operator_asks(&self, path: &str) -> Reply {
        ask(UnixStream::connect(&self.admin).unwrap(), "GET", path)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An HTTP response.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// One exchange on a connection that is closed afterwards.
pub(crate) fn ask(mut stream: impl Read + Write, method: &str, path: &str) -> Reply {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Reply {
        status,
        body: body.to_owned(),
    }
}

/// Docker's first question was answered.
#[track_caller]
pub(crate) fn assert_activated(reply: &Reply) {
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(reply.body.contains("NetworkDriver"), "{reply:?}");
    assert!(reply.body.contains("IpamDriver"), "{reply:?}");
}
