//! JSON in Docker's plugin dialect.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::call::verb;
use crate::failure::Failure;

/// What a handler answers.
pub(crate) type Reply<T> = Result<Wire<T>, Failure>;

/// The body of a request or of an answer.
///
/// Docker does not label its requests, so unlike `axum::Json` this does not look at the label.
#[derive(Debug)]
pub(crate) struct Wire<T>(pub(crate) T);

/// The answer of a verb that has nothing to tell.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Done {}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Wire<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let verb = verb(request.uri()).to_owned();
        let malformed = |message: String| Failure::malformed(format!("{verb}: {message}"));
        let body = Bytes::from_request(request, state)
            .await
            .map_err(|error| malformed(error.to_string()))?;
        decode(&body).map(Wire).map_err(malformed)
    }
}

impl<T: Serialize> IntoResponse for Wire<T> {
    fn into_response(self) -> Response {
        encoded(StatusCode::OK, &self.0).unwrap_or_else(|error| {
            Failure::internal(format!("the answer can't be written: {error}")).into_response()
        })
    }
}

/// A response as Docker expects it.
pub(crate) fn encoded(
    status: StatusCode,
    body: &impl Serialize,
) -> Result<Response, serde_json::Error> {
    let body = serde_json::to_vec(body)?;
    Ok((status, [(header::CONTENT_TYPE, PLUGIN_JSON)], body).into_response())
}

/// Reads a body, or says which field is not what it should be.
///
/// As in Docker's own decoder, fields that are not known are ignored, and of two fields with one
/// name the last one counts.
pub(crate) fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    if body.trim_ascii().is_empty() {
        return Err(EMPTY.to_owned());
    }
    let value: Value =
        serde_json::from_slice(body).map_err(|error| format!("the body is not JSON: {error}"))?;
    if !value.is_object() {
        return Err("the body is not a JSON object".to_owned());
    }
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        match path.as_str() {
            "." => error.into_inner().to_string(),
            path => format!("{path}: {}", error.into_inner()),
        }
    })
}

/// Docker's client writes its request again from a buffer that the first attempt has drained.
const EMPTY: &str =
    "the body is empty: Docker repeated a call whose first answer did not reach it; try again";

const PLUGIN_JSON: &str = "application/vnd.docker.plugins.v1.1+json";

#[cfg(test)]
mod tests {
    use kuryr_core::{NewEndpoint, NewNetwork, PoolRequest};
    use proptest::prelude::*;

    use super::*;
    use crate::ipam_driver::{ReleaseAddress, ReleasePool, RequestAddress, RequestPool};
    use crate::network_driver::{
        CreateEndpoint, CreateNetwork, EndpointRef, GwAllocCheck, NetworkRef,
    };

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Ask {
        name: Name,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Name {
        first: String,
    }

    #[test]
    fn a_wrong_field_is_named_with_its_path() {
        let error = decode::<Ask>(br#"{"Name":{"First":7}}"#).unwrap_err();
        assert_eq!(
            error,
            "Name.First: invalid type: integer `7`, expected a string"
        );
    }

    #[test]
    fn a_missing_field_is_named() {
        let error = decode::<Ask>(b"{}").unwrap_err();
        assert_eq!(error, "missing field `Name`");
    }

    #[test]
    fn an_empty_body_is_told_from_a_malformed_one() {
        assert_eq!(decode::<Ask>(b" \n").unwrap_err(), EMPTY);
        assert!(
            decode::<Ask>(b"{")
                .unwrap_err()
                .starts_with("the body is not JSON: ")
        );
        assert_eq!(
            decode::<Ask>(b"[{}]").unwrap_err(),
            "the body is not a JSON object"
        );
    }

    #[test]
    fn of_two_fields_with_one_name_the_last_counts() {
        let ask: Ask = decode(br#"{"Name":1,"Name":{"First":"a"},"Later":[]}"#).unwrap();
        assert_eq!(ask.name.first, "a");
    }

    proptest! {
        #[test]
        fn no_bytes_make_decoding_panic(body: Vec<u8>) {
            decode_as_everything(&body);
        }

        #[test]
        fn no_json_makes_decoding_panic(body in json()) {
            decode_as_everything(body.to_string().as_bytes());
        }
    }

    fn decode_as_everything(body: &[u8]) {
        let _ = decode::<CreateNetwork>(body).map(NewNetwork::from);
        let _ = decode::<CreateEndpoint>(body).map(NewEndpoint::from);
        let _ = decode::<RequestPool>(body).map(PoolRequest::try_from);
        let _ = decode::<NetworkRef>(body);
        let _ = decode::<EndpointRef>(body);
        let _ = decode::<GwAllocCheck>(body);
        let _ = decode::<RequestAddress>(body);
        let _ = decode::<ReleaseAddress>(body);
        let _ = decode::<ReleasePool>(body);
    }

    /// Any JSON, with a weakness for what Docker writes.
    fn json() -> impl Strategy<Value = Value> {
        let texts = vec![
            "",
            "<nil>",
            "n",
            "10.20.0.5",
            "10.20.0.5/24",
            "0.0.0.0/0",
            "::/0",
            "fd00::1/64",
            "10.20.0.5/33",
            "FA:16:3e:00:00:01",
            "true",
        ];
        let names = vec![
            "NetworkID",
            "EndpointID",
            "PoolID",
            "Options",
            "Interface",
            "Address",
            "AddressIPv6",
            "MacAddress",
            "IPv4Data",
            "IPv6Data",
            "Pool",
            "SubPool",
            "Gateway",
            "AuxAddresses",
            "V6",
            "RequestAddressType",
            "com.docker.network.generic",
            "com.docker.network.internal",
            "com.docker.network.endpoint.macaddress",
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            proptest::sample::select(texts).prop_map(Value::from),
        ];
        let name = proptest::sample::select(names).prop_map(str::to_owned);
        leaf.prop_recursive(4, 64, 8, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec((name.clone(), inner), 0..8)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }
}
