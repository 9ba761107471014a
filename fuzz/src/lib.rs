//! What the targets share: messages read from a fuzzer's bytes, and a Docker host without a kernel.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use kuryr_core::{Journal, Kuryr, PortPoolSettings, Settings};
use kuryr_testkit::notebook::Notebook;
use neutron_client::Neutron;
use neutron_embedded::Embedded;
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;

/// What Docker's two protocols have.
pub const VERBS: [&str; 22] = [
    "/Plugin.Activate",
    "/NetworkDriver.GetCapabilities",
    "/NetworkDriver.GwAllocCheck",
    "/NetworkDriver.AllocateNetwork",
    "/NetworkDriver.FreeNetwork",
    "/NetworkDriver.CreateNetwork",
    "/NetworkDriver.DeleteNetwork",
    "/NetworkDriver.CreateEndpoint",
    "/NetworkDriver.EndpointOperInfo",
    "/NetworkDriver.DeleteEndpoint",
    "/NetworkDriver.Join",
    "/NetworkDriver.Leave",
    "/NetworkDriver.ProgramExternalConnectivity",
    "/NetworkDriver.RevokeExternalConnectivity",
    "/NetworkDriver.DiscoverNew",
    "/NetworkDriver.DiscoverDelete",
    "/IpamDriver.GetCapabilities",
    "/IpamDriver.GetDefaultAddressSpaces",
    "/IpamDriver.RequestPool",
    "/IpamDriver.ReleasePool",
    "/IpamDriver.RequestAddress",
    "/IpamDriver.ReleaseAddress",
];

/// A few messages in one input: zero bytes are between them.
pub fn messages(input: &[u8]) -> impl Iterator<Item = &[u8]> {
    input.split(|byte| *byte == 0).take(16)
}

/// The first line of a message, and the rest.
pub fn first_line(message: &[u8]) -> (&str, &[u8]) {
    let end = message.iter().position(|byte| *byte == b'\n');
    let (line, rest) = message.split_at(end.unwrap_or(message.len()));
    let line = std::str::from_utf8(line).unwrap_or_default();
    (line.trim(), rest.get(1..).unwrap_or_default())
}

/// Puts what an earlier answer said in the place of its name, such as `$PoolID`.
pub fn filled_in(body: &[u8], names: &[(&str, String)]) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(body) else {
        return body.to_vec();
    };
    let filled = names.iter().fold(text.to_owned(), |text, (name, value)| {
        text.replace(name, value)
    });
    filled.into_bytes()
}

/// One thread, whose clock goes on as soon as everybody waits.
pub fn runtime() -> Runtime {
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_all().start_paused(true).build();
    runtime.expect("a runtime")
}

/// For the files of one input.
pub fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder for this input")
}

/// A Docker host: Kuryr on a host that takes notes.
pub struct Host {
    /// What Kuryr notes.
    pub journal: TempDir,
    notebook: Arc<Notebook>,
    neutron: Neutron,
    names: Vec<(&'static str, String)>,
}

/// A run of Kuryr.
pub struct Run {
    /// The core.
    pub kuryr: Kuryr,
    routes: Router,
}

impl Host {
    /// With a Neutron that works.
    pub fn new() -> Self {
        Self::with(Neutron::new(Embedded::default().service()))
    }

    pub fn with(neutron: Neutron) -> Self {
        Self {
            journal: folder(),
            notebook: Arc::default(),
            neutron,
            names: Vec::new(),
        }
    }

    /// Starts Kuryr; earlier runs must have been dropped. Within a runtime.
    pub fn start(&self) -> Run {
        let kuryr = Kuryr::new(
            self.neutron.clone(),
            self.notebook.clone(),
            None,
            Journal::open(self.journal.path()).expect("a journal"),
            settings(),
        );
        Run {
            routes: kuryr_libnetwork::routes(kuryr.clone(), kuryr_libnetwork::Settings::default()),
            kuryr,
        }
    }

    /// Docker's request, and an answer that Docker can read whatever was asked.
    pub async fn ask(
        &mut self,
        run: &Run,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> Option<(StatusCode, Value)> {
        let body = filled_in(body, &self.names);
        let request = Request::builder().method(method).uri(path);
        let request = request.body(Body::from(body)).ok()?;
        let is_verb = VERBS.contains(&request.uri().path());
        let reply: Result<_, Infallible> = run.routes.clone().oneshot(request).await;
        let (parts, body) = reply.expect("an answer").into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        let status = parts.status;
        if method == "HEAD" {
            return None;
        }
        let answer: Value = serde_json::from_slice(&body)
            .unwrap_or_else(|error| panic!("{method} {path}: {status}: {error}: {body:?}"));
        match (is_verb, method) {
            (false, _) => assert_eq!(status, StatusCode::NOT_FOUND, "{path}"),
            (true, "POST") => assert!(
                !matches!(status.as_u16(), 404 | 405),
                "{path}: {status} {answer}"
            ),
            (true, _) => assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{path}"),
        }
        if status.is_success() {
            assert!(answer.is_object(), "{path}: {answer}");
        } else {
            let told = |key| answer[key].as_str().filter(|text| !text.is_empty());
            assert!(told("Err").is_some(), "{path}: {status} {answer}");
            assert_eq!(told("Err"), told("Error"), "{path}");
        }
        self.learn(&answer);
        Some((status, answer))
    }

    /// Docker's requests one after the other: verbs with their bodies.
    pub async fn ask_all<'a>(
        &mut self,
        run: &Run,
        calls: impl IntoIterator<Item = (&'a str, Value)>,
    ) {
        for (verb, body) in calls {
            let body = body.to_string();
            self.ask(run, "POST", &format!("/{verb}"), body.as_bytes())
                .await;
        }
    }

    /// The fuzzer can't know identifiers that we make up.
    fn learn(&mut self, answer: &Value) {
        for (name, key) in [("$PoolID", "PoolID"), ("$Address", "Address")] {
            if let Some(text) = answer[key].as_str() {
                self.names.retain(|(known, _)| *known != name);
                self.names.push((name, text.to_owned()));
            }
        }
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

/// Changes one exchange's reply.
pub type Tamper = dyn Fn(usize, Response<Bytes>) -> Response<Bytes> + Send + Sync;

/// A Neutron that does as it is asked, and answers what `tamper` makes of its reply.
pub fn lying(tamper: Arc<Tamper>) -> Neutron {
    let embedded = Embedded::default().service();
    let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    Neutron::new(tower::service_fn(move |request| {
        let (embedded, tamper, count) = (embedded.clone(), Arc::clone(&tamper), Arc::clone(&count));
        async move {
            let reply = embedded.oneshot(request).await?;
            let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Ok::<_, Infallible>(tamper(number, reply))
        }
    }))
}

fn settings() -> Settings {
    Settings {
        port_pool: PortPoolSettings {
            enabled: false,
            ..PortPoolSettings::default()
        },
        plugging_timeout: Duration::from_secs(10),
        ..Settings::usual("host1")
    }
}
