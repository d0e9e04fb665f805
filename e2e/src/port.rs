//! Ports for gateways, each for one.

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// A port of this machine that is one gateway's as long as this lives, whether the gateway is running or not.
///
/// Gateways share their port with whoever else of the same user asks for it (`SO_REUSEPORT`), so two tests, or two runs
/// of the tests, must never be given the same one. A bound socket that never listens keeps it.
pub struct Port {
    number: u16,
    _held: Socket,
}

impl Port {
    /// Takes a port below those the kernel gives to outgoing connections.
    ///
    /// # Panics
    /// When none is free.
    #[must_use]
    pub fn reserve() -> Self {
        let first = 20_000 + u16::try_from(std::process::id() % 600).expect("small") * 20;
        (first..32_700).find_map(Self::hold).expect("a free port")
    }

    fn hold(number: u16) -> Option<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        // Without any wish to share: only when nobody has it.
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, number)).into()).ok()?;
        socket.set_reuse_address(true).expect("set an option");
        socket.set_reuse_port(true).expect("set an option");
        Some(Self { number, _held: socket })
    }

    #[must_use]
    pub const fn number(&self) -> u16 {
        self.number
    }
}
