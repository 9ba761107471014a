//! What is sent to the embedded Neutron: some requests in turn, `METHOD URI`, an `If-Match` or an
//! empty line, a body. `$1` is the identifier of the first object that was made, and so on.
#![no_main]

use bytes::Bytes;
use http::{Request, header};
use kuryr_fuzz::{filled_in, first_line, messages, runtime};
use libfuzzer_sys::fuzz_target;
use neutron_embedded::{Embedded, EmbeddedSettings};
use serde_json::Value;
use tower::ServiceExt;

const NAMES: [&str; 9] = ["$1", "$2", "$3", "$4", "$5", "$6", "$7", "$8", "$9"];

fuzz_target!(|input: &[u8]| {
    runtime().block_on(async {
        let mut settings = EmbeddedSettings::default();
        settings
            .extensions
            .extend(["trunk".to_owned(), "trunk-details".to_owned()]);
        let neutron = Embedded::new(settings).service();
        let mut made: Vec<(&str, String)> = Vec::new();
        for message in messages(input) {
            let filled = filled_in(message, &made);
            let (line, rest) = first_line(&filled);
            let (condition, body) = first_line(rest);
            let Some((method, uri)) = line.split_once(' ') else {
                continue;
            };
            let mut request = Request::builder().method(method).uri(uri);
            if !condition.is_empty() {
                request = request.header(header::IF_MATCH, condition);
            }
            let Ok(request) = request.body(Bytes::copy_from_slice(body)) else {
                continue;
            };
            let reply = neutron.clone().oneshot(request).await.expect("an answer");
            let answer = read(line, reply.status().as_u16(), reply.body());
            let id = answer
                .as_object()
                .and_then(|keys| keys.values().next()?["id"].as_str());
            if let (Some(id), Some(name), "POST") = (id, NAMES.get(made.len()), method) {
                made.push((name, id.to_owned()));
            }
        }
    });
});

/// A success is JSON or nothing, an error is in Neutron's words, and none is our own mistake.
fn read(line: &str, status: u16, body: &[u8]) -> Value {
    if body.is_empty() {
        assert!(status < 300, "{line}: {status} without a word");
        return Value::Null;
    }
    let answer: Value = serde_json::from_slice(body)
        .unwrap_or_else(|error| panic!("{line}: {status}: {error}: {body:?}"));
    if status >= 300 {
        let fault = &answer["NeutronError"];
        for key in ["type", "message", "detail"] {
            assert!(fault[key].is_string(), "{line}: {status} {answer}");
        }
    }
    answer
}
