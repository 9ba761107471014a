//! What comes out of ovsdb-server's socket, or of whatever listens there. The first line says what is
//! asked; after each request one message is sent, in which `$ID` is that request's number.
#![no_main]

use std::time::Duration;

use kuryr_fuzz::{filled_in, first_line, folder, messages, runtime};
use kuryr_vif::{Attachment, Datapath, Host, HostSettings, Plug, Switch};
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::time::{Instant, timeout};

const PORT: &str = "11111111-1111-1111-1111-111111111111";

fuzz_target!(|input: &[u8]| {
    runtime().block_on(async {
        let folder = folder();
        let socket = folder.path().join("db.sock");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let (asked, rest) = first_line(input);
        let answers: Vec<Vec<u8>> = messages(rest).map(<[u8]>::to_vec).collect();
        let server = tokio::spawn(answer(listener, answers));
        let host = Host::new(HostSettings {
            ovsdb: Some(socket),
            programs: folder.path().join("programs"),
            notes: folder.path().join("notes"),
        });
        // Well beyond the longest deadline in there.
        let asking = timeout(Duration::from_secs(60), ask(&host, asked));
        asking.await.expect("an end");
        server.abort();
    });
});

async fn ask(host: &Host, what: &str) {
    let attachment = Attachment::of_port(
        PORT,
        "e1",
        Switch::OpenVSwitch {
            bridge: "br-int".into(),
            datapath: Datapath::Kernel,
        },
    );
    let attachment = attachment.expect("a port's names");
    let deadline = Instant::now() + Duration::from_secs(5);
    let outcome = match what {
        "wired" => host.wired(&attachment, deadline).await.map(drop),
        // What has this name was made by nobody.
        "unplug" => host.unplug(&attachment, deadline).await,
        "list" => host.attachments("e1").await.map(drop),
        _ => host.all_attachments().await.map(drop),
    };
    if let Err(error) = outcome {
        assert!(!error.to_string().is_empty());
    }
}

/// Sends the next answer whenever something was asked, and hangs up after the last.
async fn answer(listener: UnixListener, answers: Vec<Vec<u8>>) {
    let mut answers = answers.into_iter().peekable();
    while answers.peek().is_some() {
        let Ok((mut stream, _)) = listener.accept().await else {
            return;
        };
        let mut number = 0;
        let mut buffer = [0; 16 * 1024];
        while let Ok(1..) = stream.read(&mut buffer).await {
            number += 1;
            let Some(answer) = answers.next() else {
                return;
            };
            let answer = filled_in(&answer, &[("$ID", number.to_string())]);
            if stream.write_all(&answer).await.is_err() {
                break;
            }
        }
    }
}
