//! A way to a cluster over TCP that can fall silent without being closed, as when a firewall forgets a connection.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::thread;

/// Listens on a port of 127.0.0.1 and passes on to a socket. Its threads end with the process, or their connections.
pub struct Proxy {
    port: u16,
    /// Connections up to this number are silent.
    silent: Arc<AtomicU64>,
    accepted: Arc<AtomicU64>,
}

impl Proxy {
    /// Starts one in front of a Unix socket.
    pub fn start(socket: PathBuf) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let silent = Arc::new(AtomicU64::new(0));
        let accepted = Arc::new(AtomicU64::new(0));
        let (silenced, count) = (Arc::clone(&silent), Arc::clone(&accepted));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let number = count.fetch_add(1, Ordering::AcqRel) + 1;
                let Ok(server) = UnixStream::connect(&socket) else {
                    continue;
                };
                let back = (client.try_clone(), server.try_clone());
                let (Ok(client_too), Ok(server_too)) = back else {
                    continue;
                };
                let lets = {
                    let silenced = Arc::clone(&silenced);
                    move || silenced.load(Ordering::Acquire) < number
                };
                let lets_back = lets.clone();
                thread::spawn(move || {
                    pass(client, &server, lets);
                    let _ = server.shutdown(Shutdown::Both);
                });
                thread::spawn(move || {
                    pass(server_too, &client_too, lets_back);
                    let _ = client_too.shutdown(Shutdown::Both);
                });
            }
        });
        Proxy {
            port,
            silent,
            accepted,
        }
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many connections were made.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Acquire)
    }

    /// From now on nothing passes through the connections there are. New ones work.
    pub fn fall_silent(&self) {
        self.silent.store(self.accepted(), Ordering::Release);
    }
}

/// Passes on until the end of either side; what comes while it is silent is swallowed.
fn pass<W>(mut from: impl Read, to: &W, lets: impl Fn() -> bool)
where
    for<'a> &'a W: Write,
{
    let mut to = to;
    let mut buffer = [0; 16 * 1024];
    while let Ok(n) = from.read(&mut buffer) {
        if n == 0 || lets() && to.write_all(&buffer[..n]).is_err() {
            return;
        }
    }
}
