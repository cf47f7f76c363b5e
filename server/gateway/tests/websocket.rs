//! The WebSocket layer, judged by an independent client and by raw bytes, over the echo server.

#[path = "websocket/deflate.rs"]
mod deflate;

use std::io::{ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use fanfare_engine::{Reader as _, Sink};
use fanfare_gateway::HttpOptions;
use fanfare_gateway::transport::echo::Echo;
use fanfare_gateway::transport::websocket::WebSocketReader;
use fanfare_gateway::transport::{Stream, listener, tls};
use fanfare_protocol::websocket::Options;
use futures_util::{SinkExt, StreamExt};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame};
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{WebSocketStream, client_async};
use tokio_util::sync::CancellationToken;

const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
const REQUEST: &str = "GET /any HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// "Hello", masked: the example of RFC 6455 §5.7.
const HELLO: [u8; 11] = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
/// The same from the server.
const HELLO_BACK: [u8; 7] = [0x81, 0x05, b'H', b'e', b'l', b'l', b'o'];

/// An echo server that ends with the test.
struct Server {
    addr: SocketAddr,
    tls: Option<CertificateDer<'static>>,
    _tasks: JoinSet<()>,
}

impl Server {
    fn start(
        fragments_max: Option<u32>,
        tls: Option<(TlsAcceptor, CertificateDer<'static>)>,
        http: HttpOptions,
    ) -> Self {
        let listener = listener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("binds");
        let addr = listener.local_addr().expect("is bound");
        let echo = Echo { bounds: Options { message_bytes_max: MESSAGE_BYTES_MAX, fragments_max, deflate: true } };
        let (acceptor, certificate) = tls.unzip();
        let mut tasks = JoinSet::new();
        tasks.spawn(listener::listen(listener, echo, acceptor, http, CancellationToken::new()));
        Self { addr, tls: certificate, _tasks: tasks }
    }

    fn plain() -> Self {
        Self::start(None, None, HttpOptions::default())
    }

    fn encrypted() -> Self {
        Self::start(None, Some(acceptor()), HttpOptions::default())
    }

    async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.addr).await.expect("connects")
    }

    async fn tls(&self) -> tokio_rustls::client::TlsStream<TcpStream> {
        encrypt(self.tcp().await, self.tls.clone().expect("speaks TLS")).await
    }

    async fn client(&self) -> WebSocketStream<TcpStream> {
        client_async("ws://x/any/path", self.tcp().await).await.expect("is accepted").0
    }
}

fn acceptor() -> (TlsAcceptor, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("makes a certificate");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("is a key");
    let certificate = made.cert.der().clone();
    (tls::acceptor_of(vec![certificate.clone()], key).expect("fits"), certificate)
}

async fn encrypt(tcp: TcpStream, trusted: CertificateDer<'static>) -> tokio_rustls::client::TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted).expect("is a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("are supported")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("is a name");
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await.expect("shakes hands")
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 31 % 251) as u8).collect()
}

async fn echoes_everything(mut client: WebSocketStream<impl AsyncRead + AsyncWrite + Unpin>) {
    for length in [0, 1, 125, 126, 65_535, 65_536, 200_000, MESSAGE_BYTES_MAX] {
        let binary = Message::binary(pattern(length));
        client.send(binary.clone()).await.expect("sends");
        assert_eq!(client.next().await.expect("answers").expect("binary"), binary, "{length}");
    }
    let text = Message::text("ü€😀".repeat(50_000));
    client.send(text.clone()).await.expect("sends");
    assert_eq!(client.next().await.expect("answers").expect("text"), text);
}

#[tokio::test]
async fn messages_of_every_size_come_back() {
    echoes_everything(Server::plain().client().await).await;
}

#[tokio::test]
async fn messages_of_every_size_come_back_over_tls() {
    let server = Server::encrypted();
    let (client, _) = client_async("wss://localhost/", server.tls().await).await.expect("is accepted");
    echoes_everything(client).await;
}

#[tokio::test]
async fn fragments_are_joined_and_pings_between_them_answered() {
    let server = Server::plain();
    let mut client = server.client().await;
    let part =
        |bytes: &'static [u8], opcode, fin| Message::Frame(Frame::message(Bytes::from_static(bytes), opcode, fin));
    client.send(part("häl".as_bytes().split_at(2).0, OpCode::Data(Data::Text), false)).await.expect("sends");
    client.send(Message::Ping(Bytes::from_static(b"still there?"))).await.expect("sends");
    assert_eq!(
        client.next().await.expect("answers").expect("a frame"),
        Message::Pong(Bytes::from_static(b"still there?"))
    );
    client.send(part("häl".as_bytes().split_at(2).1, OpCode::Data(Data::Continue), false)).await.expect("sends");
    client.send(part(b"", OpCode::Data(Data::Continue), false)).await.expect("sends");
    client.send(part(b"lo", OpCode::Data(Data::Continue), true)).await.expect("sends");
    assert_eq!(client.next().await.expect("answers").expect("a frame"), Message::text("hällo"));
}

#[tokio::test]
async fn a_goodbye_is_answered_with_its_own_status() {
    for code in [1000, 1001, 3000, 4999] {
        let server = Server::plain();
        let mut client = server.client().await;
        let goodbye = CloseFrame { code: CloseCode::from(code), reason: "done".into() };
        client.send(Message::Close(Some(goodbye))).await.expect("sends");
        let Some(Ok(Message::Close(Some(answer)))) = client.next().await else { panic!("no goodbye to {code}") };
        assert_eq!(u16::from(answer.code), code);
        assert!(client.next().await.is_none(), "the link ends");
    }
}

/// Shakes hands on a raw socket, sending what comes behind the request in the same write.
async fn raw(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), behind: &[u8]) {
    stream.write_all(&[REQUEST.as_bytes(), behind].concat()).await.expect("writes");
    read_head(stream).await;
}

async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("the answer goes on"));
    }
    String::from_utf8(head).expect("is text")
}

#[tokio::test]
async fn a_frame_in_the_segment_of_the_request_is_not_lost() {
    let server = Server::plain();
    let mut stream = server.tcp().await;
    raw(&mut stream, &[&HELLO[..], &HELLO[..], &HELLO[..3]].concat()).await;
    stream.write_all(&HELLO[3..]).await.expect("writes");
    let mut answer = [0; 21];
    stream.read_exact(&mut answer).await.expect("answers");
    assert_eq!(answer, *[HELLO_BACK; 3].as_flattened());
}

#[tokio::test]
async fn a_frame_in_the_record_of_the_request_is_not_lost() {
    let server = Server::encrypted();
    let mut stream = server.tls().await;
    // More than HTTP reads at once, so that some of it stays behind in the TLS session.
    raw(&mut stream, &HELLO.repeat(1_000)).await;
    let mut answer = vec![0; 7_000];
    stream.read_exact(&mut answer).await.expect("answers");
    assert_eq!(answer, HELLO_BACK.repeat(1_000));
}

#[tokio::test]
async fn one_byte_at_a_time_is_as_good_as_all_at_once() {
    let server = Server::plain();
    let mut stream = server.tcp().await;
    stream.set_nodelay(true).expect("is a socket");
    for byte in REQUEST.as_bytes() {
        stream.write_all(&[*byte]).await.expect("writes");
        tokio::task::yield_now().await;
    }
    let head = read_head(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.to_lowercase().contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"), "{head}");
    for byte in HELLO {
        stream.write_all(&[byte]).await.expect("writes");
        tokio::task::yield_now().await;
    }
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).await.expect("answers");
    assert_eq!(answer, HELLO_BACK);
}

#[tokio::test]
async fn what_breaks_the_protocol_is_closed_with_its_status() {
    let too_large = [&[0x82, 0xff], &(MESSAGE_BYTES_MAX as u64 + 1).to_be_bytes()[..], &[0; 4]].concat();
    let cases: [(&str, u16, &[u8]); 6] = [
        ("not masked", 1002, &[0x81, 0x01, b'a']),
        ("a reserved bit", 1002, &[0xc1, 0x80, 0, 0, 0, 0]),
        ("no such opcode", 1002, &[0x83, 0x80, 0, 0, 0, 0]),
        ("not UTF-8", 1007, &[0x81, 0x81, 0, 0, 0, 0, 0xff]),
        ("too large", 1009, &too_large),
        ("nothing to continue", 1002, &[0x80, 0x80, 0, 0, 0, 0]),
    ];
    for (name, status, bytes) in cases {
        let server = Server::plain();
        let mut stream = server.tcp().await;
        raw(&mut stream, bytes).await;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("the server ends the link");
        assert_eq!(answer[0], 0x88, "{name}");
        assert_eq!(u16::from_be_bytes([answer[2], answer[3]]), status, "{name}");
    }
}

#[tokio::test]
async fn fragments_are_counted_where_a_bound_is_set() {
    let server = Server::start(Some(4), None, HttpOptions::default());
    let mut stream = server.tcp().await;
    let mut bytes = vec![0x02, 0x80, 0, 0, 0, 0];
    bytes.extend([0x00, 0x80, 0, 0, 0, 0].repeat(4));
    raw(&mut stream, &bytes).await;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("the server ends the link");
    assert_eq!((answer[0], u16::from_be_bytes([answer[2], answer[3]])), (0x88, 1008));
}

#[tokio::test]
async fn a_request_that_is_no_handshake_is_told_what_would_be() {
    let server = Server::plain();
    let cases = [
        (REQUEST.replace("Upgrade: websocket\r\n", ""), "426", "upgrade: websocket"),
        (REQUEST.replace("Version: 13", "Version: 8"), "426", "sec-websocket-version: 13"),
        (REQUEST.replace("dGhlIHNhbXBsZSBub25jZQ==", "short"), "400", ""),
        (REQUEST.replace("Host: x\r\n", ""), "400", ""),
        (REQUEST.replace("GET", "POST"), "405", "allow: get"),
        (REQUEST.replace("HTTP/1.1", "HTTP/1.0"), "505", ""),
    ];
    for (request, status, header) in cases {
        let mut stream = server.tcp().await;
        stream.write_all(request.as_bytes()).await.expect("writes");
        let head = read_head(&mut stream).await.to_lowercase();
        assert!(head.split(' ').nth(1) == Some(status) && head.contains(header), "{request}{head}");
    }
}

#[tokio::test]
async fn a_client_that_does_not_finish_its_request_is_let_go() {
    let http = HttpOptions { header_timeout_ms: 50, tls_timeout_ms: 50, ..HttpOptions::default() };
    for server in [Server::start(None, None, http), Server::start(None, Some(acceptor()), http)] {
        let mut stream = server.tcp().await;
        stream.write_all(b"GET / HTTP/1.1\r\nX: ").await.expect("writes");
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok() && !rest.starts_with(b"HTTP/1.1 1"), "{rest:?}");
    }
}

#[tokio::test]
async fn requests_are_bounded_in_headers_and_bytes() {
    let server = Server::plain();
    let many: String = (0..65).map(|index| format!("X-{index}: 1\r\n")).collect();
    for headers in [many, format!("X: {}\r\n", "a".repeat(9_000))] {
        let mut stream = server.tcp().await;
        let request = format!("GET / HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.expect("writes");
        let head = read_head(&mut stream).await;
        assert!(head.starts_with("HTTP/1.1 431 "), "{head}");
    }
}

/// Fills the sink until it refuses, and returns everything that it took.
fn fill(sink: &mut dyn Sink) -> Vec<u8> {
    let mut taken = Vec::new();
    loop {
        let chunks: Vec<Vec<u8>> = (0..10).map(|part| pattern(taken.len() % 5_000 + part * 700 + 1)).collect();
        let slices: Vec<IoSlice<'_>> = chunks.iter().map(|chunk| IoSlice::new(chunk)).collect();
        match sink.try_write(&slices) {
            Ok(count) => taken.extend_from_slice(&chunks.concat()[..count]),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                return taken;
            }
        }
    }
}

/// A client that reads nothing at first: the sink refuses instead of waiting, and nothing that it took is lost, also
/// when nobody ever writes again.
async fn a_slow_reader_gets_everything_in_order<S: Stream>(server: S, mut client: impl AsyncRead + Unpin) {
    let (link, mut sink) = server.into_link(&mut Vec::new()).expect("parts");
    let mut reader = WebSocketReader::new(link, Vec::new(), Options::default());
    let mut expected = fill(&mut *sink);
    let read_back = async |reader: &mut WebSocketReader<S::Link>, client: &mut _, expected: &[u8]| {
        let mut got = vec![0; expected.len()];
        let serve = std::future::poll_fn(|context| {
            assert!(reader.poll_receive(context, &mut |_| ()).is_pending(), "the client says nothing");
            Poll::<()>::Pending
        });
        tokio::select! {
            biased;
            () = serve => {}
            read = AsyncReadExt::read_exact(client, &mut got) => drop(read.expect("reads")),
        }
        assert!(got == expected, "bytes were lost or came out of order");
    };
    read_back(&mut reader, &mut client, &expected).await;
    // And once more, waiting for writability as an outbox does.
    expected = fill(&mut *sink);
    let mut drained = vec![0; expected.len()];
    client.read_exact(&mut drained[..expected.len() / 2]).await.expect("reads");
    std::future::poll_fn(|context| reader.poll_writable(context)).await.expect("is writable again");
    let more = fill(&mut *sink);
    assert!(!more.is_empty(), "there is room again");
    expected.extend(more);
    let half = drained.len() / 2;
    assert!(drained[..half] == expected[..half]);
    read_back(&mut reader, &mut client, &expected[half..]).await;
    sink.finish();
    drop(sink);
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.expect("the end is clean");
    assert!(rest.is_empty());
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let addr = listener.local_addr().expect("is bound");
    let (client, accepted) = tokio::join!(TcpStream::connect(addr), listener.accept());
    let server = accepted.expect("accepts").0;
    // A socket that was used is known to be writable; a fresh one must be asked first.
    server.writable().await.expect("is open");
    (server, client.expect("connects"))
}

#[tokio::test]
async fn a_full_socket_refuses_and_drains_in_order() {
    let (server, client) = pair().await;
    a_slow_reader_gets_everything_in_order(server, client).await;
}

#[tokio::test]
async fn a_full_tls_socket_refuses_and_drains_in_order() {
    let (server, client) = pair().await;
    let (acceptor, certificate) = acceptor();
    let (server, client) = tokio::join!(acceptor.accept(server), encrypt(client, certificate));
    a_slow_reader_gets_everything_in_order(server.expect("shakes hands"), client).await;
}
