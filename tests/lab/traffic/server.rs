//! What a pod runs: one port, TCP and UDP. A TCP client's first line says what it wants:
//!
//! - `GET / HTTP/1.1`: who answers and whom it sees (`pod=p1-1 client=10.25.150.101:4711`);
//! - `GET /bytes/N HTTP/1.1`: N bytes of [`super::bulk`]'s stream;
//! - `PUT /sink HTTP/1.1` with a body: the body's SHA-256;
//! - `ECHO`: the pod's name and a line's end, then every byte comes back.
//!
//! A UDP datagram comes back with the pod's name and the sender's address before it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::Arc,
};

use anyhow::Context;

use super::bulk;

/// Serves until it is killed.
pub fn serve(name: &str, port: u16) -> anyhow::Result<()> {
    let name: Arc<str> = name.into();
    let udp = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).context("binding UDP")?;
    let tcp = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).context("binding TCP")?;
    let udp_name = Arc::clone(&name);
    std::thread::spawn(move || serve_udp(&udp_name, &udp));
    println!("serving");
    for stream in tcp.incoming() {
        let Ok(stream) = stream else { continue };
        let name = Arc::clone(&name);
        // A client that goes away is no error of the server's.
        std::thread::Builder::new()
            .stack_size(256 * 1024)
            .spawn(move || drop(serve_tcp(&name, &stream)))
            .context("a thread for a connection")?;
    }
    Ok(())
}

fn serve_udp(name: &str, socket: &UdpSocket) {
    let mut buffer = vec![0; 65_536];
    while let Ok((length, client)) = socket.recv_from(&mut buffer) {
        let mut reply = format!("{name} {client} ").into_bytes();
        reply.extend_from_slice(&buffer[..length]);
        let _ = socket.send_to(&reply, client);
    }
}

fn serve_tcp(name: &str, stream: &TcpStream) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let client = stream.peer_addr()?;
    let mut reader = BufReader::with_capacity(1 << 16, stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    if line.trim() == "ECHO" {
        return echo(name, &mut reader, stream);
    }
    let mut length = 0;
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? == 0 || header.trim().is_empty() {
            break;
        }
        if let Some((key, value)) = header.split_once(':')
            && key.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse()?;
        }
    }
    let path = line.split(' ').nth(1).unwrap_or("/");
    if let Some(count) = path.strip_prefix("/bytes/") {
        let count = count.parse()?;
        head(stream, count)?;
        return Ok(bulk::write_stream(stream, count)?);
    }
    let body = if path == "/sink" { format!("{}\n", bulk::hash(&mut reader.take(length))?) } else { who(name, client) };
    head(stream, body.len() as u64)?;
    Ok((&*stream).write_all(body.as_bytes())?)
}

fn who(name: &str, client: SocketAddr) -> String {
    format!("pod={name} client={client}\n")
}

fn head(mut stream: &TcpStream, length: u64) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")
}

fn echo(name: &str, reader: &mut impl Read, mut stream: &TcpStream) -> anyhow::Result<()> {
    writeln!(stream, "{name}")?;
    let mut buffer = [0; 4096];
    loop {
        let length = reader.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..length])?;
    }
}
