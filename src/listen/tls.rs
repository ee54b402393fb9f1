//! Encryption of what clients say, with the owner's certificate.
//!
//! Not here: reading files, other machines' certificates (`transport`).

use std::{io, sync::Arc};

use tokio::net::TcpStream;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{
            CertificateDer, PrivateKeyDer,
            pem::{self, PemObject},
        },
    },
    server::TlsStream,
};

/// A certificate and its key, ready to speak with.
#[derive(Clone)]
pub struct Identity(TlsAcceptor);

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity(..)")
    }
}

/// Why nothing can be spoken with a certificate and a key. Never quotes the key.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error("the certificate is not readable as PEM")]
    Certificate(#[source] pem::Error),
    #[error("there is no certificate in the file")]
    NoCertificate,
    #[error("the key is not readable as PEM")]
    Key(#[source] pem::Error),
    #[error("certificate and key cannot be used together")]
    Pair(#[source] rustls::Error),
}

impl Identity {
    /// From two PEM files: the certificate with those that vouch for it, and the key.
    ///
    /// # Errors
    ///
    /// When one is unreadable, or they do not belong together.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, Unusable> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(certificates)
            .collect::<Result<_, _>>()
            .map_err(Unusable::Certificate)?;
        if chain.is_empty() {
            return Err(Unusable::NoCertificate);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(Unusable::Key)?;
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
                .map_err(Unusable::Pair)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    pub async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.0.accept(stream).await
    }
}
