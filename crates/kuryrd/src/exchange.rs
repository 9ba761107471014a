//! One question to a server on this machine.

use anyhow::ensure;
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};

/// Asks on a connection of its own, without a body; the JSON that is answered.
pub(crate) async fn exchange<T: DeserializeOwned>(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    method: Method,
    path: &str,
) -> anyhow::Result<T> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "kuryr")
        .body(Empty::<Bytes>::new())?;
    let replied = async move {
        let reply = sender.send_request(request).await?;
        let status = reply.status();
        hyper::Result::Ok((status, reply.into_body().collect().await?.to_bytes()))
    };
    // The connection ends with its sender.
    let (replied, _) = tokio::join!(replied, connection);
    let (status, body) = replied?;
    ensure!(
        status == StatusCode::OK,
        "{}",
        String::from_utf8_lossy(&body).trim_end()
    );
    Ok(serde_json::from_slice(&body)?)
}
