//! permessage-deflate over the echo server: what is agreed, and that both sides keep it.

use super::*;

const AGREED: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
/// "Hello", compressed and masked: the example of RFC 7692 §7.2.3.1 with the mask of RFC 6455 §5.7.
const HELLO_DEFLATED: [u8; 13] = [
    0xc1,
    0x87,
    0x37,
    0xfa,
    0x21,
    0x3d,
    0xf2 ^ 0x37,
    0x48 ^ 0xfa,
    0xcd ^ 0x21,
    0xc9 ^ 0x3d,
    0xc9 ^ 0x37,
    0x07 ^ 0xfa,
    0x21,
];

/// Shakes hands with these extension headers; the answer's, if any.
async fn shake(stream: &mut TcpStream, offers: &[&str]) -> (String, Option<String>) {
    let lines: String = offers.iter().map(|offer| format!("Sec-WebSocket-Extensions: {offer}\r\n")).collect();
    let request = REQUEST.replace("Host: x\r\n", &format!("Host: x\r\n{lines}"));
    stream.write_all(request.as_bytes()).await.expect("writes");
    let head = read_head(stream).await;
    let status = head.split(' ').nth(1).expect("a status").to_owned();
    let answer = head.lines().find_map(|line| line.strip_prefix("sec-websocket-extensions: ")).map(str::to_owned);
    (status, answer)
}

#[tokio::test]
async fn offers_are_judged_in_order_and_what_cannot_be_kept_is_declined() {
    let server = Server::plain();
    let with_bits = |bits: u8| Some(format!("{AGREED}; server_max_window_bits={bits}"));
    let cases: [(&[&str], Option<String>); 9] = [
        (&[], None),
        (&["permessage-deflate; client_max_window_bits"], Some(AGREED.into())),
        (&["permessage-deflate; server_max_window_bits=9"], with_bits(9)),
        (&["permessage-deflate; server_max_window_bits=16, permessage-deflate"], Some(AGREED.into())),
        (
            &["permessage-deflate; server_max_window_bits=16", "permessage-deflate; server_max_window_bits=8"],
            with_bits(8),
        ),
        (&["permessage-deflate; client_max_window_bits=7"], None),
        (&["permessage-deflate; server_no_context_takeover; server_no_context_takeover"], None),
        (&["permessage-bzip2"], None),
        (&["x-webkit-deflate-frame"], None),
    ];
    for (offers, answer) in cases {
        assert_eq!(shake(&mut server.tcp().await, offers).await, ("101".to_owned(), answer), "{offers:?}");
    }
    assert_eq!(shake(&mut server.tcp().await, &["permessage-deflate; ="]).await, ("400".to_owned(), None));
}

#[tokio::test]
async fn a_compressed_message_comes_back_compressed_and_a_plain_one_too() {
    let server = Server::plain();
    for behind in [HELLO_DEFLATED.to_vec(), HELLO.to_vec()] {
        let mut stream = server.tcp().await;
        shake(&mut stream, &["permessage-deflate"]).await;
        stream.write_all(&behind).await.expect("writes");
        let mut answer = [0; 9];
        stream.read_exact(&mut answer).await.expect("answers");
        assert_eq!(answer, [0xc1, 0x07, 0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
    }
}

#[tokio::test]
async fn what_was_not_agreed_is_refused() {
    let server = Server::plain();
    let continuation = [0xc0, 0x80, 0, 0, 0, 0];
    let cases: [(&[&str], &[u8], u16); 5] = [
        (&[], &HELLO_DEFLATED, 1002),
        (&["permessage-deflate"], &[0xe1, 0x80, 0, 0, 0, 0], 1002),
        (&["permessage-deflate"], &[0xc9, 0x80, 0, 0, 0, 0], 1002),
        (&["permessage-deflate"], &[&[0x41, 0x80, 0, 0, 0, 0], &continuation[..]].concat(), 1002),
        (&["permessage-deflate"], &[0xc1, 0x81, 0, 0, 0, 0, 0xff], 1007),
    ];
    for (offers, bytes, status) in cases {
        let mut stream = server.tcp().await;
        shake(&mut stream, offers).await;
        stream.write_all(bytes).await.expect("writes");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("the server ends the link");
        assert_eq!((answer[0], u16::from_be_bytes([answer[2], answer[3]])), (0x88, status), "{bytes:?}");
    }
}
