//! Quotas: how many objects of each kind a project may have.

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::body;
use crate::cloud::{Answer, Ask, Cloud};
use crate::refusal::Refusal;
use crate::resource::Resource;
use crate::store::{Common, Key};

/// The quotas of a project that has some of its own, as they are kept.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Quota {
    #[serde(flatten)]
    pub(crate) common: Common,
    /// By kind; what is not here is as for all projects.
    limits: BTreeMap<String, i64>,
}

impl Quota {
    pub(crate) fn looked_up_by(&self) -> Vec<Key> {
        vec![Key::QuotaOf(self.common.project_id.clone())]
    }
}

/// The kinds of objects that can be limited; their tables have the same names.
const KINDS: [&str; 6] = [
    "network",
    "subnet",
    "subnetpool",
    "port",
    "security_group",
    "security_group_rule",
];

const UNLIMITED: i64 = -1;

/// Refuses one object more of a kind.
pub(crate) fn check<R: Resource>(cloud: &Cloud, project: &str) -> Result<(), Refusal> {
    let limit = limit(cloud, project, R::ONE);
    let used = cloud.store.count_of(R::ONE, project);
    if limit == UNLIMITED || used < usize::try_from(limit).unwrap_or_default() {
        return Ok(());
    }
    let message = format!("Quota exceeded for resources: ['{}'].", R::ONE);
    Err(Refusal::conflict("OverQuota", message))
}

/// Does what is asked of quotas: `path` is what follows their name.
pub(crate) fn serve(cloud: &mut Cloud, ask: &Ask, path: &[&str]) -> Result<Answer, Refusal> {
    let own = cloud.settings.project_id.clone();
    let ok = |body| Ok(Answer::with(StatusCode::OK, body));
    match (&ask.method, path) {
        (&Method::GET, []) => ok(json!({ "quotas": all(cloud) })),
        // The project of whoever asks.
        (&Method::GET, ["tenant"]) => ok(json!({ "tenant": { "tenant_id": own } })),
        (&Method::GET, ["project"]) => ok(json!({ "project": { "project_id": own } })),
        (&Method::GET, ["default"] | [_, "default"]) => {
            ok(json!({ "quota": shown(|kind| json!(default(cloud, kind))) }))
        }
        (&Method::GET, [project]) => ok(json!({ "quota": limits(cloud, project) })),
        (&Method::GET, [project, "details"]) => {
            let details = KINDS.map(|kind| {
                let detail = json!({
                    "limit": limit(cloud, project, kind),
                    "used": cloud.store.count_of(kind, project),
                    "reserved": 0,
                });
                (kind.to_owned(), detail)
            });
            ok(json!({ "quota": Map::from_iter(details) }))
        }
        (&Method::PUT, [project]) => {
            change(cloud, ask, project)?;
            ok(json!({ "quota": limits(cloud, project) }))
        }
        (&Method::DELETE, [project]) => {
            let quota = find(cloud, project).ok_or_else(|| {
                let message = format!("Quota for project {project} could not be found.");
                Refusal::not_found("TenantQuotaNotFound", message)
            })?;
            cloud.store.remove::<Quota>(quota.common.id);
            Ok(Answer::empty())
        }
        (_, [] | [_] | [_, "details" | "default"]) => Err(Refusal::no_such_method()),
        _ => Err(Refusal::no_such_path()),
    }
}

fn change(cloud: &mut Cloud, ask: &Ask, project: &str) -> Result<(), Refusal> {
    let mut wanted = body::quota(&ask.body)?;
    // Whether what there is already counts; it does unless told otherwise.
    let force = wanted.flag("force")?.unwrap_or(false);
    wanted.flag("check_limit")?;
    let found = find(cloud, project).cloned();
    let is_new = found.is_none();
    let mut quota = found.unwrap_or_else(|| Quota {
        common: Common::new("", "", project),
        limits: BTreeMap::new(),
    });
    for kind in KINDS {
        let Some(limit) = wanted.whole_number(kind)? else {
            continue;
        };
        let used = cloud.store.count_of(kind, project);
        check_limit(kind, limit, used, force)?;
        quota.limits.insert(kind.to_owned(), limit);
    }
    wanted.refuse_rest()?;
    if is_new {
        cloud.store.insert(quota);
    } else {
        cloud.store.replace(quota);
    }
    Ok(())
}

fn check_limit(kind: &str, limit: i64, used: usize, force: bool) -> Result<(), Refusal> {
    if limit < UNLIMITED {
        return Err(Refusal::bad_request(format!(
            "Invalid input for {kind}. Reason: '{limit}' is too small - must be at least '-1'."
        )));
    }
    let fits = limit == UNLIMITED || usize::try_from(limit).is_ok_and(|limit| used <= limit);
    if fits || force {
        return Ok(());
    }
    Err(Refusal::bad_request(format!(
        "Quota limit {limit} for {kind} must be greater than or equal to already used {used}"
    )))
}

fn find<'a>(cloud: &'a Cloud, project: &str) -> Option<&'a Quota> {
    let mut ids = cloud.store.ids(Key::QuotaOf(project.to_owned()));
    ids.next().and_then(|id| cloud.store.find(id))
}

fn default(cloud: &Cloud, kind: &str) -> i64 {
    let limit = cloud.settings.quotas.get(kind);
    limit.map_or(UNLIMITED, |limit| i64::from(*limit))
}

fn limit(cloud: &Cloud, project: &str, kind: &str) -> i64 {
    let own = find(cloud, project).and_then(|quota| quota.limits.get(kind).copied());
    own.unwrap_or_else(|| default(cloud, kind))
}

fn limits(cloud: &Cloud, project: &str) -> Map<String, Value> {
    shown(|kind| json!(limit(cloud, project, kind)))
}

fn shown(limit: impl Fn(&str) -> Value) -> Map<String, Value> {
    Map::from_iter(KINDS.map(|kind| (kind.to_owned(), limit(kind))))
}

/// Of the projects that have quotas of their own.
fn all(cloud: &Cloud) -> Vec<Map<String, Value>> {
    let quotas = cloud.store.all::<Quota>();
    let one = |quota: &Quota| {
        let project = &quota.common.project_id;
        let mut limits = limits(cloud, project);
        limits.insert("project_id".to_owned(), json!(project));
        limits.insert("tenant_id".to_owned(), json!(project));
        limits
    };
    quotas.map(one).collect()
}
