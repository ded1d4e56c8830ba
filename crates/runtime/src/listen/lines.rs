//! Asking peers: one line out, one line back, over pooled connections, with bounds and a circuit breaker for each
//! peer. What the lines say is not known here.

use std::{
    collections::HashMap,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use hero_config::{Invalid, Validate, ensure};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    sync::Semaphore,
};

use super::{Address, Connector, Stream};

/// Peers that are remembered before those without connections are forgotten.
const REMEMBERED_PEERS: usize = 1_024;

/// The bounds of asking a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LinesConfig {
    /// How long connecting may take, the TLS handshake included.
    pub connect_timeout_ms: u64,
    /// Bytes of one answer.
    pub max_answer_bytes: usize,
    /// Questions to one peer that run at a time; each has a connection of its own meanwhile.
    pub max_concurrent: usize,
    /// Idle connections to one peer that are kept.
    pub max_idle: usize,
    /// How long an idle connection is kept.
    pub idle_timeout_ms: u64,
    /// After so many failures in a row a peer is left alone for a while.
    pub breaker_failures: u32,
    /// For how long it is left alone, before one question tries it again.
    pub breaker_pause_ms: u64,
}

impl Default for LinesConfig {
    fn default() -> Self {
        Self {
            connect_timeout_ms: 2_000,
            max_answer_bytes: 10 << 20,
            max_concurrent: 64,
            max_idle: 16,
            idle_timeout_ms: 60_000,
            breaker_failures: 5,
            breaker_pause_ms: 5_000,
        }
    }
}

impl Validate for LinesConfig {
    fn validate(&self) -> Result<(), Invalid> {
        for (key, value) in [
            ("connect_timeout_ms", self.connect_timeout_ms),
            ("max_answer_bytes", self.max_answer_bytes as u64),
            ("max_concurrent", self.max_concurrent as u64),
            ("breaker_failures", self.breaker_failures.into()),
            ("breaker_pause_ms", self.breaker_pause_ms),
        ] {
            ensure((1..=1 << 30).contains(&value), key, "it must be 1 to 1073741824")?;
        }
        Ok(())
    }
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// As many questions as may run at a time do run.
    #[error("{0} questions to it run at a time, which is the most")]
    Busy(usize),
    /// It has failed too often lately.
    #[error("it has failed {failures} times in a row, and is tried again in {} ms", pause.as_millis())]
    Resting {
        /// How often.
        failures: u32,
        /// For how long it will be left alone.
        pause: Duration,
    },
    /// Nobody answers there: the question was not asked.
    #[error("it cannot be reached: {0}")]
    Connect(#[source] io::Error),
    /// The connection ended before the answer was there; the question may have been understood.
    #[error("the connection ended before the answer was whole: {0}")]
    Lost(#[source] io::Error),
    /// The time was over.
    #[error("it did not answer in time")]
    Late,
    /// The answer has more bytes than are taken.
    #[error("its answer has more than {0} bytes")]
    TooLarge(usize),
}

/// The peers that are asked. Cheap to clone; all clones share the connections.
#[derive(Debug, Clone)]
pub struct Peers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    connector: Connector,
    config: LinesConfig,
    peers: Mutex<HashMap<Address, Arc<Peer>>>,
}

#[derive(Debug)]
struct Peer {
    running: Semaphore,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    idle: Vec<(Connection, Instant)>,
    failures: u32,
    /// The failures before the last answer, should that turn out to be of no use.
    forgiven: u32,
    resting_until: Option<Instant>,
}

type Connection = BufReader<Stream>;

impl Peers {
    /// Nobody has been asked yet.
    #[must_use]
    pub fn new(connector: Connector, config: LinesConfig) -> Self {
        Self(Arc::new(Inner { connector, config, peers: Mutex::default() }))
    }

    /// Sends a line (without its end; line breaks in it become blanks) and returns the line that comes back.
    ///
    /// # Errors
    /// [`LineError`].
    pub async fn ask(&self, address: &Address, line: &str, time: Duration) -> Result<String, LineError> {
        let peer = self.peer(address);
        let _running =
            peer.running.try_acquire().map_err(|_| LineError::Busy(self.0.config.max_concurrent))?;
        self.admit(&peer)?;
        let asked = tokio::time::timeout(time, self.exchange(address, &peer, line)).await;
        let answer = asked.unwrap_or(Err(LineError::Late));
        self.note(&peer, &answer);
        answer
    }

    /// Notes that a peer's answer was of no use, which counts like no answer.
    pub fn distrust(&self, address: &Address) {
        let peer = self.peer(address);
        let mut state = peer.state.lock();
        state.failures = state.failures.max(state.forgiven);
        self.count(&mut state);
    }

    fn peer(&self, address: &Address) -> Arc<Peer> {
        let mut peers = self.0.peers.lock();
        if let Some(peer) = peers.get(address) {
            return Arc::clone(peer);
        }
        if peers.len() >= REMEMBERED_PEERS {
            peers.retain(|_, peer| Arc::strong_count(peer) > 1 || !peer.state.lock().idle.is_empty());
        }
        let running = Semaphore::new(self.0.config.max_concurrent);
        let peer = Arc::new(Peer { running, state: Mutex::default() });
        peers.insert(address.clone(), Arc::clone(&peer));
        peer
    }

    /// Whether the peer may be asked; after its rest, by one question first.
    fn admit(&self, peer: &Peer) -> Result<(), LineError> {
        let mut state = peer.state.lock();
        let now = Instant::now();
        match state.resting_until {
            Some(until) if until > now => {
                Err(LineError::Resting { failures: state.failures, pause: until - now })
            }
            Some(_) => {
                state.resting_until = Some(now + Duration::from_millis(self.0.config.breaker_pause_ms));
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn note(&self, peer: &Peer, answer: &Result<String, LineError>) {
        let mut state = peer.state.lock();
        if answer.is_ok() {
            (state.forgiven, state.failures, state.resting_until) = (state.failures, 0, None);
        } else {
            self.count(&mut state);
        }
    }

    fn count(&self, state: &mut State) {
        state.failures = state.failures.saturating_add(1);
        // Whatever went wrong on one connection, the others are as old.
        state.idle.clear();
        if state.failures >= self.0.config.breaker_failures {
            let pause = Duration::from_millis(self.0.config.breaker_pause_ms);
            state.resting_until = Some(Instant::now() + pause);
        }
    }

    async fn exchange(&self, address: &Address, peer: &Peer, line: &str) -> Result<String, LineError> {
        let mut connection = match self.idle(peer) {
            Some(connection) => connection,
            None => self.connect(address).await?,
        };
        let mut bytes = Vec::with_capacity(line.len() + 1);
        // Within JSON a line break can only be white space.
        bytes.extend(line.bytes().map(|byte| if byte == b'\n' { b' ' } else { byte }));
        bytes.push(b'\n');
        connection.write_all(&bytes).await.map_err(LineError::Lost)?;
        connection.flush().await.map_err(LineError::Lost)?;
        let answer = self.read(&mut connection).await?;
        let mut state = peer.state.lock();
        if state.idle.len() < self.0.config.max_idle && connection.buffer().is_empty() {
            state.idle.push((connection, Instant::now()));
        }
        Ok(answer)
    }

    /// A kept connection on which nothing has come in since: bytes, or its end, would be out of order.
    fn idle(&self, peer: &Peer) -> Option<Connection> {
        let mut state = peer.state.lock();
        let kept = Duration::from_millis(self.0.config.idle_timeout_ms);
        state.idle.retain(|(_, since)| since.elapsed() < kept);
        while let Some((connection, _)) = state.idle.pop() {
            if connection.get_ref().is_quiet() {
                return Some(connection);
            }
        }
        None
    }

    async fn connect(&self, address: &Address) -> Result<Connection, LineError> {
        let longest = Duration::from_millis(self.0.config.connect_timeout_ms);
        let connected = tokio::time::timeout(longest, self.0.connector.connect(address)).await;
        let timed_out = |_| LineError::Connect(io::ErrorKind::TimedOut.into());
        Ok(BufReader::new(connected.map_err(timed_out)?.map_err(LineError::Connect)?))
    }

    async fn read(&self, connection: &mut Connection) -> Result<String, LineError> {
        let most = self.0.config.max_answer_bytes;
        let mut bytes = Vec::new();
        connection.take(most as u64 + 1).read_until(b'\n', &mut bytes).await.map_err(LineError::Lost)?;
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        } else if bytes.len() > most {
            return Err(LineError::TooLarge(most));
        } else {
            return Err(LineError::Lost(io::ErrorKind::UnexpectedEof.into()));
        }
        String::from_utf8(bytes)
            .map_err(|error| LineError::Lost(io::Error::new(io::ErrorKind::InvalidData, error)))
    }
}
