//! A TCP stream between two containers: every byte is numbered, checked and answered, and how long
//! the longest answer took is known.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::lab::{Kuryr, until};

const PORT: u16 = 7001;
/// How many numbers, of eight bytes, are sent and answered at once.
const NUMBERS: u64 = 512;
/// Between two of these.
const PAUSE: Duration = Duration::from_millis(10);
/// The stream has failed that has no answer after this.
const GIVEN_UP: Duration = Duration::from_secs(60);

pub(crate) struct Stream {
    watched: Arc<Watched>,
    /// Each ends with how many numbers it has sent, or had in their order.
    sender: JoinHandle<io::Result<u64>>,
    receiver: JoinHandle<io::Result<u64>>,
}

#[derive(Default)]
struct Watched {
    stop: AtomicBool,
    answers: AtomicU64,
    /// In milliseconds, since it was last asked for.
    longest: AtomicU64,
}

impl Stream {
    /// From a container of `here` to one of `there`, which has `address`.
    pub(crate) fn between(
        here: &Kuryr,
        from: &str,
        there: &Kuryr,
        to: &str,
        address: &str,
    ) -> Self {
        let (from, to) = (network_of(here, from), network_of(there, to));
        let at = SocketAddr::new(address.parse().unwrap(), PORT);
        let watched = Arc::new(Watched::default());
        let receiver = spawn(move || receive(&to, at).inspect_err(|e| eprintln!("receiver: {e}")));
        let in_sender = Arc::clone(&watched);
        let sender =
            spawn(move || send(&from, at, &in_sender).inspect_err(|e| eprintln!("sender: {e}")));
        Self {
            watched,
            sender,
            receiver,
        }
    }

    /// The longest time without an answer since this was last asked, one that still lasts included.
    pub(crate) fn longest_stall(&self) -> Duration {
        let answers = || self.watched.answers.load(Ordering::Relaxed);
        let before = answers();
        let alive = until(GIVEN_UP, || {
            answers() >= before + 2 || self.sender.is_finished() || self.receiver.is_finished()
        });
        assert!(
            alive && !self.sender.is_finished() && !self.receiver.is_finished(),
            "the stream ended after {} answers",
            answers()
        );
        Duration::from_millis(self.watched.longest.swap(0, Ordering::Relaxed))
    }

    /// Ends it; how many bytes went, all of which came.
    pub(crate) fn end(self) -> u64 {
        self.watched.stop.store(true, Ordering::Relaxed);
        let sent = self.sender.join().unwrap().expect("the sender");
        let came = self.receiver.join().unwrap().expect("the receiver");
        assert_eq!(sent, came, "numbers sent, and received in their order");
        sent * 8
    }
}

/// The network namespace of a container's processes.
fn network_of(kuryr: &Kuryr, container: &str) -> File {
    let inspect = format!("inspect -f '{{{{.State.Pid}}}}' {container}");
    let pid = kuryr.docker(&inspect).expect("docker inspect");
    File::open(format!("/proc/{pid}/ns/net")).unwrap()
}

/// For the rest of this thread's life.
fn enter(network: &File) -> io::Result<()> {
    Ok(move_into_link_name_space(
        network.as_fd(),
        Some(LinkNameSpaceType::Network),
    )?)
}

fn send(network: &File, to: SocketAddr, watched: &Watched) -> io::Result<u64> {
    enter(network)?;
    let mut stream = connect(to)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(GIVEN_UP))?;
    let mut next = 0;
    while !watched.stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let block: Vec<u8> = (next..next + NUMBERS).flat_map(u64::to_be_bytes).collect();
        stream.write_all(&block)?;
        next += NUMBERS;
        let mut answer = [0; 8];
        stream.read_exact(&mut answer)?;
        in_order(u64::from_be_bytes(answer), next)?;
        let took = u64::try_from(begun.elapsed().as_millis()).unwrap();
        watched.longest.fetch_max(took, Ordering::Relaxed);
        watched.answers.fetch_add(1, Ordering::Relaxed);
        sleep(PAUSE);
    }
    Ok(next)
}

/// The receiver may not listen yet.
fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let patience = Duration::from_secs(5);
    let mut connected = TcpStream::connect_timeout(&to, patience);
    until(patience, || {
        if connected.is_err() {
            connected = TcpStream::connect_timeout(&to, patience);
        }
        connected.is_ok()
    });
    connected
}

fn receive(network: &File, at: SocketAddr) -> io::Result<u64> {
    enter(network)?;
    let (mut stream, _) = TcpListener::bind(at)?.accept()?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(GIVEN_UP))?;
    let mut expected = 0;
    let mut block = vec![0; usize::try_from(NUMBERS * 8).unwrap()];
    loop {
        match stream.read_exact(&mut block[..8]) {
            Ok(()) => stream.read_exact(&mut block[8..])?,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(expected),
            Err(error) => return Err(error),
        }
        for number in block.chunks_exact(8) {
            in_order(u64::from_be_bytes(number.try_into().unwrap()), expected)?;
            expected += 1;
        }
        stream.write_all(&expected.to_be_bytes())?;
    }
}

fn in_order(number: u64, expected: u64) -> io::Result<()> {
    if number == expected {
        return Ok(());
    }
    let wrong = format!("{number} came in place of {expected}");
    Err(io::Error::new(io::ErrorKind::InvalidData, wrong))
}
