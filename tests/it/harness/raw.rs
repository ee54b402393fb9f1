//! An upstream that says exactly what it is told to.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Reads the beginning of a request on each connection and leaves the rest to `talk`.
pub async fn each<T>(talk: impl Fn(TcpStream, Vec<u8>) -> T + Send + Sync + 'static) -> SocketAddr
where
    T: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let talk = Arc::new(talk);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let talk = Arc::clone(&talk);
            tokio::spawn(async move {
                let mut request = vec![0; 64 << 10];
                let read = socket.read(&mut request).await.unwrap_or(0);
                request.truncate(read);
                talk(socket, request).await;
            });
        }
    });
    address
}

/// Answers everything with `head`, an empty line and `body`. How often it was asked.
pub async fn answering(head: String, body: Vec<u8>) -> (SocketAddr, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&asked);
    let address = each(move |mut socket, _| {
        counting.fetch_add(1, Ordering::SeqCst);
        let (head, body) = (head.clone(), body.clone());
        async move {
            let _sent = socket.write_all(format!("{head}\r\n\r\n").as_bytes()).await;
            let _sent = socket.write_all(&body).await;
        }
    });
    (address.await, asked)
}
