use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
    time::Duration,
};

use anyhow::{Context, bail};

use super::{Api, Binaries, files, keys};
use crate::{
    lab::{API_SERVER, Lab, Namespace, Process},
    wait::{wait_for, wait_until},
};

const PORT: u16 = 6443;
const READY_WITHIN: Duration = Duration::from_secs(40);

/// etcd and kube-apiserver, and what one needs to talk to them.
#[derive(Debug)]
pub struct ControlPlane {
    pub api: Api,
    directory: PathBuf,
    authority: PathBuf,
    /// An administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    binaries: Binaries,
    lan: Namespace,
    token: String,
    apiserver: Process,
    etcd: Process,
}

impl ControlPlane {
    /// Starts both in the LAN's namespace and waits until the API server is ready.
    pub fn start(lab: &Lab) -> anyhow::Result<Self> {
        let binaries = Binaries::find()?;
        let directory = lab.run.directory().join("kube");
        let certificates = directory.join("certificates");
        fs::create_dir_all(&certificates).with_context(|| certificates.display().to_string())?;
        let mut etcd = start_etcd(lab, &binaries, &directory)?;
        let token = keys::token()?;
        let mut apiserver = start_apiserver(lab, &binaries, &directory, &token)?;
        // The API server makes itself a certificate for its address; the file ends with the authority's.
        let authority = certificates.join("apiserver.crt");
        wait_for("the API server has its certificate", READY_WITHIN, || {
            alive(&mut etcd, "etcd")?;
            alive(&mut apiserver, "kube-apiserver")?;
            Ok(fs::read_to_string(&authority).is_ok_and(|text| text.matches("END CERTIFICATE").count() > 1))
        })?;
        let kubeconfig = directory.join("admin.kubeconfig");
        write_kubeconfig(&kubeconfig, &authority, &token)?;
        let api = Api::new(&lab.lan, &kubeconfig)?;
        wait_for("the API server is ready", READY_WITHIN, || {
            alive(&mut apiserver, "kube-apiserver")?;
            Ok(api.text("/readyz")? == "ok")
        })?;
        Ok(Self { api, directory, authority, kubeconfig, binaries, lan: lab.lan.clone(), token, apiserver, etcd })
    }

    /// Applies the project's manifests: CRDs, namespace, ServiceAccount, RBAC, DaemonSet (which nothing here runs).
    pub fn apply_manifests(&self) -> anyhow::Result<()> {
        let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/base");
        self.kubectl_checked(&["apply", "--server-side", "-k", &base.display().to_string()])?;
        wait_until("the API server serves pools and policies", Duration::from_secs(10), || {
            self.api.list(super::Kind::Pool, None)?;
            self.api.list(super::Kind::Policy, None).map(Some)
        })?;
        Ok(())
    }

    /// Takes the API server away, as by a crash; etcd keeps what it knew.
    pub fn stop_apiserver(&mut self) {
        self.apiserver.kill();
    }

    /// Brings it back and waits until it is ready.
    pub fn start_apiserver(&mut self, lab: &Lab) -> anyhow::Result<()> {
        self.apiserver = start_apiserver(lab, &self.binaries, &self.directory, &self.token)?;
        wait_for("the API server is ready again", READY_WITHIN, || Ok(self.api.text("/readyz")? == "ok"))
    }

    /// A kubeconfig with a token of the ServiceAccount: what an agent's Pod has.
    pub fn agent_kubeconfig(&self, name: &str) -> anyhow::Result<PathBuf> {
        let token = self.api.token("announcer-system", "announcer")?;
        let path = self.directory.join(format!("{name}.kubeconfig"));
        write_kubeconfig(&path, &self.authority, &token)?;
        Ok(path)
    }

    /// Runs kubectl as administrator.
    pub fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        self.lan
            .command(&self.binaries.kubectl)
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .arg("--cache-dir")
            .arg(self.directory.join("kubectl-cache"))
            .args(arguments)
            .output()
            .context("running kubectl")
    }

    /// The same; its standard output, or an error with what it wrote to standard error.
    pub fn kubectl_checked(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.kubectl(arguments)?;
        if !output.status.success() {
            bail!("kubectl {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The command line by which a person runs kubectl against this API server.
    #[must_use]
    pub fn kubectl_line(&self) -> String {
        format!(
            "nsenter --net=/run/netns/{} {} --kubeconfig {}",
            self.lan.name(),
            self.binaries.kubectl.display(),
            self.kubeconfig.display()
        )
    }

    /// Lets both processes live on after this value.
    pub fn detach(&mut self) {
        self.apiserver.detach();
        self.etcd.detach();
    }
}

fn alive(process: &mut Process, name: &str) -> anyhow::Result<()> {
    if let Some(status) = process.ended()? {
        let log = process.log();
        let tail: Vec<&str> = log.lines().rev().take(5).collect();
        bail!("{name} ended ({status}): {}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
    }
    Ok(())
}

fn start_etcd(lab: &Lab, binaries: &Binaries, directory: &Path) -> anyhow::Result<Process> {
    let mut command = lab.lan.command(&binaries.etcd);
    command.arg("--data-dir").arg(directory.join("etcd")).args([
        "--name=lab",
        "--listen-client-urls=http://127.0.0.1:2379",
        "--advertise-client-urls=http://127.0.0.1:2379",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--initial-advertise-peer-urls=http://127.0.0.1:2380",
        "--initial-cluster=lab=http://127.0.0.1:2380",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]);
    Process::start(lab.run, "etcd", command)
}

fn start_apiserver(lab: &Lab, binaries: &Binaries, directory: &Path, token: &str) -> anyhow::Result<Process> {
    let (private, public) = (directory.join("sa.key"), directory.join("sa.pub"));
    // The same over a restart, or the agents' tokens were void.
    if !private.exists() {
        keys::signing_key(&private, &public)?;
    }
    let tokens = directory.join("tokens.csv");
    fs::write(&tokens, format!("{token},admin,admin,system:masters\n"))?;
    let mut command = lab.lan.command(&binaries.kube_apiserver);
    command
        .arg("--cert-dir")
        .arg(directory.join("certificates"))
        .arg("--token-auth-file")
        .arg(tokens)
        .arg("--service-account-signing-key-file")
        .arg(private)
        .arg("--service-account-key-file")
        .arg(public)
        .args([
            "--etcd-servers=http://127.0.0.1:2379",
            &format!("--bind-address={API_SERVER}"),
            &format!("--advertise-address={API_SERVER}"),
            &format!("--secure-port={PORT}"),
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-cluster-ip-range=10.96.0.0/16",
            // No controller manager runs that would make default ServiceAccounts and endpoints.
            "--disable-admission-plugins=ServiceAccount",
            "--endpoint-reconciler-type=none",
            // Its own Lease would be counted among the agents' requests.
            "--feature-gates=APIServerIdentity=false",
            "--profiling=false",
            "--v=0",
        ]);
    Process::start(lab.run, "kube-apiserver", command)
}

fn write_kubeconfig(path: &Path, authority: &Path, token: &str) -> anyhow::Result<()> {
    let server = format!("https://{API_SERVER}:{PORT}");
    let config = files::kubeconfig(&server, authority, token);
    fs::write(path, serde_json::to_string_pretty(&config)?).with_context(|| path.display().to_string())
}
