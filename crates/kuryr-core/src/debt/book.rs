//! The book of debts: what is open, what was noted, when it is tried again.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use neutron_api::{NetworkId as NeutronNetworkId, Port, PortId};
use neutron_client::Neutron;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;

use super::pauses::{Next, Pauses};
use super::pay::{Paid, pay};
use super::{Debt, of_group};
use crate::adopt::port::PortAdoption;
use crate::error::Error;
use crate::journal::{Journal, JournalError};
use crate::keyed::Keyed;
use crate::lull::Lull;
use crate::nested::Guest;
use crate::port_pool::PortPools;

/// All that is owed; clones share it.
#[derive(Clone)]
pub(crate) struct Debts {
    shared: Arc<Shared>,
}

struct Shared {
    open: Mutex<HashMap<String, Entry>>,
    /// How many debts were taken on.
    count: AtomicU64,
    /// Debts about one object are noted one after the other: what is noted last is what was said last.
    notes: Keyed<String>,
    /// An attempt has ended: for those who wait until nothing of a kind is owed.
    changed: Notify,
    journal: Journal,
    neutron: Neutron,
    guest: Arc<Guest>,
    /// Where cleaned ports go.
    pools: Arc<PortPools>,
    lull: Arc<Lull>,
    /// A host never floods Neutron, however much it owes.
    at_once: Semaphore,
    /// Nor however much is to be let in, for which nothing else waits, and which waits for nothing else.
    openings: Semaphore,
    payers: TaskTracker,
    /// What the last container exposed was let in, as far as is known.
    lets_in: AtomicBool,
}

struct Entry {
    debt: Debt,
    /// Tells whether the debt was replaced while it was being paid: no two debts have the same.
    turn: u64,
    /// An attempt is under way.
    busy: bool,
    /// Somebody waits for it.
    urgent: bool,
    /// Of a label that was never begun to be written: its port is in Neutron as it was before.
    unwritten: bool,
    /// Paid as far as can be seen; what may still appear is looked for a few times more.
    seen_to: bool,
    /// What has come of the last attempt, if it was not paid.
    failed: Option<Box<neutron_client::Error>>,
    /// It was replaced, struck out or became urgent: wakes its payer, and no other of hundreds.
    changed: Arc<Notify>,
}

const AT_ONCE: usize = 4;
const ONE_ATTEMPT: Duration = Duration::from_secs(30);

impl Debts {
    pub(crate) fn new(
        neutron: Neutron,
        journal: Journal,
        guest: Arc<Guest>,
        pools: Arc<PortPools>,
        lull: Arc<Lull>,
    ) -> Self {
        let shared = Shared {
            open: Mutex::default(),
            count: AtomicU64::default(),
            notes: Keyed::default(),
            changed: Notify::new(),
            journal,
            neutron,
            guest,
            pools,
            lull,
            at_once: Semaphore::new(AT_ONCE),
            openings: Semaphore::new(AT_ONCE),
            payers: TaskTracker::new(),
            lets_in: AtomicBool::new(false),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Takes up what an earlier run of this program has left, and returns the ports whose interfaces
    /// it has kept for their next owners.
    ///
    /// Where nothing is let in any more, what it still had to let in is closed.
    pub(crate) fn resume(&self, opens_exposed_ports: bool) -> Vec<PortId> {
        let mut kept = Vec::new();
        for (_, debt) in self.shared.journal.read::<Debt>("debt-") {
            tracing::info!(?debt, "taking up what an earlier run left to do");
            if let Debt::Recycle { port, .. } = &debt {
                kept.push(*port);
            }
            let debt = if let Debt::Open { port, .. } = debt
                && !opens_exposed_ports
            {
                Debt::Close { port }
            } else {
                debt.simplified()
            };
            self.take_on(debt);
        }
        kept
    }

    /// The ports that are to become warm ones of this name, with the debts that they are to go.
    pub(crate) fn recycling(&self, pool: &str) -> Vec<(PortId, Debt)> {
        let open = self.open();
        let ports = open.values().filter_map(|entry| {
            let Debt::Recycle { port, name, .. } = &entry.debt else {
                return None;
            };
            (name == pool).then(|| (*port, entry.debt.clone().simplified()))
        });
        ports.collect()
    }

    /// Notes a debt durably and begins to pay it; returns as soon as it is noted.
    ///
    /// Where it can't be noted (a full disk), which it tells, it is paid all the same, unless a crash
    /// comes first.
    pub(crate) async fn owe(&self, debt: Debt) -> bool {
        if let Some(port) = debt.parted_with()
            && self.opens(port)
        {
            Box::pin(self.owe(Debt::Close { port })).await;
        }
        let key = debt.key();
        let _turn = self.shared.notes.short_turn(&key).await;
        let earlier = self.current(&key);
        if earlier
            .as_ref()
            .is_some_and(|earlier| debt.gives_way_to(earlier))
        {
            return true;
        }
        let noted = self.note_instead(&key, &debt).await;
        let begun = self.take_on(debt.clone());
        if earlier.is_some() && begun {
            // The earlier debt was paid meanwhile, and this one's note may have gone with its.
            self.note(&key, &debt).await;
            if self.current(&key).is_none() {
                self.erase(&key);
            }
        }
        noted
    }

    /// Notes what is to be done if this run ends before [`Debts::forgo`]: what is being made then has
    /// an owner only when its maker has its reply.
    pub(crate) async fn intend(&self, debt: &Debt) {
        let key = debt.key();
        let _turn = self.shared.notes.short_turn(&key).await;
        self.note(&key, debt).await;
    }

    /// The same for what is better not made than forgotten.
    ///
    /// # Errors
    /// It can't be noted: the disk is full.
    pub(crate) async fn intend_or_refuse(&self, debt: &Debt) -> Result<(), Error> {
        let key = debt.key();
        let _turn = self.shared.notes.short_turn(&key).await;
        self.write(&key, debt).await.map_err(Error::Unnoted)
    }

    /// It has an owner, or something is owed about it by now, which is noted again.
    pub(crate) async fn forgo(&self, debt: &Debt) {
        let key = debt.key();
        let _turn = self.shared.notes.short_turn(&key).await;
        if let Some(owed) = self.current(&key)
            && owed != *debt
        {
            self.note(&key, &owed).await;
        }
        if self.current(&key).is_none() {
            self.erase(&key);
        }
    }

    async fn write(&self, key: &str, debt: &Debt) -> Result<(), JournalError> {
        self.shared.journal.write_aside(key, debt).await
    }

    /// The same, in the reserve of the journal if it must be.
    async fn keep(&self, key: &str, debt: &Debt) -> Result<(), JournalError> {
        match debt.is_found_again() {
            true => self.write(key, debt).await,
            false => self.shared.journal.write_anyhow(key, debt).await,
        }
    }

    async fn note(&self, key: &str, debt: &Debt) -> bool {
        let noted = self.keep(key, debt).await;
        if let Err(error) = &noted {
            let error = error as &dyn std::error::Error;
            tracing::error!(error, ?debt, "a crash now would make us forget this");
        }
        noted.is_ok()
    }

    /// Notes a debt in place of an earlier one, which must not be taken up again after a crash: where
    /// there is no room for the new note beside the old one, there may be without it.
    async fn note_instead(&self, key: &str, debt: &Debt) -> bool {
        if self.keep(key, debt).await.is_ok() {
            return true;
        }
        self.erase(key);
        self.note(key, debt).await
    }

    fn erase(&self, key: &str) {
        if let Err(error) = self.shared.journal.erase(key) {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "a paid debt stays noted");
        }
    }

    /// Owes `debt` and waits until it is paid; false if that takes longer than until `by`.
    pub(crate) async fn pay(&self, debt: Debt, by: Instant) -> bool {
        self.owe(debt.clone()).await;
        self.settled(by, |open| *open == debt).await
    }

    /// Waits until no debt is left that `concerns`, which now waits for no lull any more; false if
    /// that takes longer than until `by`.
    pub(crate) async fn settled(&self, by: Instant, concerns: impl Fn(&Debt) -> bool) -> bool {
        self.settled_such(by, |entry| concerns(&entry.debt)).await
    }

    /// Waits until nothing is left but what could not be let in, which may be so for days; false if that
    /// takes longer than until `by`.
    pub(crate) async fn finished(&self, by: Instant) -> bool {
        let can_wait =
            |entry: &Entry| matches!(entry.debt, Debt::Open { .. }) && entry.failed.is_some();
        self.settled_such(by, |entry| !can_wait(entry)).await
    }

    /// Waits for what comes of a debt: it is paid, or something else is owed in its place, or Neutron
    /// refuses it. It is tried again all the same.
    ///
    /// # Errors
    /// The refusal; none if nothing has come of it by `by`.
    pub(crate) async fn outcome(
        &self,
        debt: &Debt,
        by: Instant,
    ) -> Result<(), Option<Box<neutron_client::Error>>> {
        let key = debt.key();
        loop {
            let changed = self.shared.changed.notified();
            match self.open().get_mut(&key) {
                Some(entry) if entry.debt == *debt => {
                    let refusal = entry.failed.take_if(|error| !error.is_passing());
                    if refusal.is_some() {
                        return Err(refusal);
                    }
                }
                Some(_) | None => return Ok(()),
            }
            if timeout_at(by, changed).await.is_err() {
                return Err(None);
            }
        }
    }

    async fn settled_such(&self, by: Instant, concerns: impl Fn(&Entry) -> bool) -> bool {
        let is_awaited = |entry: &mut Entry| {
            let awaited = !entry.seen_to && concerns(entry);
            if awaited && !std::mem::replace(&mut entry.urgent, true) {
                entry.changed.notify_one();
            }
            awaited
        };
        self.none(by, is_awaited).await
    }

    /// Ceases to pay debts, for who is going to owe them again in another form, once no attempt at one is
    /// under way or at `by`; their notes stay, as a crash in between must not forget them.
    pub(crate) async fn withdraw(&self, by: Instant, which: impl Fn(&Debt) -> bool) -> Vec<Debt> {
        self.none(by, |entry| entry.busy && which(&entry.debt))
            .await;
        let withdrawn = self
            .open()
            .extract_if(|_, entry| !entry.busy && which(&entry.debt))
            .map(|(_, entry)| {
                entry.changed.notify_one();
                entry.debt
            })
            .collect();
        self.shared.changed.notify_waiters();
        withdrawn
    }

    /// Waits until no entry is left that is `such`, which is asked of every one, the oldest first.
    async fn none(&self, by: Instant, mut such: impl FnMut(&mut Entry) -> bool) -> bool {
        loop {
            let changed = self.shared.changed.notified();
            let any_left = {
                let mut open = self.open();
                let mut entries: Vec<_> = open.values_mut().collect();
                entries.sort_unstable_by_key(|entry| entry.turn);
                entries
                    .into_iter()
                    .fold(false, |any, entry| such(entry) | any)
            };
            if !any_left {
                return true;
            }
            if timeout_at(by, changed).await.is_err() {
                return false;
            }
        }
    }

    /// Waits until the addresses of a network, or this one of them, are free that are going to be.
    pub(crate) async fn addresses_freed(
        &self,
        network: NeutronNetworkId,
        address: Option<IpAddr>,
        by: Instant,
    ) -> bool {
        self.settled(by, |debt| debt.may_free(network, address))
            .await
    }

    /// Whether an address of a network, or this one, may be about to become free.
    pub(crate) fn may_free(&self, network: NeutronNetworkId, address: Option<IpAddr>) -> bool {
        self.open()
            .values()
            .any(|entry| !entry.seen_to && entry.debt.may_free(network, address))
    }

    /// Whether something is owed to Neutron about a port.
    pub(crate) fn are_about(&self, port: &Port) -> bool {
        self.open().values().any(|entry| entry.debt.is_about(port))
    }

    /// Whether an address is known to be about to become free.
    pub(crate) fn frees(&self, asked: NeutronNetworkId, address: IpAddr) -> bool {
        self.open().values().any(|entry| {
            matches!(&entry.debt, Debt::DeletePort { network, addresses, .. }
                | Debt::Recycle { network, addresses, .. }
                | Debt::PutBack(PortAdoption { network, addresses, .. })
                if *network == asked && addresses.contains(&address))
        })
    }

    /// Whether something is owed about what is let in for a port's container.
    pub(crate) fn are_about_group_of(&self, port: PortId) -> bool {
        self.open().contains_key(&of_group(port))
    }

    /// Whether what is for a port's container is still to be let in.
    pub(crate) fn opens(&self, port: PortId) -> bool {
        self.is_opening(&of_group(port))
    }

    /// Whether Neutron may be trusted to let in what a container exposes: it did so the last time.
    pub(crate) fn lets_in(&self) -> bool {
        self.shared.lets_in.load(Relaxed)
    }

    /// Whether what a container exposes was let in, or what Neutron says why not. Of a port that is gone, a
    /// port or a group that others have changed meanwhile, or no answer, nothing can be concluded.
    pub(crate) fn tell_let_in(&self, opened: &Result<bool, neutron_client::Error>) {
        match opened {
            Ok(true) => self.shared.lets_in.store(true, Relaxed),
            Err(error)
                if !error.is_passing()
                    && !error.is_absence()
                    && error.status() != Some(StatusCode::PRECONDITION_FAILED) =>
            {
                self.shared.lets_in.store(false, Relaxed);
            }
            Ok(false) | Err(_) => {}
        }
    }

    /// Puts a debt in place of an earlier one, or begins to pay it; whether it began.
    fn take_on(&self, debt: Debt) -> bool {
        let key = debt.key();
        let turn = self.shared.count.fetch_add(1, Relaxed);
        let mut open = self.open();
        if let Some(entry) = open.get_mut(&key) {
            if !debt.gives_way_to(&entry.debt) {
                entry.debt = debt;
                entry.turn = turn;
                entry.seen_to = false;
                entry.failed = None;
                entry.urgent = false;
                entry.changed.notify_one();
            }
            return false;
        }
        let entry = Entry {
            unwritten: matches!(debt, Debt::Label { .. }),
            debt,
            turn,
            busy: false,
            urgent: false,
            seen_to: false,
            failed: None,
            changed: Arc::default(),
        };
        open.insert(key.clone(), entry);
        let debts = self.clone();
        self.shared
            .payers
            .spawn(async move { debts.pay_off(key).await });
        true
    }

    /// Pays the debt under `key`, and what replaces it meanwhile, however long it takes.
    async fn pay_off(&self, key: String) {
        let mut pauses = Pauses::default();
        loop {
            // However long that takes: an attempt's time begins then.
            let place = self.place_for(&key).await;
            let Some((debt, turn, unwritten)) = self.begin(&key) else {
                return;
            };
            let neutron = self.shared.neutron.by(Instant::now() + ONE_ATTEMPT);
            // Few pay at a time, and hundreds wait: those are to be small.
            let attempt = Box::pin(pay(self, &neutron, &self.shared.guest, &debt, unwritten));
            let outcome = timeout(ONE_ATTEMPT * 2, attempt).await;
            drop(place);
            let next = match &outcome {
                Ok(Ok(_)) => pauses.after_success(&debt, turn),
                Ok(Err(error)) => pauses.after(error, &debt),
                Err(_) => {
                    tracing::warn!(?debt, "not done yet: Neutron did not answer");
                    Next::Again(Duration::ZERO)
                }
            };
            let (paid, failed) = match outcome {
                Ok(Ok(paid)) => (Some(paid), None),
                Ok(Err(error)) => (None, Some(Box::new(error))),
                Err(_) => (None, None),
            };
            self.end(&key, turn, paid.is_some(), failed);
            let mut cleaned = None;
            match paid {
                Some(Paid::Cleaned(port)) => cleaned = port,
                Some(Paid::Found(debts)) => {
                    for debt in debts {
                        Box::pin(self.owe(debt)).await;
                    }
                }
                Some(Paid::All) | None => {}
            }
            match next {
                Next::Done if self.close(&key, turn, cleaned.as_deref()) => return,
                Next::Done => {}
                Next::Again(pause) => self.rest(&key, turn, pause).await,
            }
        }
    }

    /// Waits for a place among those that are paid at once, which a debt has as long as this is held.
    async fn place_for(&self, key: &str) -> Option<SemaphorePermit<'_>> {
        let mut since = None;
        loop {
            while let Some((until, changed)) = self.has_to_wait(key, &mut since) {
                let _ = timeout_at(until, changed.notified()).await;
            }
            self.wait_for_the_group(key).await;
            let places = match self.is_opening(key) {
                true => &self.shared.openings,
                false => &self.shared.at_once,
            };
            let place = places.acquire().await.ok();
            // Where others had their turns first, containers may have come, or it is another debt.
            if self.has_to_wait(key, &mut since).is_none() {
                return place;
            }
        }
    }

    /// Until when there is no lull, and what tells of a change, if what is owed can wait and nobody waits
    /// for it. It waits `since` its turn number was seen first: anew for what it becomes meanwhile.
    fn has_to_wait(
        &self,
        key: &str,
        since: &mut Option<(u64, Instant)>,
    ) -> Option<(Instant, Arc<Notify>)> {
        let open = self.open();
        let entry = open.get(key).filter(|entry| !entry.urgent)?;
        let patience = entry.debt.patience()?;
        let seen = since.filter(|(turn, _)| *turn == entry.turn);
        let (_, begun) = *since.insert(seen.unwrap_or((entry.turn, Instant::now())));
        let until = self.shared.lull.begins(begun, patience);
        (until > Instant::now()).then(|| (until, Arc::clone(&entry.changed)))
    }

    /// Waits until nothing is owed about the security group of a port that is to become somebody else's:
    /// what is let in, or about to be, is for the last owner alone.
    async fn wait_for_the_group(&self, key: &str) {
        loop {
            let settled = self.shared.changed.notified();
            let changed = {
                let open = self.open();
                match open.get(key) {
                    Some(Entry {
                        debt: Debt::Recycle { port, .. },
                        changed,
                        ..
                    }) if open.contains_key(&of_group(*port)) => Arc::clone(changed),
                    Some(_) | None => return,
                }
            };
            tokio::select! {
                biased;
                () = settled => {}
                () = changed.notified() => {}
            }
        }
    }

    /// Pauses, unless what is owed becomes something else meanwhile.
    async fn rest(&self, key: &str, turn: u64, pause: Duration) {
        let until = Instant::now() + pause;
        let same = |entry: &Entry| (entry.turn == turn).then(|| Arc::clone(&entry.changed));
        loop {
            let Some(changed) = self.open().get(key).and_then(same) else {
                return;
            };
            if timeout_at(until, changed.notified()).await.is_err() {
                return;
            }
        }
    }

    fn is_opening(&self, key: &str) -> bool {
        let open = self.open();
        let entry = open.get(key);
        entry.is_some_and(|entry| matches!(entry.debt, Debt::Open { .. }))
    }

    fn current(&self, key: &str) -> Option<Debt> {
        self.open().get(key).map(|entry| entry.debt.clone())
    }

    /// Marks the beginning of an attempt at what is owed under `key`; also whether nothing was written
    /// of a label before.
    fn begin(&self, key: &str) -> Option<(Debt, u64, bool)> {
        let mut open = self.open();
        let entry = open.get_mut(key)?;
        entry.busy = true;
        let unwritten = std::mem::take(&mut entry.unwritten);
        Some((entry.debt.clone(), entry.turn, unwritten))
    }

    fn end(&self, key: &str, turn: u64, paid: bool, failed: Option<Box<neutron_client::Error>>) {
        if let Some(entry) = self.open().get_mut(key) {
            let is_same = entry.turn == turn;
            entry.busy = false;
            entry.seen_to = is_same && paid;
            entry.failed = failed.filter(|_| is_same);
        }
        self.shared.changed.notify_waiters();
    }

    /// Strikes out a debt that was paid, unless it was replaced meanwhile; a port that was cleaned by
    /// it may be used from then on.
    fn close(&self, key: &str, turn: u64, cleaned: Option<&Port>) -> bool {
        let mut open = self.open();
        if open.get(key).is_some_and(|entry| entry.turn != turn) {
            return false;
        }
        self.erase(key);
        if let Some(Debt::Recycle { port, .. }) = open.remove(key).map(|entry| entry.debt) {
            self.shared.pools.cleaned(port, cleaned);
        }
        self.shared.changed.notify_waiters();
        true
    }

    fn open(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.shared
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
