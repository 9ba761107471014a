//! One call after the other, as often as the step says, with what goes wrong.

use kuryr_core::{Caller, EndpointId};
use kuryr_testkit::faulty::Fate;
use kuryr_testkit::notebook::Trouble as Plugging;
use tokio::time::{Duration, timeout};

use super::super::call::{Answer, Call};
use super::super::docker::Thing;
use super::super::script::{Go, Point, Step, Trouble};
use super::expect::Must;
use super::{Play, goes_up};

/// How long a call may take at whose exchange Kuryr is going to be killed.
const MOMENT: Duration = Duration::from_secs(2);

/// How far a thing got.
pub(super) enum Walk {
    Done,
    /// Kuryr is to be killed in this call.
    Cut(Call),
}

impl Play {
    pub(super) fn begin(&self, trouble: Trouble) {
        let (at, fate) = match trouble {
            Trouble::Exchange(k, fate) => (k, fate),
            Trouble::Kill {
                at: Point::Exchange(k, fate),
                ..
            } => (k, fate),
            Trouble::Kill {
                at: Point::Plugging(stuck),
                ..
            } => return self.world.host.meet(Some(stuck)),
            Trouble::Refusal => return self.world.host.meet(Some(Plugging::Refusal)),
            Trouble::None | Trouble::HangUp { .. } => return,
        };
        self.world
            .wire
            .plan(move |number, _| if number == at { fate } else { Fate::Pass });
    }

    pub(super) fn end(&mut self, walk: Walk, thing: &mut impl Thing, trouble: Trouble) {
        if let Trouble::Kill { forgets, .. } = trouble {
            self.kill();
            if let Walk::Cut(call) = walk {
                self.tell(&format!("    killed in {call:?}"));
                if forgets {
                    thing.forget(&call);
                } else {
                    thing.hear(&call, Err("killed".to_owned()));
                }
            }
            return;
        }
        self.world.host.meet(None);
        if trouble != Trouble::None {
            self.world.wire.plan(|_, _| Fate::Pass);
        }
    }

    pub(super) async fn walk(
        &self,
        who: &str,
        thing: &mut impl Thing,
        go: Go,
        step: &Step,
        must: &impl Fn(&Call) -> Must,
    ) -> Result<Walk, String> {
        let mut count = 0;
        while let Some(call) = thing.next(goes_up(go)) {
            if let Trouble::HangUp { after, sent } = step.trouble
                && after == count
            {
                self.tell(&format!("    {who} {call:?} for nobody any more"));
                let caller = Caller::default();
                caller.hang_up();
                if sent {
                    self.around(&call, call.make(&self.world.kuryr, &caller))
                        .await
                        .ok();
                }
                thing.forget(&call);
                return Ok(Walk::Done);
            }
            let answer = self.ask(who, &call, step, must(&call));
            let answer = if matches!(step.trouble, Trouble::Kill { .. }) {
                match timeout(MOMENT, answer).await {
                    Ok(answer) => answer?,
                    Err(_) => return Ok(Walk::Cut(call)),
                }
            } else {
                answer.await?
            };
            thing.hear(&call, answer);
            count += 1;
            if matches!(go, Go::On | Go::Back) || thing.is_gone() {
                break;
            }
        }
        Ok(Walk::Done)
    }

    /// Makes a call as often as the step says; what Docker takes for the answer.
    async fn ask(
        &self,
        who: &str,
        call: &Call,
        step: &Step,
        must: Must,
    ) -> Result<Result<Answer, String>, String> {
        let is_cut = matches!(step.trouble, Trouble::Kill { .. });
        let times = if call.is_repeatable() && !is_cut {
            step.times
        } else {
            1
        };
        let mut answers = Vec::new();
        for _ in 0..times {
            let caller = Caller::default();
            let answer = self
                .around(call, call.make(&self.world.kuryr, &caller))
                .await;
            let answer = answer.map_err(|error| said(&error));
            self.tell(&format!("    {who} {call:?}: {answer:?}"));
            match (must, &answer) {
                (Must::Succeed, Err(_)) | (Must::Fail, Ok(_)) => {
                    return Err(format!("{who}: {call:?} must {must:?}: {answer:?}"));
                }
                _ => answers.push(answer),
            }
        }
        let well: Vec<_> = answers.iter().flatten().collect();
        if call.is_repeatable() && well.windows(2).any(|two| two[0] != two[1]) {
            return Err(format!("{who}: {call:?} has several answers: {answers:?}"));
        }
        // Docker takes the first good answer for good.
        let first = answers.iter().position(Result::is_ok).unwrap_or(times - 1);
        Ok(answers.swap_remove(first))
    }

    /// What Docker does with the interface before a call or after it.
    async fn around(
        &self,
        call: &Call,
        made: impl Future<Output = Result<Answer, kuryr_core::Error>>,
    ) -> Result<Answer, kuryr_core::Error> {
        if let Call::Leave(_, id) = call {
            self.hold(id, false);
        }
        let answer = made.await;
        if let (Call::Join(_, id, _), Ok(_)) = (call, &answer) {
            self.hold(id, true);
        }
        answer
    }

    /// The interface of an endpoint moves into the container, or back.
    fn hold(&self, id: &EndpointId, taken: bool) {
        let plugged = self.world.host.plugged();
        for vif in plugged
            .iter()
            .filter(|vif| vif.attachment.owner == id.as_str())
        {
            self.world.host.take(&vif.attachment.host, taken);
        }
    }
}

fn said(error: &kuryr_core::Error) -> String {
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        words = format!("{words}: {source}");
        cause = source.source();
    }
    words
}
