//! A server of `grpc.health.v1.Health/Check` that needs no library, so that it fits into a test image: HTTP/2 as far as one unary call goes.
//! Answers SERVING while the file that it is told exists, NOT_SERVING when it does not, and NOT_FOUND for a service other than "" and
//! "ready". On the same port of UDP it sends every datagram back.
//!
//! `skerry-health-server PORT FILE`

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::Path;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// What a client sends before its first frame.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Largest frame that HTTP/2 allows with no setting to the contrary.
const FRAME_MAX: usize = 1 << 14;

const SERVING: u8 = 1;
const NOT_SERVING: u8 = 2;
/// gRPC's status for a name that is not known.
const NOT_FOUND: &[u8] = b"5";

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(port), Some(file)) = (arguments.next(), arguments.next()) else {
        return Err(io::Error::other("usage: skerry-health-server PORT FILE"));
    };
    let port = port.parse::<u16>().map_err(io::Error::other)?;
    let datagrams = UdpSocket::bind(("0.0.0.0", port))?;
    std::thread::spawn(move || echo(&datagrams));
    for connection in TcpListener::bind(("0.0.0.0", port))?.incoming() {
        let (connection, file) = (connection?, file.clone());
        // A client that goes away ends its own connection only.
        std::thread::spawn(move || serve(connection, Path::new(&file)));
    }
    Ok(())
}

fn echo(socket: &UdpSocket) -> io::Result<()> {
    let mut datagram = [0; 2048];
    loop {
        let (length, from) = socket.recv_from(&mut datagram)?;
        socket.send_to(&datagram[..length], from)?;
    }
}

fn serve(mut connection: TcpStream, file: &Path) -> io::Result<()> {
    let mut preface = [0; PREFACE.len()];
    connection.read_exact(&mut preface)?;
    send(&mut connection, SETTINGS, 0, 0, &[])?;
    // The body of the call that is arriving; a client of ours makes one call at a time.
    let mut body = Vec::new();
    loop {
        let (kind, flags, stream, payload) = receive(&mut connection)?;
        match kind {
            SETTINGS if flags & ACK == 0 => send(&mut connection, SETTINGS, ACK, 0, &[])?,
            PING if flags & ACK == 0 => send(&mut connection, PING, ACK, 0, &payload)?,
            HEADERS => body.clear(),
            DATA => {
                body.extend(payload);
                if flags & END_STREAM != 0 {
                    answer(&mut connection, stream, service(&body), file)?;
                }
            }
            GO_AWAY => return Ok(()),
            _ => {}
        }
    }
}

/// Field 1 of a HealthCheckRequest, behind the five bytes of gRPC's own framing.
fn service(body: &[u8]) -> &[u8] {
    match body.get(5..) {
        Some([0x0a, length, rest @ ..]) => rest.get(..usize::from(*length)).unwrap_or_default(),
        _ => b"",
    }
}

fn answer(connection: &mut TcpStream, stream: u32, service: &[u8], file: &Path) -> io::Result<()> {
    // `:status: 200` is in HTTP/2's own table.
    let mut headers = vec![0x88];
    literal(&mut headers, b"content-type", b"application/grpc");
    if !matches!(service, b"" | b"ready") {
        literal(&mut headers, b"grpc-status", NOT_FOUND);
        return send(connection, HEADERS, END_HEADERS | END_STREAM, stream, &headers);
    }
    send(connection, HEADERS, END_HEADERS, stream, &headers)?;
    let status = if file.exists() { SERVING } else { NOT_SERVING };
    send(connection, DATA, 0, stream, &[0, 0, 0, 0, 2, 0x08, status])?;
    let mut trailers = Vec::new();
    literal(&mut trailers, b"grpc-status", b"0");
    send(connection, HEADERS, END_HEADERS | END_STREAM, stream, &trailers)
}

/// A header field with a new name, not indexed and not compressed. No text here is longer than 126 bytes.
fn literal(into: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    into.push(0);
    for text in [name, value] {
        into.push(u8::try_from(text.len()).unwrap_or_default());
        into.extend(text);
    }
}

fn send(connection: &mut TcpStream, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
    let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
    let mut frame = length.to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    connection.write_all(&frame)
}

fn receive(connection: &mut TcpStream) -> io::Result<(u8, u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    connection.read_exact(&mut head)?;
    let [a, b, c, kind, flags, stream @ ..] = head;
    let length = u32::from_be_bytes([0, a, b, c]) as usize;
    if length > FRAME_MAX {
        return Err(io::Error::other("a frame that is too large"));
    }
    let mut payload = vec![0; length];
    connection.read_exact(&mut payload)?;
    Ok((kind, flags, u32::from_be_bytes(stream) & 0x7fff_ffff, payload))
}
