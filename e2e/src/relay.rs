//! A wire between a client and the gateway that counts its connections.

use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Passes every byte on; it ends with the test's process.
pub struct Relay {
    port: u16,
    connections: Arc<AtomicUsize>,
}

impl Relay {
    /// A wire to this port of this machine.
    ///
    /// # Panics
    /// When it cannot listen.
    #[must_use]
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let own = listener.local_addr().expect("an address").port();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                counted.fetch_add(1, Ordering::SeqCst);
                let Ok(gateway) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                let (Ok(from_client), Ok(from_gateway)) = (client.try_clone(), gateway.try_clone()) else { continue };
                thread::spawn(move || pass(from_client, gateway));
                thread::spawn(move || pass(from_gateway, client));
            }
        });
        Self { port: own, connections }
    }

    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// How many connections there were.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    // However it ends, the other side is told.
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}
