//! A cable to a server that can be cut: what is sent vanishes, and no side is told, in one direction or in both.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

/// What still arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passes {
    All,
    /// What the client says; it hears nothing.
    Questions,
    /// What the server says; it hears nothing.
    Answers,
    Nothing,
}

pub(crate) struct Cable {
    pub(crate) port: u16,
    passes: Arc<watch::Sender<Passes>>,
    task: JoinHandle<()>,
}

impl Cable {
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (here, passes) =
            (listener.local_addr().unwrap().port(), Arc::new(watch::Sender::new(Passes::All)));
        let state = passes.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
                let ((from_client, to_client), (from_server, to_server)) =
                    (client.into_split(), server.into_split());
                tokio::spawn(carry(from_client, to_server, state.subscribe(), Passes::Questions));
                tokio::spawn(carry(from_server, to_client, state.subscribe(), Passes::Answers));
            }
        });
        Self { port: here, passes, task }
    }

    /// From now on only this passes. What was lost meanwhile stays lost.
    pub(crate) fn passes(&self, what: Passes) {
        self.passes.send_replace(what);
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Carries one direction, an end too, unless it is cut.
async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<Passes>,
    way: Passes,
) {
    let mut buffer = vec![0; 65536];
    loop {
        let n = from.read(&mut buffer).await.unwrap_or(0);
        let passes = *state.borrow();
        if passes != Passes::All && passes != way {
            if n > 0 {
                continue;
            }
            // The other side learns of the end when the cable is mended, if ever.
            let _ = state.wait_for(|p| *p == Passes::All || *p == way).await;
            return;
        }
        if n == 0 || to.write_all(&buffer[..n]).await.is_err() {
            return;
        }
    }
}
