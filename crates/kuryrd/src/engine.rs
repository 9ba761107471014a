//! Docker's own API, by which it says which networks it knows.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use http::Method;
use kuryr_core::{NetworkId, Runtime};
use serde::Deserialize;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::exchange::exchange;

/// The Docker daemon of this host.
#[derive(Debug)]
pub(crate) struct Engine {
    socket: PathBuf,
    driver: String,
}

/// It has all that it is asked for in memory.
const PATIENCE: Duration = Duration::from_secs(5);

impl Engine {
    /// The one that listens at this socket, and knows us by this name.
    pub(crate) fn at(socket: PathBuf, driver: String) -> Self {
        Self { socket, driver }
    }
}

#[async_trait]
impl Runtime for Engine {
    async fn networks(&self) -> io::Result<HashSet<NetworkId>> {
        let asked = async {
            let stream = UnixStream::connect(&self.socket).await?;
            exchange::<Vec<Listed>>(stream, Method::GET, "/networks").await
        };
        let listed = timeout(PATIENCE, asked).await?.map_err(io::Error::other)?;
        if !listed.iter().any(|network| network.driver == self.driver) {
            let (socket, driver) = (self.socket.display(), &self.driver);
            return Err(io::Error::other(format!(
                "the Docker at {socket} has no network of driver {driver}, so it may be another one"
            )));
        }
        Ok(listed
            .into_iter()
            .filter_map(|network| network.id.parse().ok())
            .collect())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
    driver: String,
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use http::{Request, StatusCode};
    use hyper::body::Incoming;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::net::UnixListener;
    use tower::ServiceExt;

    use super::*;

    /// What is made of a Docker that answers so.
    async fn asked(answer: (StatusCode, &'static str)) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("docker.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let routes = Router::new().route("/networks", get(move || std::future::ready(answer)));
        let serving = async {
            let (stream, _) = listener.accept().await.unwrap();
            let stream = TokioIo::new(stream);
            let service = service_fn(|request: Request<Incoming>| routes.clone().oneshot(request));
            hyper::server::conn::http1::Builder::new()
                .serve_connection(stream, service)
                .await
        };
        let docker = Engine::at(socket, "kuryr".to_owned());
        let (networks, _) = tokio::join!(docker.networks(), serving);
        let mut ids: Vec<_> = networks
            .map_err(|error| error.to_string())?
            .iter()
            .map(ToString::to_string)
            .collect();
        ids.sort_unstable();
        Ok(ids)
    }

    #[tokio::test]
    async fn docker_says_which_networks_it_knows() {
        let two = r#"[{"Name": "none", "Id": "a1", "Driver": "null", "Scope": "local"},
                      {"Name": "mine", "Id": "b2", "Driver": "kuryr", "Labels": {}}]"#;
        assert_eq!(asked((StatusCode::OK, two)).await.unwrap(), ["a1", "b2"]);
    }

    #[tokio::test]
    async fn one_that_is_another_or_does_not_answer_is_not_believed() {
        for (status, body, words) in [
            (
                StatusCode::OK,
                r#"[{"Id": "a1", "Driver": "null"}]"#,
                "no network of driver kuryr",
            ),
            (StatusCode::OK, "[]", "no network of driver kuryr"),
            (StatusCode::OK, r#"{"Id": "a1"}"#, "invalid type"),
            (StatusCode::FORBIDDEN, "not for you", "not for you"),
        ] {
            let error = asked((status, body)).await.unwrap_err();
            assert!(error.contains(words), "{body}: {error}");
        }
        let nowhere = Engine::at("/nowhere/docker.sock".into(), "kuryr".to_owned());
        let error = nowhere.networks().await.unwrap_err();
        assert!(error.to_string().contains("No such file"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_silent_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("docker.sock");
        let _listener = UnixListener::bind(&socket).unwrap();
        let silent = Engine::at(socket, "kuryr".to_owned()).networks().await;
        assert_eq!(silent.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
