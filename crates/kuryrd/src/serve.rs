//! HTTP/1.1 on a socket: connections that stay open, calls that run to their end.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kuryr_core::{Caller, Program};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::listen::{Listener, Socket};

/// A client that does not finish its TLS handshake in this time is hung up on.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to rest when the kernel has no more file descriptors for us.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `routes` on `socket` until `stop`; `tasks` knows what is then still going on.
pub(crate) async fn serve(
    socket: Socket,
    routes: Router,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    let server = Arc::new(Server {
        routes,
        stop: stop.clone(),
    });
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = accept(&socket.listener) => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, place = socket.place, "could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let server = server.clone();
        match socket.tls.clone() {
            None => drop(tasks.spawn(async move { server.converse(stream, peer).await })),
            Some(tls) => drop(tasks.spawn(async move {
                let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream));
                let shaken = tokio::select! {
                    () = server.stop.cancelled() => return,
                    shaken = handshake => shaken,
                };
                match shaken {
                    Ok(Ok(stream)) => server.converse(stream, peer).await,
                    Ok(Err(error)) => tracing::warn!(%error, "refused a client"),
                    Err(_) => tracing::warn!("hung up on a client that did not speak TLS"),
                }
            })),
        }
    }
}

/// Any stream of bytes.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A connection, and the program that has made it, where that is on this machine and to be seen from here.
type Accepted = (Box<dyn Stream>, Option<Program>);

async fn accept(listener: &Listener) -> std::io::Result<Accepted> {
    match listener {
        Listener::Unix(listener) => {
            let (stream, _) = listener.accept().await?;
            let pid = stream.peer_cred().ok().and_then(|peer| peer.pid());
            let program = pid.and_then(|pid| Program::with_pid(pid.try_into().ok()?));
            Ok((Box::new(stream), program))
        }
        Listener::Tcp(listener) => {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            Ok((Box::new(stream), None))
        }
    }
}

struct Server {
    routes: Router,
    stop: CancellationToken,
}

impl Server {
    /// Answers on one connection until the client hangs up, whereupon what answers it is dropped, or until the call that is running when
    /// `stop` comes has been answered. An idle connection has no limit: Docker keeps its own open,
    /// and a call that meets a closed one arrives a second time with an empty body.
    async fn converse(&self, stream: impl Stream, peer: Option<Program>) {
        let answer = service_fn(|mut request: Request<Incoming>| {
            let caller = peer.map(Caller::from).unwrap_or_default();
            request.extensions_mut().insert(caller);
            self.routes.clone().oneshot(request)
        });
        let connection = http1::Builder::new()
            .header_read_timeout(None)
            .serve_connection(TokioIo::new(stream), answer);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection broke");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use axum::Extension;
    use axum::routing::post;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;
    use tokio::sync::Notify;

    use super::*;
    use crate::listen::{self, Address};

    /// A server with three calls: one at once, one that waits to be told, one that panics.
    struct Subject {
        dir: tempfile::TempDir,
        stop: CancellationToken,
        tasks: TaskTracker,
        go_on: Arc<Notify>,
        cut_off: Arc<AtomicBool>,
    }

    /// Notes that it was dropped.
    struct OnDrop(Arc<AtomicBool>);

    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    impl Subject {
        fn start() -> Self {
            let subject = Self {
                dir: tempfile::tempdir().unwrap(),
                stop: CancellationToken::new(),
                tasks: TaskTracker::new(),
                go_on: Arc::default(),
                cut_off: Arc::default(),
            };
            let (go_on, cut_off) = (subject.go_on.clone(), subject.cut_off.clone());
            let slow = async move || {
                let cut = OnDrop(cut_off);
                go_on.notified().await;
                std::mem::forget(cut);
                "slow"
            };
            let routes = Router::new()
                .route("/fast", post(async || "fast"))
                .route("/slow", post(slow))
                .route("/caller", post(calling))
                .route("/panic", post(panicking));
            let address = Address::Unix(subject.dir.path().join("socket"));
            let socket = listen::open(&address, None).unwrap();
            let (stop, tasks) = (subject.stop.clone(), subject.tasks.clone());
            tasks.spawn(serve(socket, routes, stop, tasks.clone()));
            subject
        }

        async fn ask(&self, path: &str) -> UnixStream {
            let mut stream = UnixStream::connect(self.dir.path().join("socket"))
                .await
                .unwrap();
            stream.write_all(head(path).as_bytes()).await.unwrap();
            stream
        }

        async fn drained(self) {
            self.tasks.close();
            let waited = tokio::time::timeout(Duration::from_secs(10), self.tasks.wait());
            waited.await.unwrap();
        }
    }

    fn head(path: &str) -> String {
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    }

    async fn calling(Extension(caller): Extension<Caller>) -> String {
        format!("{:?}", caller.program())
    }

    async fn panicking() -> &'static str {
        panic!("as a test")
    }

    async fn reply(stream: &mut UnixStream) -> String {
        let mut buffer = [0; 1024];
        let length = stream.read(&mut buffer).await.unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    async fn a_while() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    #[tokio::test]
    async fn a_running_call_is_answered_after_the_stop() {
        let subject = Subject::start();
        let mut running = subject.ask("/slow").await;
        a_while().await;
        subject.stop.cancel();
        a_while().await;
        assert!(!subject.tasks.is_empty());
        subject.go_on.notify_one();
        assert!(reply(&mut running).await.ends_with("slow"));
        subject.drained().await;
    }

    #[tokio::test]
    async fn a_client_that_hangs_up_is_noticed() {
        let subject = Subject::start();
        let running = subject.ask("/slow").await;
        a_while().await;
        assert!(!subject.cut_off.load(Ordering::Relaxed));
        drop(running);
        a_while().await;
        assert!(subject.cut_off.load(Ordering::Relaxed));
        subject.stop.cancel();
        subject.drained().await;
    }

    #[tokio::test]
    async fn a_client_that_leaves_an_answer_unread_is_noticed_too() {
        let subject = Subject::start();
        let mut stream = subject.ask("/fast").await;
        a_while().await;
        // What is unread makes the kernel tell the server of a broken connection at once.
        stream.write_all(head("/slow").as_bytes()).await.unwrap();
        a_while().await;
        assert!(!subject.cut_off.load(Ordering::Relaxed));
        drop(stream);
        a_while().await;
        assert!(subject.cut_off.load(Ordering::Relaxed));
        subject.stop.cancel();
        subject.drained().await;
    }

    #[tokio::test]
    async fn it_is_known_which_program_calls() {
        let subject = Subject::start();
        let said = reply(&mut subject.ask("/caller").await).await;
        let me = Program::with_pid(std::process::id());
        assert!(said.ends_with(&format!("{me:?}")), "{said}");
        subject.stop.cancel();
        subject.drained().await;
    }

    #[tokio::test]
    async fn a_panic_hurts_no_other_call() {
        let subject = Subject::start();
        let mut hurt = subject.ask("/panic").await;
        assert_eq!(reply(&mut hurt).await, "");
        let said = reply(&mut subject.ask("/fast").await).await;
        assert!(said.ends_with("fast"), "{said}");
    }
}
