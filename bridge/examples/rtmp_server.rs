//! A bare RTMP server for trying clients by hand: `cargo run -p weir-bridge --example rtmp_server -- 127.0.0.1:1935`.

use std::sync::Arc;

use weir_bridge::rtmp::{RtmpConfig, serve};
use weir_source::Hub;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:1935".to_owned());
    let listener = tokio::net::TcpListener::bind(&address).await?;
    println!("rtmp://{}/live/STREAM", listener.local_addr()?);
    let stop = tokio_util::sync::CancellationToken::new();
    let settings = Arc::new(arc_swap::ArcSwap::from_pointee(RtmpConfig::default()));
    serve(listener, Hub::new(), settings, stop.child_token(), stop).await;
    Ok(())
}
