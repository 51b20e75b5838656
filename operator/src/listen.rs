//! Ports to listen on.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use tokio::net::TcpListener;

/// Binds a port. `[::]` stands for every address of both families, and where there is no IPv6 for those of IPv4.
///
/// # Errors
/// The port is taken, or may not be bound.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let bound = TcpListener::bind(address).await;
    match bound {
        Err(error)
            if address.is_ipv6()
                && address.ip().is_unspecified()
                && error.kind() != io::ErrorKind::AddrInUse =>
        {
            let instead = TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await;
            instead.map_err(|_| error)
        }
        bound => bound,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn every_address_includes_those_of_ipv4() {
        let listener = bind("[::]:0".parse().unwrap()).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let again = bind(SocketAddr::new(listener.local_addr().unwrap().ip(), port))
            .await
            .unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AddrInUse);
    }
}
