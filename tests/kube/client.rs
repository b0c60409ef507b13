use std::{path::Path, sync::mpsc, thread::JoinHandle};

use anyhow::{Context, anyhow};
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{
    Client, Config,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::Value;

use crate::lab::Namespace;

/// The kinds of objects that cases touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Namespace,
    Node,
    Service,
    EndpointSlice,
    Lease,
    Event,
    Pool,
    Policy,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::Namespace,
        Self::Node,
        Self::Service,
        Self::EndpointSlice,
        Self::Lease,
        Self::Event,
        Self::Pool,
        Self::Policy,
    ];

    fn parts(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Self::Namespace => ("", "v1", "Namespace", "namespaces"),
            Self::Node => ("", "v1", "Node", "nodes"),
            Self::Service => ("", "v1", "Service", "services"),
            Self::EndpointSlice => ("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"),
            Self::Lease => ("coordination.k8s.io", "v1", "Lease", "leases"),
            Self::Event => ("events.k8s.io", "v1", "Event", "events"),
            Self::Pool => ("announcer.dev", "v1alpha1", "LoadBalancerIPPool", "loadbalancerippools"),
            Self::Policy => ("announcer.dev", "v1alpha1", "L2AnnouncementPolicy", "l2announcementpolicies"),
        }
    }

    fn resource(self) -> ApiResource {
        let (group, version, kind, plural) = self.parts();
        ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version: if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") },
            kind: kind.to_owned(),
            plural: plural.to_owned(),
        }
    }

    fn api(self, client: Client, namespace: Option<&str>) -> kube::Api<DynamicObject> {
        match namespace {
            Some(namespace) => kube::Api::namespaced_with(client, namespace, &self.resource()),
            None => kube::Api::all_with(client, &self.resource()),
        }
    }

    fn of(object: &Value) -> anyhow::Result<Self> {
        let kind = object["kind"].as_str().context("an object without a kind")?;
        Self::ALL.into_iter().find(|k| k.parts().2 == kind).with_context(|| format!("unknown kind {kind}"))
    }
}

type Job = Box<dyn FnOnce(&tokio::runtime::Runtime, &Client) + Send>;

/// A client of the lab's API server: a thread in the LAN's namespace that does one call after another.
#[derive(Debug)]
pub struct Api {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Api {
    /// Connects from `inside` with the credentials of `kubeconfig`.
    pub fn new(inside: &Namespace, kubeconfig: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(kubeconfig).with_context(|| kubeconfig.display().to_string())?;
        let (jobs, inbox) = mpsc::channel::<Job>();
        let (ready, made) = mpsc::channel();
        let thread = inside.spawn(move || {
            let made = connect(&text);
            match made {
                Ok((runtime, client)) => {
                    let _ = ready.send(Ok(()));
                    for job in inbox {
                        job(&runtime, &client);
                    }
                }
                Err(error) => drop(ready.send(Err(error))),
            }
        });
        made.recv().context("the API client's thread ended")??;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    fn call<T, F>(&self, make: impl FnOnce(Client) -> F + Send + 'static) -> anyhow::Result<T>
    where
        T: Send + 'static,
        F: Future<Output = anyhow::Result<T>>,
    {
        let (send, receive) = mpsc::channel();
        let job: Job = Box::new(move |runtime, client| drop(send.send(runtime.block_on(make(client.clone())))));
        self.jobs
            .as_ref()
            .context("the API client is closed")?
            .send(job)
            .map_err(|_| anyhow!("the API client ended"))?;
        receive.recv().context("the API client ended")?
    }

    /// The body of a GET of `path` (`/readyz`, `/metrics`).
    pub fn text(&self, path: &str) -> anyhow::Result<String> {
        let path = path.to_owned();
        self.call(|client| async move {
            let request = kube::core::Request::new(path).list(&ListParams::default())?;
            Ok(client.request_text(request).await?)
        })
    }

    /// Server-side apply of what `object` says.
    pub fn apply(&self, object: &Value) -> anyhow::Result<Value> {
        let kind = Kind::of(object)?;
        let name = object["metadata"]["name"].as_str().context("an object without a name")?.to_owned();
        let namespace = object["metadata"]["namespace"].as_str().map(str::to_owned);
        let mut object = object.clone();
        object["apiVersion"] = kind.resource().api_version.into();
        self.call(move |client| async move {
            let api = kind.api(client, namespace.as_deref());
            let applied = api.patch(&name, &PatchParams::apply("lab").force(), &Patch::Apply(&object)).await?;
            Ok(serde_json::to_value(applied)?)
        })
    }

    /// Merges `patch` into the object, or with `status` into its status.
    pub fn merge(&self, kind: Kind, at: (Option<&str>, &str), patch: Value, status: bool) -> anyhow::Result<Value> {
        let (namespace, name) = (at.0.map(str::to_owned), at.1.to_owned());
        self.call(move |client| async move {
            let api = kind.api(client, namespace.as_deref());
            let (parameters, patch) = (PatchParams::default(), Patch::Merge(&patch));
            let merged = if status {
                api.patch_status(&name, &parameters, &patch).await?
            } else {
                api.patch(&name, &parameters, &patch).await?
            };
            Ok(serde_json::to_value(merged)?)
        })
    }

    /// The object, if it exists.
    pub fn get(&self, kind: Kind, namespace: Option<&str>, name: &str) -> anyhow::Result<Option<Value>> {
        let (namespace, name) = (namespace.map(str::to_owned), name.to_owned());
        self.call(move |client| async move {
            let found = kind.api(client, namespace.as_deref()).get_opt(&name).await?;
            Ok(found.map(serde_json::to_value).transpose()?)
        })
    }

    /// All objects of the kind, in all namespaces unless one is named.
    pub fn list(&self, kind: Kind, namespace: Option<&str>) -> anyhow::Result<Vec<Value>> {
        let namespace = namespace.map(str::to_owned);
        self.call(move |client| async move {
            let found = kind.api(client, namespace.as_deref()).list(&ListParams::default()).await?;
            found.items.into_iter().map(|o| Ok(serde_json::to_value(o)?)).collect()
        })
    }

    pub fn delete(&self, kind: Kind, namespace: Option<&str>, name: &str) -> anyhow::Result<()> {
        let (namespace, name) = (namespace.map(str::to_owned), name.to_owned());
        self.call(move |client| async move {
            kind.api(client, namespace.as_deref()).delete(&name, &DeleteParams::default()).await?;
            Ok(())
        })
    }

    /// A token of the ServiceAccount, as a kubelet gets it for a Pod.
    pub fn token(&self, namespace: &str, account: &str) -> anyhow::Result<String> {
        let (namespace, account) = (namespace.to_owned(), account.to_owned());
        self.call(move |client| async move {
            let api: kube::Api<ServiceAccount> = kube::Api::namespaced(client, &namespace);
            let spec = TokenRequestSpec { expiration_seconds: Some(24 * 3600), ..TokenRequestSpec::default() };
            let request = TokenRequest { spec, ..TokenRequest::default() };
            let answer = api.create_token_request(&account, &PostParams::default(), &request).await?;
            Ok(answer.status.context("a token request without a token")?.token)
        })
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn connect(kubeconfig: &str) -> anyhow::Result<(tokio::runtime::Runtime, Client)> {
    // On this thread alone, so that its sockets belong to this thread's namespace.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let config = Kubeconfig::from_yaml(kubeconfig)?;
    let client = runtime.block_on(async {
        let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
        anyhow::Ok(Client::try_from(config)?)
    })?;
    Ok((runtime, client))
}
