//! Ports of the host's loopback that lead into a cluster's network.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};

use super::network::Network;
use crate::error::{During, Error, Result};

/// A port on the host's loopback that leads to a server in the cluster.
pub struct Forward {
    outside: SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Forward {
    /// Makes a TCP server inside reachable from the host.
    pub fn start(network: &Network, inside: SocketAddr) -> Result<Forward> {
        let what = || format!("making {inside} of the cluster reachable on loopback");
        // A socket belongs to the network it was made in: this one to the host's, those that the thread
        // makes after its move to the cluster's.
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).during(what)?;
        listener.set_nonblocking(true).during(what)?;
        let outside = listener.local_addr().during(what)?;
        let namespace = network.handle()?;
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (started, ready) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new()
            .name(format!("forward to {inside}"))
            .spawn(move || {
                let prepared = prepare(&namespace, listener);
                let (failed, prepared) = match prepared {
                    Ok(prepared) => (None, Some(prepared)),
                    Err(error) => (Some(error), None),
                };
                if started.send(failed).is_ok()
                    && let Some((runtime, listener)) = prepared
                {
                    runtime.block_on(async {
                        tokio::select! {
                            _ = stopped => (),
                            () = serve(listener, inside) => (),
                        }
                    });
                }
            })
            .during(what)?;
        match ready.recv() {
            Ok(None) => Ok(Forward {
                outside,
                stop: Some(stop),
                thread: Some(thread),
            }),
            Ok(Some(source)) => Err(Error::Io { what: what(), source }),
            Err(_) => Err(Error::Other(format!("{}: its thread ended", what()))),
        }
    }

    /// The address on the host.
    pub fn outside(&self) -> SocketAddr {
        self.outside
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It only ends by the line above; a panic in it has been printed already.
            let _ = thread.join();
        }
    }
}

type Prepared = (tokio::runtime::Runtime, tokio::net::TcpListener);

fn prepare(namespace: &File, listener: std::net::TcpListener) -> std::io::Result<Prepared> {
    Network::join(namespace)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let guard = runtime.enter();
    let listener = tokio::net::TcpListener::from_std(listener)?;
    drop(guard);
    Ok((runtime, listener))
}

async fn serve(listener: tokio::net::TcpListener, inside: SocketAddr) {
    // A failed accept is the caller's connection gone; it tries again by itself.
    loop {
        if let Ok((mut outer, _)) = listener.accept().await {
            tokio::spawn(async move {
                // Dropping the outer connection is what a refused one looks like from outside.
                if let Ok(mut inner) = tokio::net::TcpStream::connect(inside).await {
                    let _ = tokio::io::copy_bidirectional(&mut outer, &mut inner).await;
                }
            });
        }
    }
}
