//! Whole sessions of a real dockerd, played again. `recordings/README.md` says how they were made.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use crate::world::World;

#[tokio::test]
async fn a_session_of_docker_20_10_leaves_nothing() {
    play_again("docker-20.10", 1).await;
}

#[tokio::test]
async fn a_session_of_docker_28_leaves_nothing() {
    play_again("docker-28", 1).await;
}

#[tokio::test]
async fn a_session_in_which_each_call_arrives_twice_leaves_nothing() {
    play_again("docker-20.10", 2).await;
    play_again("docker-28", 2).await;
}

/// One docker command, and the calls that it caused.
#[derive(Deserialize)]
struct Recording {
    command: String,
    calls: Vec<Call>,
}

#[derive(Deserialize)]
struct Call {
    path: String,
    body: String,
    answer: Value,
}

/// Plays the session again, each call so many times.
async fn play_again(folder: &str, times: usize) {
    let world = World::new();
    let mut session = Session::default();
    for recording in recordings(folder) {
        for call in &recording.calls {
            let body = session.translated(&call.body);
            let times = if is_reservation(call) { 1 } else { times };
            for _ in 0..times {
                let answer = world.post(&call.path, body.clone()).await;
                let told = format!("{}: {} {body}: {answer:?}", recording.command, call.path);
                if is_refused(&recording, call) {
                    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{told}");
                    continue;
                }
                assert_eq!(answer.status, StatusCode::OK, "{told}");
                assert_alike(&expected(&recording, call), &answer.body, &told);
                session.learn(&call.path, &call.answer, &answer.body);
            }
            if is_refused(&recording, call) {
                break;
            }
        }
        session.count(&recording.command);
        assert_eq!(world.plugged(), session.interfaces, "{}", recording.command);
    }
    world.assert_nothing_left().await;
}

/// Asking twice for any pool, or any address, is asking for two.
fn is_reservation(call: &Call) -> bool {
    call.path.starts_with("/IpamDriver.Request")
}

/// An endpoint must have an address: Docker's `null` IPAM driver gives none.
fn is_refused(recording: &Recording, call: &Call) -> bool {
    recording.command.contains("--network rec-null") && call.path.ends_with("CreateEndpoint")
}

/// What Kuryr is to answer, in its kind: there is no way out of an internal network, although
/// Docker 20.10 reserves a gateway for it.
fn expected(recording: &Recording, call: &Call) -> Value {
    let mut answer = call.answer.clone();
    if recording.command.contains("--network rec-inner") && call.path.ends_with("Join") {
        answer["Gateway"] = "".into();
    }
    answer
}

/// What this Kuryr says in place of what the recording's driver said.
#[derive(Default)]
struct Session {
    texts: HashMap<String, String>,
    /// How many there should be.
    interfaces: usize,
}

impl Session {
    fn learn(&mut self, path: &str, recorded: &Value, answer: &Value) {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        if path.ends_with("RequestPool") {
            for name in ["PoolID", "Pool"] {
                let texts = (text(&recorded[name]), text(&answer[name]));
                self.texts.insert(texts.0, texts.1);
            }
        }
        if path.ends_with("RequestAddress") {
            let (recorded, answer) = (text(&recorded["Address"]), text(&answer["Address"]));
            let bare = |text: &str| text.split('/').next().unwrap().to_owned();
            self.texts.insert(bare(&recorded), bare(&answer));
            self.texts.insert(recorded, answer);
        }
    }

    fn count(&mut self, command: &str) {
        let is = |what: &str| command.starts_with(&format!("docker {what} "));
        let has_address = !command.contains("rec-null") && !command.ends_with("rec-10");
        if has_address && ["run", "start", "network connect"].into_iter().any(is) {
            self.interfaces += 1;
        }
        if has_address && ["rm", "stop", "network disconnect"].into_iter().any(is) {
            self.interfaces -= 1;
        }
    }

    /// The body as it came, unless there is something to say otherwise.
    fn translated(&self, body: &str) -> String {
        let Ok(mut value) = serde_json::from_str(body) else {
            return body.to_owned();
        };
        match self.translate(&mut value) {
            true => value.to_string(),
            false => body.to_owned(),
        }
    }

    /// Whether there was something to say otherwise.
    fn translate(&self, value: &mut Value) -> bool {
        let mut inner: Vec<&mut Value> = match value {
            Value::String(text) => {
                let other = self.texts.get(text).filter(|other| *other != text);
                return other.map(|other| text.clone_from(other)).is_some();
            }
            Value::Array(values) => values.iter_mut().collect(),
            Value::Object(fields) => fields.values_mut().collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) => return false,
        };
        let changed = inner
            .iter_mut()
            .filter_map(|value| self.translate(value).then_some(()));
        changed.count() > 0
    }
}

/// What dockerd was content with, it gets: each field, of the same type, and empty where it was.
fn assert_alike(recorded: &Value, answer: &Value, told: &str) {
    for (name, recorded) in recorded.as_object().unwrap() {
        let answer = &answer[name];
        match recorded {
            Value::Object(_) if name == "Value" => assert!(answer.is_object(), "{name}: {told}"),
            Value::Object(_) => assert_alike(recorded, answer, told),
            Value::String(text) => {
                let answer = answer.as_str();
                assert_eq!(
                    answer.map(str::is_empty),
                    Some(text.is_empty()),
                    "{name}: {told}"
                );
            }
            Value::Array(_) | Value::Bool(_) | Value::Number(_) | Value::Null => {
                assert_eq!(answer, recorded, "{name}: {told}");
            }
        }
    }
}

fn recordings(folder: &str) -> Vec<Recording> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/protocol/recordings")
        .join(folder);
    let files = fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    let recording = |file: &_| serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    files.iter().map(recording).collect()
}
