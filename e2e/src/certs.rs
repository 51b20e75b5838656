//! The control plane's certificates and keys.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::error::{Error, Result, make_dir, write_file};

/// A certificate authority whose files lie in one directory.
pub struct Authority {
    dir: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

/// Files of a certificate and its key, both PEM.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Authority {
    /// Makes a new authority in `dir`.
    pub fn new(dir: &Path) -> Result<Authority> {
        make_dir(dir)?;
        let failed = |source| Error::Certificate {
            name: "the test authority".into(),
            source,
        };
        let mut params = CertificateParams::new(Vec::new()).map_err(failed)?;
        params
            .distinguished_name
            .push(DnType::CommonName, "bpfleet test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().map_err(failed)?;
        let cert = params.self_signed(&key).map_err(failed)?;
        write_file(&dir.join("ca.crt"), cert.pem())?;
        write_file(&dir.join("ca.key"), key.serialize_pem())?;
        Ok(Authority {
            dir: dir.to_owned(),
            issuer: Issuer::new(params, key),
        })
    }

    /// The directory with all its files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The authority's own certificate and key.
    pub fn pair(&self) -> Pair {
        Pair {
            cert: self.dir.join("ca.crt"),
            key: self.dir.join("ca.key"),
        }
    }

    /// A server's certificate for the given DNS names and addresses.
    pub fn server(&self, name: &str, names: &[&str]) -> Result<Pair> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        self.issue(name, None, names, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A client's certificate for the Kubernetes user `user`, in the given group.
    pub fn client(&self, user: &str, group: Option<&str>) -> Result<Pair> {
        self.issue(user, group, Vec::new(), ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// A bare key pair that signs service account tokens: the public key stands for the certificate.
    pub fn signer(&self, name: &str) -> Result<Pair> {
        let key = KeyPair::generate().map_err(|source| Error::Certificate {
            name: name.into(),
            source,
        })?;
        let pair = Pair {
            cert: self.dir.join(format!("{name}.pub")),
            key: self.dir.join(format!("{name}.key")),
        };
        write_file(&pair.cert, key.public_key_pem())?;
        write_file(&pair.key, key.serialize_pem())?;
        Ok(pair)
    }

    fn issue(
        &self,
        name: &str,
        group: Option<&str>,
        names: Vec<String>,
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<Pair> {
        let failed = |source| Error::Certificate {
            name: name.into(),
            source,
        };
        let mut params = CertificateParams::new(names).map_err(failed)?;
        params.distinguished_name.push(DnType::CommonName, name);
        if let Some(group) = group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
        ];
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().map_err(failed)?;
        let cert = params.signed_by(&key, &self.issuer).map_err(failed)?;
        let file = name.replace(':', "-");
        let pair = Pair {
            cert: self.dir.join(format!("{file}.crt")),
            key: self.dir.join(format!("{file}.key")),
        };
        write_file(&pair.cert, cert.pem())?;
        write_file(&pair.key, key.serialize_pem())?;
        Ok(pair)
    }
}
