//! Settings by YAML file.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Deserializer, de::Error};

use super::{
    ConfigError,
    value::{self, Classless, LogFormat},
};
use crate::world::pattern::LinkPattern;

/// What a settings file may hold; the keys are the flags' names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct FileSettings {
    pub node_name: Option<String>,
    pub kubeconfig: Option<PathBuf>,
    #[serde(deserialize_with = "interfaces")]
    pub interface: Vec<LinkPattern>,
    pub bpffs: Option<PathBuf>,
    pub run_dir: Option<PathBuf>,
    #[serde(deserialize_with = "listen")]
    pub listen: Option<SocketAddr>,
    #[serde(deserialize_with = "port")]
    pub peer_port: Option<u16>,
    pub peer_key_file: Option<PathBuf>,
    #[serde(deserialize_with = "namespace")]
    pub namespace: Option<String>,
    #[serde(deserialize_with = "hold_time")]
    pub hold_time: Option<Duration>,
    pub classless: Option<Classless>,
    #[serde(deserialize_with = "flows")]
    pub flows: Option<u32>,
    pub log_format: Option<LogFormat>,
}

impl FileSettings {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// It cannot be read, is not YAML, has an unknown key or a wrong value: the message has line and column.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|message| ConfigError::File { path: path.to_owned(), message })
    }

    /// Reads the file's content; one without any setting is empty.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let blank = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#') || line.trim() == "---";
        if text.lines().all(blank) {
            return Ok(Self::default());
        }
        serde_saphyr::from_str(text).map_err(|error| error.to_string())
    }
}

/// One scalar of the file, whatever YAML takes it for (`10m`, `7962`).
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Number(u64),
    Text(String),
}

/// One value or a list of them.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

fn scalar<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    check: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, D::Error> {
    let text = match Option::<Scalar>::deserialize(deserializer)? {
        None => return Ok(None),
        Some(Scalar::Number(number)) => number.to_string(),
        Some(Scalar::Text(text)) => text,
    };
    check(&text).map(Some).map_err(D::Error::custom)
}

fn interfaces<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<LinkPattern>, D::Error> {
    let list = match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    };
    list.iter().map(|text| value::interface(text).map_err(D::Error::custom)).collect()
}

fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    scalar(deserializer, value::listen)
}

fn port<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u16>, D::Error> {
    scalar(deserializer, value::port)
}

fn namespace<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    scalar(deserializer, value::namespace)
}

fn hold_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    scalar(deserializer, value::hold_time)
}

fn flows<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    scalar(deserializer, value::flows)
}
