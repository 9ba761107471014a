//! The prefixes of a subnet pool, added and removed: `/v2.0/subnetpools/ID/add_prefixes`.

use http::{Method, StatusCode};
use ipnet::IpNet;
use serde_json::json;
use uuid::Uuid;

use super::SubnetPool;
use crate::address::{overlap, without};
use crate::body;
use crate::cloud::{Answer, Ask, Cloud};
use crate::refusal::Refusal;
use crate::resource::Resource;

/// Which way the prefixes go.
#[derive(Clone, Copy)]
pub(crate) enum Way {
    Add,
    Remove,
}

pub(crate) fn serve(cloud: &mut Cloud, ask: &Ask, id: &str, way: Way) -> Result<Answer, Refusal> {
    if ask.method != Method::PUT {
        return Err(Refusal::no_such_method());
    }
    let prefixes = body::prefixes(&ask.body)?;
    let parsed = id.parse::<Uuid>().ok();
    let pool = parsed.and_then(|id| cloud.store.find::<SubnetPool>(id));
    let pool = pool.cloned().ok_or_else(|| SubnetPool::missing(id))?;
    let prefixes = match way {
        Way::Add => [pool.prefixes.clone(), prefixes].concat(),
        Way::Remove => pool.prefixes_without(cloud, &prefixes)?,
    };
    let pool = SubnetPool {
        prefixes: IpNet::aggregate(&prefixes),
        ..pool
    };
    let pool = cloud.store.replace(pool.checked(cloud)?);
    Ok(Answer::with(
        StatusCode::OK,
        json!({ "prefixes": pool.prefixes }),
    ))
}

impl SubnetPool {
    fn prefixes_without(&self, cloud: &Cloud, removed: &[IpNet]) -> Result<Vec<IpNet>, Refusal> {
        let used = cloud.store.ranges_from(self.id());
        let mut left = self.prefixes.clone();
        for hole in removed {
            if used.iter().any(|net| overlap(*net, *hole)) {
                let message = "Illegal update to prefixes: One or more the prefixes to be removed \
                               is in use by a subnet..";
                return Err(Refusal::invalid("IllegalSubnetPoolPrefixUpdate", message));
            }
            left = left
                .into_iter()
                .flat_map(|net| without(net, *hole))
                .collect();
        }
        Ok(left)
    }
}
