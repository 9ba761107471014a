use std::future::pending;
use std::io;
use std::num::NonZero;
use std::path::PathBuf;

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
    Debts::new(
        Neutron::new(service_fn(|_| pending::<Result<_, Failure>>())),
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

/// Hundreds of containers may have just started: what is owed for each takes little memory while it waits.
#[tokio::test]
async fn a_debt_that_waits_takes_little_memory() {
    let debts = debts(Journal::of(Slow::default()));
    let waiting = size_of_val(&debts.pay_off(String::new()));
    assert!(waiting < 2048, "{waiting} bytes");
}
