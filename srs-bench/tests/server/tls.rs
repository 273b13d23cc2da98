//! TLS before a server: a proxy whose certificate nobody has signed.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread,
};

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{io::copy_bidirectional, net};
use tokio_rustls::TlsAcceptor;

/// Where TCP connections to `server` are accepted in TLS, until the test's end.
pub fn before(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("an address");
    listener.set_nonblocking(true).expect("a socket");
    let acceptor = acceptor();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    thread::spawn(move || {
        runtime.block_on(async {
            let listener = net::TcpListener::from_std(listener).expect("a socket");
            while let Ok((socket, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(mut client) = acceptor.accept(socket).await else { return };
                    let Ok(mut server) = net::TcpStream::connect(server).await else { return };
                    let _over = copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
    });
    addr
}

fn acceptor() -> TlsAcceptor {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
    Arc::new(builder.with_single_cert(vec![made.cert.der().clone()], key).expect("a key")).into()
}
