use std::future::pending;
use std::io;
use std::num::NonZero;
use std::path::PathBuf;

use bytes::Bytes;
use http::{Request, Response};
use neutron_client::Failure;
use tokio::time::sleep;
use tower::service_fn;

use super::*;
use crate::driver::Drivers;
use crate::journal::{Notes, Written};
use crate::port_pool::PortPoolSettings;

/// A journal that takes the longer over a note the earlier it is told of it.
#[derive(Debug, Default)]
struct Slow {
    count: AtomicU64,
    last: Mutex<Vec<u8>>,
}

impl Notes for Slow {
    fn write(&self, _: &str, note: &[u8]) -> io::Result<()> {
        *self.last.lock().unwrap() = note.to_vec();
        Ok(())
    }

    fn write_aside(self: Arc<Self>, key: String, note: Vec<u8>) -> Written {
        let pause = 3_u64.saturating_sub(self.count.fetch_add(1, Relaxed));
        Box::pin(async move {
            sleep(Duration::from_secs(pause)).await;
            self.write(&key, &note)
        })
    }

    fn erase(&self, _: &str, _: bool) -> io::Result<()> {
        Ok(())
    }

    fn read(&self, prefix: &str) -> Vec<(String, io::Result<Vec<u8>>)> {
        vec![(prefix.to_owned(), Ok(self.last.lock().unwrap().clone()))]
    }

    fn path(&self, key: &str) -> PathBuf {
        key.into()
    }
}

/// Owed to a Neutron that does not answer.
fn debts(journal: Journal) -> Debts {
    let silent = Neutron::new(service_fn(|_| pending::<Result<_, Failure>>()));
    debts_to(silent, journal)
}

fn debts_to(neutron: Neutron, journal: Journal) -> Debts {
    Debts::new(
        neutron,
        journal,
        Arc::new(Guest::new(&Drivers::default())),
        Arc::new(PortPools::new(PortPoolSettings::default())),
        Arc::new(Lull::on(NonZero::<usize>::MIN)),
    )
}

#[tokio::test(start_paused = true)]
async fn of_two_debts_at_once_that_is_noted_which_holds() {
    let journal = Journal::of(Slow::default());
    let debts = debts(journal.clone());
    let (port, network) = (
        uuid::Uuid::from_u128(1).into(),
        uuid::Uuid::from_u128(2).into(),
    );
    let removal = Debt::DeletePort {
        port,
        network,
        addresses: Vec::new(),
        has_group: false,
    };
    let label = Debt::Label {
        port,
        network,
        addresses: Vec::new(),
        endpoint: "e1".parse().unwrap(),
        name: None,
    };
    tokio::join!(debts.owe(removal.clone()), debts.owe(label));
    assert_eq!(journal.read::<Debt>("debt-"), [(String::new(), removal)]);
}

/// A Neutron that is slow gets slower still by requests that are given up and made again.
#[tokio::test(start_paused = true)]
async fn what_is_owed_by_hundreds_is_asked_of_a_slow_neutron_once() {
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    let slow = Neutron::new(service_fn(move |_: Request<Bytes>| {
        count.fetch_add(1, Relaxed);
        async {
            sleep(Duration::from_secs(20)).await;
            let mut gone = Response::new(Bytes::new());
            *gone.status_mut() = StatusCode::NO_CONTENT;
            Ok::<_, Failure>(gone)
        }
    }));
    let debts = debts_to(slow, Journal::of(Slow::default()));
    for number in 0..100 {
        let removal = Debt::DeletePort {
            port: uuid::Uuid::from_u128(number).into(),
            network: uuid::Uuid::from_u128(0).into(),
            addresses: Vec::new(),
            has_group: false,
        };
        debts.owe(removal).await;
    }
    let by = Instant::now() + Duration::from_secs(1000);
    assert!(debts.settled(by, |_| true).await, "all is paid");
    assert_eq!(asked.load(Relaxed), 100);
}

/// Hundreds of containers may have just started: what is owed for each takes little memory while it waits.
#[tokio::test]
async fn a_debt_that_waits_takes_little_memory() {
    let debts = debts(Journal::of(Slow::default()));
    let waiting = size_of_val(&debts.pay_off(String::new()));
    assert!(waiting < 2048, "{waiting} bytes");
}
