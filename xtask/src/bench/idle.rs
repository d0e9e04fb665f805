//! What a connection holds that waits for its next request.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::load::{BODY, PATH};
use super::program::Program;
use super::{IDLE, IdleMemory, Proxy, Token};
use crate::progress::Progress;

/// Connections that are opened before the count begins, so that what is allocated once is not counted.
const FIRST: usize = 50;

type Connection = StreamOwned<ClientConnection, TcpStream>;

/// Opens connections to a fresh proxy, one request on each, and compares its memory before and after.
pub fn measure(proxy: Proxy, program: &Program, port: u16, ca: &Path, tokens: &[Token]) -> Result<IdleMemory> {
    raise_file_limit()?;
    let mut progress = Progress::start(format!("opening {IDLE} connections to {proxy}"));
    let client = Client::new(ca, port)?;
    let mut open = Vec::with_capacity(FIRST + IDLE);
    let mut each = tokens.iter().cycle();
    let mut open_more = |count: usize| -> Result<()> {
        for token in each.by_ref().take(count) {
            open.push(client.connect(token)?);
            progress.tick(&open.len().to_string());
        }
        Ok(())
    };
    open_more(FIRST)?;
    let rss_before_kb = settled(program)?;
    open_more(IDLE)?;
    let rss_after_kb = settled(program)?;
    progress.done("");
    let suite = open.first().and_then(|connection| connection.conn.negotiated_cipher_suite());
    #[expect(clippy::cast_precision_loss, reason = "kilobytes of one process are far below 2^52")]
    let kb_per_connection = (rss_after_kb as f64 - rss_before_kb as f64) / IDLE as f64;
    Ok(IdleMemory {
        proxy,
        connections: IDLE,
        rss_before_kb,
        rss_after_kb,
        kb_per_connection,
        cipher_suite: suite.map_or_else(String::new, |suite| format!("{:?}", suite.suite())),
    })
}

/// The memory after whatever the last request still had to do.
fn settled(program: &Program) -> Result<u64> {
    std::thread::sleep(Duration::from_secs(1));
    program.rss_kb()
}

fn raise_file_limit() -> Result<()> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)
        .context("the limit of open files cannot be raised; raise it with `ulimit -n 8192`")
}

struct Client {
    config: Arc<ClientConfig>,
    port: u16,
}

impl Client {
    fn new(ca: &Path, port: u16) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(ca)?)?;
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Ok(Self { config: Arc::new(config), port })
    }

    /// A connection that has been used once.
    fn connect(&self, token: &Token) -> Result<Connection> {
        let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).context("a connection is not accepted")?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        let name = ServerName::try_from("localhost")?;
        let mut connection = StreamOwned::new(ClientConnection::new(Arc::clone(&self.config), name)?, socket);
        let request = format!(
            "POST {PATH} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{BODY}",
            token.text,
            BODY.len()
        );
        connection.write_all(request.as_bytes())?;
        read_answer(&mut connection)?;
        Ok(connection)
    }
}

fn read_answer(connection: &mut Connection) -> Result<()> {
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let count = connection.read(&mut piece).context("the answer broke off")?;
        answer.extend(piece.iter().take(count));
        let text = String::from_utf8_lossy(&answer);
        if !text.starts_with("HTTP/1.1 2") && text.contains("\r\n") {
            bail!("the answer is not what was expected: {text}");
        }
        if count == 0 {
            bail!("the connection was closed");
        }
        if let Some((_, body)) = text.split_once("\r\n\r\n")
            && body.len() >= super::backend::ANSWER.len()
        {
            return Ok(());
        }
    }
}
