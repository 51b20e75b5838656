//! The endpoint's certificate and the CA that signs it: made, and renewed in time. Pure but for the keys'
//! randomness.

use std::{collections::BTreeMap, time::Duration};

use bpfleet_crds::names::ARTIFACT_CA_KEY;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use time::OffsetDateTime;
use x509_parser::{pem::Pem, prelude::X509Certificate};

const CA_VALID: Duration = Duration::from_secs(10 * 365 * 86_400);
const SERVER_VALID: Duration = Duration::from_secs(90 * 86_400);
/// Clocks of nodes may be behind by this much.
const SKEW: Duration = Duration::from_secs(3600);
/// Most CAs in the bundle: the newest, and those that agents may still see certificates of.
const MAX_CAS: usize = 4;
/// Longest text that is read from the Secret for each part.
const MAX_PEM_BYTES: usize = 64 << 10;

const CA_PRIVATE_KEY: &str = "ca.key";
const CERTIFICATE: &str = "tls.crt";
const PRIVATE_KEY: &str = "tls.key";

/// Why no certificate could be made.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The library refused.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// The clock shows a time that certificates cannot hold.
    #[error("cannot make a certificate at this clock's time: {0}")]
    Time(#[from] time::error::ComponentRange),
}

/// The CA and the certificate, as they are in the Secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Material {
    /// CA certificates, PEM, the signing one first.
    pub ca_bundle: String,
    /// Key of the signing CA, PEM.
    pub ca_key: String,
    /// The endpoint's certificate, PEM.
    pub certificate: String,
    /// Its key, PEM.
    pub key: String,
}

impl std::fmt::Debug for Material {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Material")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

impl Material {
    /// Read from a Secret; none if a part is missing or is no text.
    pub fn from_secret(data: &BTreeMap<String, ByteString>) -> Option<Self> {
        let text = |key: &str| {
            let bytes = &data.get(key)?.0;
            (bytes.len() <= MAX_PEM_BYTES)
                .then(|| String::from_utf8(bytes.clone()).ok())
                .flatten()
        };
        Some(Self {
            ca_bundle: text(ARTIFACT_CA_KEY)?,
            ca_key: text(CA_PRIVATE_KEY)?,
            certificate: text(CERTIFICATE)?,
            key: text(PRIVATE_KEY)?,
        })
    }

    /// As it is in the Secret.
    pub fn to_secret(&self) -> BTreeMap<String, ByteString> {
        let Self {
            ca_bundle,
            ca_key,
            certificate,
            key,
        } = self;
        [
            (ARTIFACT_CA_KEY, ca_bundle),
            (CA_PRIVATE_KEY, ca_key),
            (CERTIFICATE, certificate),
            (PRIVATE_KEY, key),
        ]
        .map(|(name, text)| (name.to_owned(), ByteString(text.clone().into_bytes())))
        .into()
    }
}

/// What has to be made anew, if anything. A certificate is renewed when two thirds of its time are over, or
/// when it is not what it should be.
///
/// # Errors
/// It cannot be made.
pub fn renew(
    known: Option<&Material>,
    server_name: &str,
    now: Timestamp,
) -> Result<Option<Material>, CertificateError> {
    let ca = known.and_then(|known| {
        let key = KeyPair::from_pem(&known.ca_key).ok()?;
        let first = certificates(&known.ca_bundle).into_iter().next()?;
        let fits = inspect(&first, now, |certificate| {
            certificate.is_ca()
                && certificate.public_key().subject_public_key.data.as_ref() == key.public_key_raw()
        });
        fits.then_some((known, key))
    });
    if let Some((known, ca_key)) = &ca
        && is_served(known, ca_key, server_name, now)
    {
        return Ok(None);
    }
    let (ca_bundle, ca_key) = match ca {
        Some((known, key)) => (known.ca_bundle.clone(), key),
        None => {
            let key = KeyPair::generate()?;
            let mut bundle = ca_params(now)?.self_signed(&key)?.pem();
            // Replicas still serve certificates of the CA before.
            let before = known
                .map(|known| certificates(&known.ca_bundle))
                .unwrap_or_default();
            for old in before
                .iter()
                .take(MAX_CAS - 1)
                .filter(|old| parse(old).is_some_and(|c| expires(&c) > now.as_second()))
            {
                bundle.push_str(&to_pem(old));
            }
            (bundle, key)
        }
    };
    let key = KeyPair::generate()?;
    let (ca_private, private) = (ca_key.serialize_pem(), key.serialize_pem());
    let issuer = Issuer::from_ca_cert_pem(&ca_bundle, ca_key)?;
    let certificate = server_params(server_name, now)?.signed_by(&key, &issuer)?.pem();
    Ok(Some(Material {
        ca_bundle,
        ca_key: ca_private,
        certificate,
        key: private,
    }))
}

/// Whether the endpoint's certificate is good for some time yet.
fn is_served(known: &Material, ca_key: &KeyPair, server_name: &str, now: Timestamp) -> bool {
    let Ok(key) = KeyPair::from_pem(&known.key) else {
        return false;
    };
    let Some(first) = certificates(&known.certificate).into_iter().next() else {
        return false;
    };
    let Some(ca) = certificates(&known.ca_bundle).into_iter().next() else {
        return false;
    };
    let Some(ca) = parse(&ca).map(|ca| ca.subject().as_raw().to_vec()) else {
        return false;
    };
    inspect(&first, now, |certificate| {
        let named = certificate.subject_alternative_name().ok().flatten().is_some_and(|names| {
            let is_it = |name: &x509_parser::extensions::GeneralName<'_>| {
                matches!(name, x509_parser::extensions::GeneralName::DNSName(name) if *name == server_name)
            };
            names.value.general_names.iter().any(is_it)
        });
        let own = certificate.public_key().subject_public_key.data.as_ref() == key.public_key_raw();
        named && own && certificate.issuer().as_raw() == ca && !ca_key.public_key_raw().is_empty()
    })
}

fn certificates(pem: &str) -> Vec<Pem> {
    let all = Pem::iter_from_buffer(pem.as_bytes()).map_while(Result::ok);
    all.filter(|pem| pem.label == "CERTIFICATE")
        .take(MAX_CAS)
        .collect()
}

fn parse(pem: &Pem) -> Option<X509Certificate<'_>> {
    pem.parse_x509().ok()
}

fn to_pem(pem: &Pem) -> String {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    let encoded = BASE64_STANDARD.encode(&pem.contents);
    let lines: Vec<&str> = encoded
        .as_bytes()
        .chunks(64)
        .filter_map(|line| std::str::from_utf8(line).ok())
        .collect();
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    )
}

fn expires(certificate: &X509Certificate<'_>) -> i64 {
    certificate.validity().not_after.timestamp()
}

fn inspect(pem: &Pem, now: Timestamp, fits: impl Fn(&X509Certificate<'_>) -> bool) -> bool {
    parse(pem).is_some_and(|certificate| {
        let (from, to) = (
            certificate.validity().not_before.timestamp(),
            expires(&certificate),
        );
        let renewal = to.saturating_sub(to.saturating_sub(from) / 3);
        (from..renewal).contains(&now.as_second()) && fits(&certificate)
    })
}

fn params(now: Timestamp, valid: Duration, name: &str) -> Result<CertificateParams, CertificateError> {
    let at = |seconds: i64| OffsetDateTime::from_unix_timestamp(seconds);
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    let mut params = CertificateParams::default();
    params.not_before = at(now.as_second().saturating_sub(seconds(SKEW)))?;
    params.not_after = at(now.as_second().saturating_add(seconds(valid)))?;
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    params.distinguished_name = distinguished;
    Ok(params)
}

fn ca_params(now: Timestamp) -> Result<CertificateParams, CertificateError> {
    // The time tells two CAs apart that a bundle holds at once.
    let mut params = params(
        now,
        CA_VALID,
        &format!("bpfleet artifacts CA {}", now.as_second()),
    )?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn server_params(server_name: &str, now: Timestamp) -> Result<CertificateParams, CertificateError> {
    let mut params = params(now, SERVER_VALID, "bpfleet artifacts")?;
    params.subject_alt_names = CertificateParams::new(vec![server_name.to_owned()])?.subject_alt_names;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "artifacts.test.svc";
    const DAY: i64 = 86_400;

    fn day(days: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + days * DAY).unwrap()
    }

    fn made() -> Material {
        renew(None, NAME, day(0)).unwrap().unwrap()
    }

    #[test]
    fn what_was_made_is_kept_until_two_thirds_of_its_time_are_over() {
        let first = made();
        for days in [0, 1, 59] {
            assert_eq!(renew(Some(&first), NAME, day(days)).unwrap(), None, "day {days}");
        }
        let second = renew(Some(&first), NAME, day(61)).unwrap().expect("renewed");
        assert_eq!(
            (&second.ca_bundle, &second.ca_key),
            (&first.ca_bundle, &first.ca_key)
        );
        assert_ne!(second.certificate, first.certificate);
        assert_eq!(renew(Some(&second), NAME, day(61 + 59)).unwrap(), None);
    }

    #[test]
    fn a_new_ca_is_bundled_with_the_one_before() {
        let first = made();
        let second = renew(Some(&first), NAME, day(3650 * 2 / 3 + 2))
            .unwrap()
            .expect("renewed");
        assert_ne!(second.ca_key, first.ca_key);
        assert_eq!(certificates(&second.ca_bundle).len(), 2);
        assert!(
            second
                .ca_bundle
                .ends_with(&to_pem(&certificates(&first.ca_bundle)[0]))
        );
        // Once it has run out, it goes.
        let third = renew(Some(&second), NAME, day(3650 * 2))
            .unwrap()
            .expect("renewed");
        assert!(
            !certificates(&third.ca_bundle)
                .iter()
                .any(|pem| pem.contents == certificates(&first.ca_bundle)[0].contents)
        );
    }

    #[test]
    fn what_does_not_fit_is_made_anew() {
        let good = made();
        let other = made();
        let cases = [
            ("another name", Material { ..good.clone() }, "other.test.svc"),
            (
                "a key of another",
                Material {
                    key: other.key.clone(),
                    ..good.clone()
                },
                NAME,
            ),
            (
                "a CA key of another",
                Material {
                    ca_key: other.ca_key.clone(),
                    ..good.clone()
                },
                NAME,
            ),
            (
                "no certificate",
                Material {
                    certificate: "x".to_owned(),
                    ..good.clone()
                },
                NAME,
            ),
            (
                "no CA",
                Material {
                    ca_bundle: String::new(),
                    ..good.clone()
                },
                NAME,
            ),
        ];
        for (what, material, name) in cases {
            let renewed = renew(Some(&material), name, day(1)).unwrap();
            let renewed = renewed.unwrap_or_else(|| panic!("{what}: kept"));
            assert_eq!(renew(Some(&renewed), name, day(1)).unwrap(), None, "{what}");
        }
        assert_eq!(
            renew(Some(&good), NAME, day(-1)).unwrap().map(|_| ()),
            Some(()),
            "not valid yet"
        );
    }

    #[test]
    fn a_secret_reads_back_and_an_incomplete_one_does_not() {
        let material = made();
        let mut data = material.to_secret();
        assert_eq!(Material::from_secret(&data), Some(material));
        data.remove("tls.key");
        assert_eq!(Material::from_secret(&data), None);
    }
}
