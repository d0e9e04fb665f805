//! What stands before an engine that lets in nobody without a certificate: TLS that requires one, and the real engine
//! behind it, to which it shows none.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::engine::Engine;
use crate::tls;

/// The front; it ends with the test's process.
pub struct Front {
    port: u16,
    folder: TempDir,
    shown: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Front {
    /// Takes certificates of the engine's own authority.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn of_the_engine() -> Self {
        let engine = Engine::get();
        let to_engine = TlsConnector::from(tls::client_config(&engine.ca));
        let folder = tempfile::tempdir().expect("a folder");
        tls::write_server_certificate(folder.path());
        let acceptor = TlsAcceptor::from(requiring(&engine.ca, folder.path()));
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        listener.set_nonblocking(true).expect("a listener");
        let port = listener.local_addr().expect("an address").port();
        let engine_port = engine.port;
        let shown = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&shown);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                loop {
                    let Ok((client, _)) = listener.accept().await else { continue };
                    let (acceptor, to_engine, keep) = (acceptor.clone(), to_engine.clone(), Arc::clone(&keep));
                    tokio::spawn(async move {
                        // Whoever shows no certificate gets no further.
                        let mut client = acceptor.accept(client).await?;
                        let chain = client.get_ref().1.peer_certificates().expect("a certificate");
                        keep.lock().expect("the list").push(chain[0].to_vec());
                        let engine = TcpStream::connect(("127.0.0.1", engine_port)).await?;
                        let name = ServerName::try_from("localhost").expect("a name");
                        let mut engine = to_engine.connect(name, engine).await?;
                        copy_bidirectional(&mut client, &mut engine).await
                    });
                }
            });
        });
        Self { port, folder, shown }
    }

    /// How many connections there were with the certificate in this file.
    ///
    /// # Panics
    /// When the file holds none.
    #[must_use]
    pub fn connections_with(&self, certificate: &Path) -> usize {
        let wanted = CertificateDer::from_pem_file(certificate).expect("a certificate");
        self.shown.lock().expect("the list").iter().filter(|shown| shown.as_slice() == wanted.as_ref()).count()
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// Whom to trust at its address.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("gateway.pem")
    }
}

fn requiring(ca: &Path, folder: &Path) -> Arc<ServerConfig> {
    let certificates = |path: &Path| CertificateDer::pem_file_iter(path).expect("PEM").map(|pem| pem.expect("PEM"));
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca) {
        roots.add(certificate).expect("an authority");
    }
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().expect("a verifier");
    let chain = certificates(&folder.join("gateway.pem")).collect();
    let key = PrivateKeyDer::from_pem_file(folder.join("gateway-key.pem")).expect("a key");
    let mut config =
        ServerConfig::builder().with_client_cert_verifier(verifier).with_single_cert(chain, key).expect("a pair");
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}
