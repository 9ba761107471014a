//! What must never be seen.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use http::StatusCode;
use keystone::{Auth, Session, Settings};
use tracing::Dispatch;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::cloud::{Cloud, PASSWORD, get};

#[tokio::test]
async fn no_secret_is_in_what_is_logged_or_shown() {
    // While there is but one subscriber, tracing lets any thread that comes by a callsite first,
    // such as another test's, switch it off for all. So let there be two.
    let _another = Dispatch::new(tracing_subscriber::registry());
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);

    let cloud = Cloud::start().await;
    let session = cloud.session();
    get(&session, "/v2.0/ports?name=in-the-query")
        .await
        .unwrap();
    cloud.state().refuse = 1;
    assert_eq!(
        get(&session, "/v2.0/networks").await.unwrap().status(),
        StatusCode::OK
    );
    let mut shown = format!("{:?} {session:?}", cloud.settings());

    for auth in [
        cloud.password_auth("wrong-and-quoted"),
        Auth::HttpBasic {
            endpoint: cloud.at.parse().unwrap(),
            username: "kuryr".into(),
            password: PASSWORD.into(),
        },
        Auth::Token {
            auth_url: "http://127.0.0.1:1".parse().unwrap(),
            token: "given-token".into(),
            scope: keystone::Scope::Unspecified,
        },
        Auth::ApplicationCredential {
            auth_url: "http://127.0.0.1:1".parse().unwrap(),
            credential: keystone::ApplicationCredential::Id("c".into()),
            secret: PASSWORD.into(),
        },
    ] {
        let settings = Settings {
            auth,
            ..cloud.settings()
        };
        shown += &format!("{settings:?}");
        let session = Session::new(settings).unwrap();
        if let Err(error) = get(&session, "/v2.0/ports").await {
            shown += &format!("{error} {error:?}");
        }
    }
    drop(guard);

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let basic = "a3VyeXI6Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5";
    for secret in [
        PASSWORD,
        basic,
        "wrong-and-quoted",
        "given-token",
        "token-0",
        "token-1",
        "in-the-query",
    ] {
        assert!(!log.contains(secret), "{secret} in {log}");
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
    let exchange = log
        .lines()
        .find(|line| line.contains("/v2.0/networks") && line.contains("200"));
    let exchange = exchange.unwrap_or_else(|| panic!("{log}"));
    for part in ["DEBUG", "method=GET", "duration=", "req-42"] {
        assert!(exchange.contains(part), "{part} not in {exchange}");
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
