//! TLS 1.3 as it would stand in Noise's place: both ends known by raw public keys (RFC 7250), one suite, no resumption.

use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, ServerConnection,
    SignatureScheme,
};
use std::io::{Read, Write};
use std::sync::Arc;

/// What stands before an Ed25519 key in a SubjectPublicKeyInfo (RFC 8410).
const ED25519_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

pub struct Keys {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

/// Knows the one key of the other end.
#[derive(Debug)]
struct Known {
    key: Vec<u8>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Known {
    fn judge(&self, shown: &CertificateDer<'_>) -> Result<(), Error> {
        if shown.as_ref() == self.key { Ok(()) } else { Err(Error::General("another key".into())) }
    }

    fn verify(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = SubjectPublicKeyInfoDer::from(key.as_ref());
        verify_tls13_signature_with_raw_key(message, &key, signed, &self.algorithms)
    }
}

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        end: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.judge(end).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, key, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Known {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.judge(end).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, key, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

fn certified(provider: &CryptoProvider) -> (Arc<CertifiedKey>, Vec<u8>) {
    let secret = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(secret.as_ref()).unwrap();
    let public = [&ED25519_PREFIX[..], pair.public_key().as_ref()].concat();
    let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(secret.as_ref().to_vec()));
    let signing = provider.key_provider.load_private_key(der).unwrap();
    (Arc::new(CertifiedKey::new(vec![CertificateDer::from(public.clone())], signing)), public)
}

impl Keys {
    pub fn new() -> Keys {
        let mut provider = rustls::crypto::ring::default_provider();
        provider.cipher_suites = vec![rustls::crypto::ring::cipher_suite::TLS13_AES_256_GCM_SHA384];
        provider.kx_groups = vec![rustls::crypto::ring::kx_group::X25519];
        let provider = Arc::new(provider);
        let ((client_key, client_public), (server_key, server_public)) = (certified(&provider), certified(&provider));
        let known = |key| Arc::new(Known { key, algorithms: provider.signature_verification_algorithms });
        let mut client = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(known(server_public))
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(client_key)));
        client.resumption = rustls::client::Resumption::disabled();
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(known(client_public))
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(server_key)));
        server.send_tls13_tickets = 0;
        Keys { client: Arc::new(client), server: Arc::new(server) }
    }
}

/// Both ends of a connection that has been opened.
pub struct Stream {
    client: ClientConnection,
    server: ServerConnection,
    wire: Vec<u8>,
    received: Vec<u8>,
}

impl Stream {
    pub fn open(keys: &Keys) -> Stream {
        let name = ServerName::try_from("osd.0.example").unwrap();
        let mut client = ClientConnection::new(keys.client.clone(), name).unwrap();
        let mut server = ServerConnection::new(keys.server.clone()).unwrap();
        let mut wire = Vec::new();
        while client.is_handshaking() || server.is_handshaking() {
            wire.clear();
            while client.wants_write() {
                client.write_tls(&mut wire).unwrap();
            }
            let mut rest = wire.as_slice();
            while !rest.is_empty() {
                server.read_tls(&mut rest).unwrap();
                server.process_new_packets().unwrap();
            }
            wire.clear();
            while server.wants_write() {
                server.write_tls(&mut wire).unwrap();
            }
            let mut rest = wire.as_slice();
            while !rest.is_empty() {
                client.read_tls(&mut rest).unwrap();
                client.process_new_packets().unwrap();
            }
        }
        Stream { client, server, wire, received: Vec::new() }
    }

    pub fn pass(&mut self, payload: &[u8]) {
        self.received.resize(payload.len(), 0);
        let (mut sent, mut received) = (0, 0);
        // In parts, because a connection buffers no more than 64 KiB by itself.
        while received < payload.len() {
            sent += self.client.writer().write(&payload[sent..]).unwrap();
            self.wire.clear();
            while self.client.wants_write() {
                self.client.write_tls(&mut self.wire).unwrap();
            }
            let mut rest = self.wire.as_slice();
            while !rest.is_empty() {
                self.server.read_tls(&mut rest).unwrap();
                let state = self.server.process_new_packets().unwrap();
                let waiting = state.plaintext_bytes_to_read();
                if waiting > 0 {
                    let place = &mut self.received[received..received + waiting];
                    self.server.reader().read_exact(place).unwrap();
                    received += waiting;
                }
            }
        }
        assert!(self.received.first() == payload.first() && self.received.last() == payload.last());
    }
}
