//! The cluster's identity: the UID of namespace kube-system, which never changes. One read, no watch.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};
use tokio::{sync::mpsc, time::timeout};

use super::trouble;
use crate::world::message::{Kind, Message};

const NAMESPACE: &str = "kube-system";
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_secs(5);

pub(super) async fn run(client: Client, addresses: BTreeSet<IpAddr>, to: mpsc::Sender<Message>) {
    if to.send(Message::ApiServer(addresses)).await.is_err() {
        return;
    }
    let api: Api<Namespace> = Api::all(client);
    let mut told = None;
    loop {
        let trouble = match timeout(ANSWER_WITHIN, api.get(NAMESPACE)).await {
            Ok(Ok(Namespace { metadata, .. })) => match metadata.uid.filter(|uid| !uid.is_empty()) {
                Some(uid) => {
                    let _ = to.send(Message::Trouble(Kind::Cluster, None)).await;
                    let _ = to.send(Message::Cluster(uid)).await;
                    return;
                }
                None => Some(format!("namespace {NAMESPACE} has no UID: is this a Kubernetes API server?")),
            },
            Ok(Err(error)) => trouble::of_request(Kind::Cluster, &error),
            Err(_) => Some("the API server does not answer".to_owned()),
        };
        if trouble != told {
            if let Some(text) = &trouble {
                tracing::warn!(kind = %Kind::Cluster, "{text}");
            }
            if to.send(Message::Trouble(Kind::Cluster, trouble.clone())).await.is_err() {
                return;
            }
            told = trouble;
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = to.closed() => return,
        }
    }
}
