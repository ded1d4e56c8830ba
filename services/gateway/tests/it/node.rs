//! A gateway, and what stands behind it.

use std::time::Duration;

use hero_gateway::{Gateway, GatewayConfig};
use hero_proto::{
    FILE_DESCRIPTOR_SET, circle_server, job_server, key_server, runner_server, schedule_server,
};
use hero_runtime::{
    Address, Context, DrainConfig, GrpcConfig, Health, Listener, Service as _, Shutdown, ShutdownTrigger,
    grpc,
};
use hero_testing::FakeNode;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use jsonrpsee::{
    http_client::{HttpClient, HttpClientBuilder},
    ws_client::{WsClient, WsClientBuilder},
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    task::JoinHandle,
};

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway before a made-up node.
pub(crate) struct Node {
    pub(crate) ports: FakeNode,
    pub(crate) health: Health,
    pub(crate) trigger: ShutdownTrigger,
    pub(crate) gateway: JoinHandle<anyhow::Result<()>>,
    pub(crate) supervisor: Option<Supervisor>,
    port: u16,
}

/// The made-up supervisor, over real gRPC.
pub(crate) struct Supervisor {
    pub(crate) address: Address,
    trigger: ShutdownTrigger,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Supervisor {
    pub(crate) async fn start(ports: &FakeNode, address: &Address) -> Self {
        let listener = Listener::bind(address).await.unwrap();
        let address = listener.address().clone();
        let (trigger, shutdown) = Shutdown::new(DrainConfig::default());
        let server = grpc::Server::new(&GrpcConfig::default(), &Health::new())
            .add_service(job_server(ports.clone()))
            .add_service(runner_server(ports.clone()))
            .add_service(key_server(ports.clone()))
            .add_service(schedule_server(ports.clone()))
            .add_service(circle_server(ports.clone()))
            .descriptors(FILE_DESCRIPTOR_SET);
        let task = tokio::spawn(server.serve(listener, shutdown));
        Self { address, trigger, task }
    }

    pub(crate) async fn stop(self) {
        self.trigger.stop();
        self.task.await.unwrap().unwrap();
    }
}

impl Node {
    /// A ready gateway with these settings.
    pub(crate) async fn with(change: impl FnOnce(&mut GatewayConfig)) -> Self {
        let node = Self::unready(change).await;
        node.ready().await;
        node
    }

    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn unready(change: impl FnOnce(&mut GatewayConfig)) -> Self {
        let ports = FakeNode::new();
        let supervisor = Supervisor::start(&ports, &Address::loopback(0)).await;
        let mut config = GatewayConfig {
            listen: Address::loopback(0),
            supervisor: supervisor.address.clone(),
            ..GatewayConfig::default()
        };
        change(&mut config);
        let cx = Context::detached();
        let (trigger, shutdown) = Shutdown::new(config.drain);
        let gateway = Gateway::bind(config, &cx).await.unwrap();
        let port = gateway.addresses().get("http").unwrap().port().unwrap();
        let gateway = tokio::spawn(gateway.run(shutdown));
        Self { ports, health: cx.health, trigger, gateway, supervisor: Some(supervisor), port }
    }

    pub(crate) async fn ready(&self) {
        let ready = tokio::time::timeout(PATIENCE, self.health.ready()).await;
        assert!(ready.is_ok(), "not ready: {:?}", self.health.report());
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn http(&self) -> HttpClient {
        HttpClientBuilder::default()
            .request_timeout(PATIENCE)
            .build(format!("http://{}", self.address()))
            .unwrap()
    }

    pub(crate) async fn ws(&self) -> WsClient {
        let client = WsClientBuilder::default().request_timeout(PATIENCE);
        client.build(format!("ws://{}", self.address())).await.unwrap()
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address()).await.unwrap()
    }

    /// Sends a request on a connection of its own.
    pub(crate) async fn send(&self, request: http::Request<String>) -> Answer {
        let (mut sender, connection) = http1::handshake(TokioIo::new(self.connect().await)).await.unwrap();
        tokio::spawn(connection);
        let response = sender.send_request(request.map(Full::<bytes::Bytes>::from)).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { parts, text: String::from_utf8(body.to_vec()).unwrap() }
    }

    /// A POST of this text, as curl would send it.
    pub(crate) async fn post(&self, body: &str) -> Answer {
        self.send(self.request(body).body(body.to_owned()).unwrap()).await
    }

    pub(crate) fn request(&self, body: &str) -> http::request::Builder {
        let request =
            http::Request::post("/").header("host", self.address()).header("content-length", body.len());
        request.header("content-type", "application/json")
    }

    /// A WebSocket by hand.
    pub(crate) async fn socket(&self) -> Socket {
        self.socket_with("").await.1
    }

    /// The same with more lines in its head, and the head of the answer.
    pub(crate) async fn socket_with(&self, lines: &str) -> (String, Socket) {
        // Little room on this side: what is not read shows on the other side soon.
        let unconnected = TcpSocket::new_v4().unwrap();
        unconnected.set_recv_buffer_size(16 << 10).unwrap();
        let mut stream = unconnected.connect(self.address().parse().unwrap()).await.unwrap();
        let handshake = format!(
            "GET / HTTP/1.1\r\nhost: {}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{lines}\r\n",
            self.address()
        );
        stream.write_all(handshake.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        assert!(head.starts_with("http/1.1 101"), "{head}");
        (head, Socket(stream))
    }

    /// Sends bytes as they are and reads until the server closes.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        read.expect("the server closes").unwrap();
        String::from_utf8(answer).unwrap()
    }
}

/// A WebSocket by hand, for what no client library would send.
pub(crate) struct Socket(TcpStream);

impl Socket {
    pub(crate) async fn try_send(&mut self, text: &str) -> std::io::Result<()> {
        let mut frame = vec![0x81];
        match u16::try_from(text.len()) {
            Ok(length @ ..126) => frame.push(0x80 | u8::try_from(length).unwrap()),
            Ok(length) => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&length.to_be_bytes());
            }
            Err(_) => {
                frame.push(0x80 | 127);
                frame.extend_from_slice(&u64::try_from(text.len()).unwrap().to_be_bytes());
            }
        }
        // A mask of zeros leaves the text as it is.
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(text.as_bytes());
        self.0.write_all(&frame).await
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.try_send(text).await.unwrap();
    }

    /// The next message, of less than 64 KiB.
    pub(crate) async fn receive(&mut self) -> Value {
        tokio::time::timeout(PATIENCE, self.read_frame()).await.expect("a message comes")
    }

    async fn read_frame(&mut self) -> Value {
        loop {
            let kind = self.0.read_u8().await.unwrap();
            let length = match self.0.read_u8().await.unwrap() {
                126 => usize::from(self.0.read_u16().await.unwrap()),
                length => usize::from(length),
            };
            let mut text = vec![0; length];
            self.0.read_exact(&mut text).await.unwrap();
            // Pings come in between.
            if kind == 0x81 {
                return serde_json::from_slice(&text).unwrap();
            }
        }
    }
}

/// An HTTP response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) parts: http::response::Parts,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.parts.status.as_u16()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.parts.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// Status, JSON-RPC code and reason of a refusal.
    pub(crate) fn refusal(&self) -> (u16, i64, String) {
        let error = &self.json()["error"];
        let reason = error["data"]["reason"].as_str().unwrap_or_default().to_owned();
        (self.status(), error["code"].as_i64().unwrap_or_default(), reason)
    }
}
