//! Reads and writes of a connection, over TCP or TLS.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use smallvec::SmallVec;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::connection::End;

/// Slices of one vectored write; the kernel takes 1,024.
const SLICES_MAX: usize = 64;

/// Cancelling it loses nothing.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin), input: &mut BytesMut, bytes: usize) -> Result<usize, End> {
    input.reserve(bytes);
    match stream.read_buf(input).await? {
        0 => Err(End::Closed),
        read => Ok(read),
    }
}

/// As few system calls as the kernel allows.
pub(super) async fn write_all(stream: &mut (impl AsyncWrite + Unpin), batch: &mut [Bytes]) -> io::Result<()> {
    let mut first = 0;
    loop {
        while batch.get(first).is_some_and(Bytes::is_empty) {
            first += 1;
        }
        let rest = batch.get_mut(first..).unwrap_or_default();
        if rest.is_empty() {
            // TLS keeps what the socket did not take.
            return stream.flush().await;
        }
        let mut written = {
            let slices: SmallVec<[io::IoSlice<'_>; SLICES_MAX]> =
                rest.iter().take(SLICES_MAX).map(|bytes| io::IoSlice::new(bytes)).collect();
            stream.write_vectored(&slices).await?
        };
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        for bytes in rest {
            let taken = written.min(bytes.len());
            bytes.advance(taken);
            written -= taken;
            if written == 0 {
                break;
            }
        }
    }
}
