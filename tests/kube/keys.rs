use std::{fs, path::Path};

use anyhow::{Context, anyhow};
use base64::{Engine, engine::general_purpose::STANDARD};
use ring::{
    rand::{SecureRandom, SystemRandom},
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
};

/// What stands before the point of a P-256 key in its SubjectPublicKeyInfo (RFC 5480).
const P256_HEAD: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// Makes the key by which the API server signs ServiceAccounts' tokens.
pub(super) fn signing_key(private: &Path, public: &Path) -> anyhow::Result<()> {
    let random = SystemRandom::new();
    let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random)
        .map_err(|_| anyhow!("no key could be made"))?;
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, key.as_ref(), &random)
        .map_err(|_| anyhow!("the key that was made cannot be read"))?;
    write_pem(private, "PRIVATE KEY", key.as_ref())?;
    write_pem(public, "PUBLIC KEY", &[&P256_HEAD, pair.public_key().as_ref()].concat())
}

/// A token that nobody guesses.
pub(super) fn token() -> anyhow::Result<String> {
    let mut bytes = [0; 24];
    SystemRandom::new().fill(&mut bytes).map_err(|_| anyhow!("no random bytes"))?;
    Ok(STANDARD.encode(bytes))
}

fn write_pem(path: &Path, label: &str, der: &[u8]) -> anyhow::Result<()> {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]).collect();
    let pem = format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"));
    fs::write(path, pem).with_context(|| format!("writing {}", path.display()))
}
