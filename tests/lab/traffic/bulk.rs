//! Big transfers of a stream that both ends can make, compared by SHA-256.

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};

use crate::lab::Namespace;

const BLOCK: usize = 1 << 16;

/// A transfer that is done.
#[derive(Debug)]
pub struct Transfer {
    /// SHA-256 of what was sent, and of what arrived.
    pub sent: String,
    pub received: String,
    pub took: Duration,
}

/// Fetches `count` bytes from `to`.
pub fn download(from: &Namespace, to: SocketAddr, count: u64) -> anyhow::Result<Transfer> {
    from.run(|| {
        let begun = Instant::now();
        let mut stream = connect(to)?;
        write!(stream, "GET /bytes/{count} HTTP/1.1\r\n\r\n")?;
        let mut reader = BufReader::with_capacity(BLOCK, stream);
        skip_head(&mut reader)?;
        let received = hash(&mut reader)?;
        let took = begun.elapsed();
        Ok(Transfer { sent: expected(count)?, received, took })
    })
}

/// Sends `count` bytes to `to`.
pub fn upload(from: &Namespace, to: SocketAddr, count: u64) -> anyhow::Result<Transfer> {
    from.run(|| {
        let begun = Instant::now();
        let mut stream = connect(to)?;
        write!(stream, "PUT /sink HTTP/1.1\r\nContent-Length: {count}\r\n\r\n")?;
        write_stream(&stream, count)?;
        let mut reader = BufReader::new(stream);
        skip_head(&mut reader)?;
        let mut received = String::new();
        reader.read_line(&mut received)?;
        let took = begun.elapsed();
        Ok(Transfer { sent: expected(count)?, received: received.trim().to_owned(), took })
    })
}

/// SHA-256 of all that `reader` gives, in hexadecimal digits.
pub(super) fn hash(reader: &mut impl Read) -> std::io::Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; BLOCK];
    loop {
        let length = reader.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        hasher.update(&buffer[..length]);
    }
    Ok(hasher.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

/// Writes the first `count` bytes of the stream.
pub(super) fn write_stream(mut to: impl Write, count: u64) -> std::io::Result<()> {
    std::io::copy(&mut Stream::default().take(count), &mut to).map(drop)
}

fn expected(count: u64) -> anyhow::Result<String> {
    Ok(hash(&mut Stream::default().take(count))?)
}

fn connect(to: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream =
        TcpStream::connect_timeout(&to, Duration::from_secs(5)).with_context(|| format!("connecting to {to}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.set_write_timeout(Some(Duration::from_secs(30)))?;
    Ok(stream)
}

fn skip_head(reader: &mut impl BufRead) -> anyhow::Result<()> {
    let mut line = String::new();
    reader.read_line(&mut line).context("reading the answer's head")?;
    if !line.contains(" 200 ") {
        bail!("the server answered {line:?}");
    }
    while !line.trim().is_empty() {
        line.clear();
        reader.read_line(&mut line)?;
    }
    Ok(())
}

/// xorshift64*: bytes that do not compress or repeat within a transfer, the same at both ends.
struct Stream(u64);

impl Default for Stream {
    fn default() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        for chunk in buffer.chunks_mut(8) {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            let word = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
        Ok(buffer.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_streams_hash_does_not_depend_on_how_it_is_read() {
        let mut bytes = Vec::new();
        write_stream(&mut bytes, 200_000).unwrap();
        assert_eq!(hash(&mut bytes.as_slice()).unwrap(), expected(200_000).unwrap());
    }
}
