//! Puts the parts together: a data directory and the CRDs in, an API out.

use std::collections::HashMap;
use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::SystemTime;

use axum::response::Response;
use http::Request;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::access::{
    self, AdminKubeconfig, Authority, AuthorityError, Endpoint, Identity, KubeconfigError, SanError,
    ServerCert, ServerNames, Users, UsersError, Vault,
};
use crate::catalogue::Catalogue;
use crate::decode::settle_numbers;
use crate::http::Api;
use crate::options::FieldValidation;
use crate::resource::Resource;
use crate::schema::validate::{SchemaError, Validator};
use crate::selector::SelectableFields;
use crate::serve::{self, ListenError, TlsError};
use crate::server::{Served, Server};
use crate::status::ApiError;
use crate::store::{self, ReadError, Store, WriteError};
use crate::write::{Body, Target, Terms};
use crate::{builtin, clock, crd, object};

/// The file in the data directory that `kubectl` is given.
pub const ADMIN_KUBECONFIG: &str = "admin.kubeconfig";
/// The file in the data directory with the other users.
pub const USERS: &str = "users.yaml";
/// Encrypted at rest.
const SEALED: [&str; 1] = ["secrets"];
/// The namespace whose uid tells this cluster from others.
const SYSTEM: &str = "kube-system";
/// Made at the first start.
const NAMESPACES: [&str; 2] = ["default", SYSTEM];

/// Why the API does not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Store(#[from] store::OpenError),
    #[error("the CRD {name} cannot be served")]
    Definition {
        name: String,
        #[source]
        source: SchemaError,
    },
    #[error("the CRD {0} has no served version")]
    NoVersion(String),
    #[error("failed to make what every cluster has")]
    First(#[source] ApiError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Names(#[from] SanError),
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Users(#[from] UsersError),
    #[error(transparent)]
    Kubeconfig(#[from] KubeconfigError),
    #[error("failed to read the store")]
    Read(#[from] ReadError),
    #[error("failed to write the store")]
    Write(#[from] WriteError),
    #[error("failed to listen for the API")]
    Socket(#[source] std::io::Error),
}

/// An open API. Nothing listens yet.
#[derive(Debug)]
pub struct Standalone {
    api: Api,
    server: Arc<Server>,
    dir: PathBuf,
    listen: SocketAddr,
}

impl Standalone {
    /// Opens the data directory, or makes one. `definitions` are the CRDs; `listen` is where `serve` will be asked to listen.
    pub async fn open(dir: &Path, definitions: &[Value], listen: SocketAddr) -> Result<Self, OpenError> {
        let options = store::Options { sealed: SEALED.map(Into::into).to_vec(), ..store::Options::default() };
        let store = Store::open(dir, options)?;
        let mut definitions = definitions.to_vec();
        definitions.iter_mut().for_each(settle_numbers);
        let definitions = definitions.as_slice();
        let kinds = kinds(definitions)?;
        let resources: Vec<Resource> = kinds.iter().map(|served| served.resource.clone()).collect();
        let server = Arc::new(Server::new(store, kinds));
        server.found(definitions).await?;
        let catalogue = Catalogue::new(resources, definitions, listen.to_string());
        Ok(Self { api: Api::new(server.clone(), catalogue), server, dir: dir.to_owned(), listen })
    }

    /// The API for the controller in this process, which may do everything.
    pub fn local(&self) -> LocalApi {
        LocalApi(self.api.clone())
    }

    /// Does what a cluster's controller manager does, until `stop`: dependents follow their owners, the content of a namespace follows
    /// the namespace.
    pub fn keep_house(&self, stop: CancellationToken) -> impl Future<Output = ()> + Send + 'static {
        let server = self.server.clone();
        async move {
            tokio::select! {
                () = server.keep_house() => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Serves HTTPS on the listener, until `stop`. Writes the admin's kubeconfig first.
    pub async fn serve(
        self,
        listener: TcpListener,
        names: &[String],
        stop: CancellationToken,
    ) -> Result<impl Future<Output = ()> + Send + 'static, OpenError> {
        let now = SystemTime::now();
        let vault = Kept::read(&self.server.store).await?;
        let authority = Arc::new(Authority::load_or_make(&vault, now)?);
        vault.write(&self.server.store).await?;
        let address = listener.local_addr().map_err(OpenError::Socket)?;
        let names = ServerNames::new(self.listen, names)?;
        let certificate = Arc::new(ServerCert::new(authority.clone(), names, now)?);
        let tls = serve::tls_config(&authority, certificate.clone())?;
        let users = Arc::new(Users::open(self.dir.join(USERS))?);
        let kubeconfig =
            AdminKubeconfig::new(self.dir.join(ADMIN_KUBECONFIG), Endpoint::of(address), authority);
        kubeconfig.refresh(now)?;
        info!(
            "the API is at https://{address}; kubectl --kubeconfig {}",
            self.dir.join(ADMIN_KUBECONFIG).display()
        );
        Ok(async move {
            let api = serve::serve(listener, tls, users, self.api, stop.clone());
            tokio::join!(api, kubeconfig.keep(certificate, stop.clone()));
        })
    }
}

/// Every kind that is served.
fn kinds(definitions: &[Value]) -> Result<Vec<Served>, OpenError> {
    let mut kinds: Vec<Served> = builtin::resources()
        .into_iter()
        .map(|mut resource| {
            resource.read_only = resource.kind == "CustomResourceDefinition";
            let selectable = SelectableFields::of_built_in(&resource.group, &resource.kind);
            Served::new(resource, None, selectable)
        })
        .collect();
    let meta = builtin::object_meta();
    for definition in definitions {
        let name = || object::name(definition).to_owned();
        let resource = crd::resource(definition, &meta).ok_or_else(|| OpenError::NoVersion(name()))?;
        let version =
            crd::storage_version(&definition["spec"]).ok_or_else(|| OpenError::NoVersion(name()))?;
        let schema = &version["schema"]["openAPIV3Schema"];
        let validator =
            Validator::new(schema).map_err(|source| OpenError::Definition { name: name(), source })?;
        let fields: Vec<String> = version["selectableFields"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|field| field["jsonPath"].as_str().map(str::to_owned))
            .collect();
        let selectable = SelectableFields::of_custom(resource.namespaced, &fields);
        kinds.push(Served::new(resource, Some(validator), selectable));
    }
    Ok(kinds)
}

impl Server {
    /// Makes what is there before anybody has made anything: two namespaces and the CRDs.
    async fn found(&self, definitions: &[Value]) -> Result<(), OpenError> {
        let user = Identity::controller();
        let terms =
            Terms { manager: "skerry", dry_run: false, validation: FieldValidation::Strict, user: &user };
        let spaces = self.namespaces().map_err(OpenError::First)?;
        for name in NAMESPACES {
            let target = Target { served: spaces, namespace: "", name: "", subresource: "" };
            let space = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            let made = self.create(target, terms, Body { value: space, duplicates: Vec::new() }).await;
            match made {
                Err(error) if error.reason != "AlreadyExists" => return Err(OpenError::First(error)),
                _ => {}
            }
        }
        self.follow_restore().await?;
        for definition in definitions {
            self.found_definition(definition).await.map_err(OpenError::First)?;
        }
        Ok(())
    }

    /// A restored store is another cluster, by the uid that tells clusters apart: nodes that hold what came after the backup keep it
    /// and say so, instead of taking the past for news.
    async fn follow_restore(&self) -> Result<(), OpenError> {
        if self.store.get_file(store::RESTORED).await?.is_none_or(|mark| mark.is_empty()) {
            return Ok(());
        }
        let served = self.namespaces().map_err(OpenError::First)?;
        let target = Target { served, namespace: "", name: SYSTEM, subresource: "" };
        let uid = uuid::Uuid::new_v4().to_string();
        let done = self.amend(target, |space| object::set(space, "uid", Some(uid.as_str().into()))).await;
        done.map_err(OpenError::First)?;
        info!("restored from a backup: this is cluster {uid} from now on");
        Ok(self.store.put_file(store::RESTORED, Vec::new(), false).await?)
    }

    /// Stores a CRD as this program brings it, unless it is stored so already.
    async fn found_definition(&self, definition: &Value) -> Result<(), ApiError> {
        let Some(served) = self.find("apiextensions.k8s.io", "v1", "customresourcedefinitions") else {
            return Ok(());
        };
        let target = Target { served, namespace: "", name: object::name(definition), subresource: "" };
        let stored = self.live(target).await?;
        let Some(stored) = stored else {
            let mut made = crd::served(definition, &clock::now());
            object::set(&mut made, "uid", Some(uuid::Uuid::new_v4().to_string().into()));
            let key = served.key("", object::name(definition));
            let change = store::Change::Put(object::draft(made));
            let done = self.store.write(key, store::Expect::Absent, change).await;
            return done.map(drop).map_err(crate::write::refused_by_store);
        };
        let live = crate::write::parse(&stored)?;
        let created = object::text(&live, "creationTimestamp").to_owned();
        let wanted = crd::served(definition, &created);
        self.amend(target, |object| {
            for field in ["spec", "status"] {
                object::put(object::fields(object), field, wanted.get(field).cloned());
            }
        })
        .await
    }
}

/// Files of the access layer, kept sealed in the store, so that a backup is whole. That layer waits for nothing, so they are read
/// before and written after.
#[derive(Debug)]
struct Kept {
    before: HashMap<&'static str, Vec<u8>>,
    saved: Mutex<Vec<(String, Vec<u8>)>>,
}

impl Kept {
    async fn read(store: &Store) -> Result<Self, ReadError> {
        let mut before = HashMap::new();
        if let Some(content) = store.get_file(access::AUTHORITY).await? {
            before.insert(access::AUTHORITY, content);
        }
        Ok(Self { before, saved: Mutex::default() })
    }

    async fn write(self, store: &Store) -> Result<(), WriteError> {
        for (name, content) in self.saved.into_inner().unwrap_or_else(PoisonError::into_inner) {
            store.put_file(&name, content, true).await?;
        }
        Ok(())
    }
}

impl Vault for Kept {
    fn load(&self, name: &str) -> Result<Option<Vec<u8>>, Box<dyn Error + Send + Sync>> {
        Ok(self.before.get(name).cloned())
    }

    fn save(&self, name: &str, bytes: &[u8]) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.saved.lock().unwrap_or_else(PoisonError::into_inner).push((name.to_owned(), bytes.to_vec()));
        Ok(())
    }
}

/// The API as a service for a client in this process.
#[derive(Debug, Clone)]
pub struct LocalApi(Api);

impl<B> tower::Service<Request<B>> for LocalApi
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = <Api as tower::Service<Request<B>>>::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        request.extensions_mut().insert(Arc::new(Identity::controller()));
        tower::Service::call(&mut self.0, request)
    }
}
