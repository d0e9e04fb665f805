//! Byte streams: TLS towards clients, TLS or plain TCP towards the engine.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use oauth4os_config::Origin;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A connection from a client.
pub(crate) type ClientStream = tokio_rustls::server::TlsStream<TcpStream>;

/// A connection to the engine.
#[derive(Debug)]
pub(crate) enum EngineStream {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

/// How connections to the engine are made.
#[derive(Clone)]
pub(crate) struct Dialer {
    origin: Origin,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Dialer {
    /// A dialer to `origin`; `tls` is used when the origin wants TLS.
    pub(crate) fn new(origin: Origin, tls: Arc<rustls::ClientConfig>) -> Result<Self, InvalidHost> {
        let tls = if origin.tls {
            let name =
                ServerName::try_from(origin.host.clone()).map_err(|_| InvalidHost { host: origin.host.clone() })?;
            Some((TlsConnector::from(tls), name))
        } else {
            None
        };
        Ok(Self { origin, tls })
    }

    /// What the `Host` field of a request says.
    pub(crate) fn authority(&self) -> &str {
        &self.origin.authority
    }

    /// Opens a connection, TLS included.
    pub(crate) async fn dial(&self) -> io::Result<EngineStream> {
        let stream = TcpStream::connect((self.origin.host.as_str(), self.origin.port)).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            None => Ok(EngineStream::Plain(stream)),
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await?;
                Ok(EngineStream::Tls(Box::new(stream)))
            }
        }
    }
}

/// The engine's host cannot be the name in a certificate.
#[derive(Debug, thiserror::Error)]
#[error("`{host}` is neither a host name nor an address; correct the `url` in `upstream`")]
pub struct InvalidHost {
    host: String,
}

impl AsyncRead for EngineStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, space: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, space),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(context, space),
        }
    }
}

impl AsyncWrite for EngineStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
        }
    }
}
