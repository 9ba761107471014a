//! Promises about quotas.

use http::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::ground::{Ground, Reply};

/// So that a full project is told apart from a full network.
pub async fn a_quota_holds_for_its_project(ground: Ground) {
    let project = Uuid::new_v4().simple().to_string();
    let network = |count: usize| {
        let network = json!({"name": ground.name, "project_id": project});
        json!({"networks": vec![network; count]})
    };
    set(&ground, &project, json!({"network": 2})).await;
    let first = ground.ask(Method::POST, "networks", network(1)).await;
    assert_eq!(first.status, 201, "{first:?}");
    let too_many = ground.ask(Method::POST, "networks", network(2)).await;
    let outcome = (too_many.status.as_u16(), too_many.fault());
    assert_eq!(outcome, (409, "OverQuota"));
    let message = &too_many.body["NeutronError"]["message"];
    assert_eq!(message, "Quota exceeded for resources: ['network'].");
    let second = ground.ask(Method::POST, "networks", network(1)).await;
    assert_eq!(second.status, 201, "{second:?}");
    let path = format!("quotas/{project}/details");
    let details = ground.ask(Method::GET, &path, Value::Null).await;
    let expected = json!({"limit": 2, "used": 2, "reserved": 0});
    assert_eq!(details.body["quota"]["network"], expected);
    forget(&ground, &project).await;
}

/// `openstack quota set`, and taking it back.
pub async fn a_projects_quotas_are_set_shown_and_taken_back(ground: Ground) {
    let project = Uuid::new_v4().simple().to_string();
    let path = format!("quotas/{project}");
    let default = ground
        .ask(Method::GET, &format!("{path}/default"), Value::Null)
        .await;
    let before = ground.ask(Method::GET, &path, Value::Null).await;
    assert_eq!(before.body, default.body);
    let changed = set(&ground, &project, json!({"port": "7", "security_group": 3})).await;
    for (kind, limit) in [("port", 7), ("security_group", 3)] {
        assert_eq!(changed.body["quota"][kind], limit);
    }
    let kept = &before.body["quota"]["subnet"];
    let after = ground.ask(Method::GET, &path, Value::Null).await;
    assert_eq!(
        (&after.body["quota"]["port"], &after.body["quota"]["subnet"]),
        (&json!(7), kept)
    );
    forget(&ground, &project).await;
    let after = ground.ask(Method::GET, &path, Value::Null).await;
    assert_eq!(after.body, before.body);
    let again = ground.ask(Method::DELETE, &path, Value::Null).await;
    assert_eq!(
        (again.status.as_u16(), again.fault()),
        (404, "TenantQuotaNotFound")
    );
}

/// And what is wrong with it is named.
pub async fn a_quota_that_is_none_is_refused(ground: Ground) {
    let path = format!("quotas/{}", Uuid::new_v4().simple());
    let refusals = [
        (
            json!({"port": -2}),
            "HTTPBadRequest",
            "'-2' is too small - must be at least '-1'.",
        ),
        (
            json!({"port": "x"}),
            "InvalidInput",
            "'x' is not an integer.",
        ),
        (
            json!({"ship": 1}),
            "HTTPBadRequest",
            "Unrecognized attribute(s) 'ship'",
        ),
    ];
    for (quota, fault, message) in refusals {
        let reply = ground
            .ask(Method::PUT, &path, json!({"quota": quota}))
            .await;
        assert_eq!(
            (reply.status.as_u16(), reply.fault()),
            (400, fault),
            "{quota}"
        );
        let said = reply.body["NeutronError"]["message"].as_str();
        assert!(said.is_some_and(|said| said.ends_with(message)), "{said:?}");
    }
}

/// Less than there is already.
pub async fn a_quota_below_what_is_used_is_refused(ground: Ground) {
    let project = Uuid::new_v4().simple().to_string();
    let network = json!({"network": {"name": ground.name, "project_id": project}});
    let made = ground.ask(Method::POST, "networks", network).await;
    assert_eq!(made.status, 201, "{made:?}");
    let path = format!("quotas/{project}");
    let quota = json!({"quota": {"network": 0}});
    let reply = ground.ask(Method::PUT, &path, quota).await;
    assert_eq!(reply.status, 400);
    let message = "Quota limit 0 for network must be greater than or equal to already used 1";
    assert_eq!(reply.body["NeutronError"]["message"], message);
}

async fn set(ground: &Ground, project: &str, quota: Value) -> Reply {
    let path = format!("quotas/{project}");
    let reply = ground
        .ask(Method::PUT, &path, json!({"quota": quota}))
        .await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply
}

async fn forget(ground: &Ground, project: &str) {
    let path = format!("quotas/{project}");
    let reply = ground.ask(Method::DELETE, &path, Value::Null).await;
    assert_eq!(reply.status, 204, "{reply:?}");
}
