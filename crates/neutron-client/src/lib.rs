//! Typed Neutron calls over anything that carries one HTTP exchange.
//!
//! The seam is a [`tower::Service`] from a request with a relative URI (`/v2.0/ports?..`) to a
//! whole reply: an authenticated session with a cloud, a server in this process and a closure in a
//! test all fit. Time limits, retries and what is known of Neutron's manners live on this side.

mod call;
mod error;
mod filter;
mod retry;
mod trunk;

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use neutron_api::{Change, Create, Extension, Resource};
use tokio::sync::OnceCell;
use tokio::time::Instant;
use tower::Service;
use tower::util::BoxCloneSyncService;

use call::Call;

pub use error::{Act, Error, Failure};
pub use filter::Filter;

/// A Neutron to call; clones share connections and what was learnt.
#[derive(Clone)]
pub struct Neutron {
    exchange: BoxCloneSyncService<Request<Bytes>, Response<Bytes>, Failure>,
    deadline: Option<Instant>,
    extensions: Arc<OnceCell<Vec<String>>>,
}

/// An object that was made.
#[derive(Clone, Debug)]
pub struct Created<R> {
    /// It.
    pub object: R,
    /// Whether it was asked for more than once, so that there may come to be another like it.
    pub repeated: bool,
}

impl Neutron {
    /// Calls go through `exchange`. Does no I/O.
    pub fn new<S>(exchange: S) -> Self
    where
        S: Service<Request<Bytes>, Response = Response<Bytes>> + Clone + Send + Sync + 'static,
        S::Error: Into<Failure>,
        S::Future: Future + Send + 'static,
    {
        use tower::ServiceExt;
        Self {
            exchange: BoxCloneSyncService::new(exchange.map_err(Into::into)),
            deadline: None,
            extensions: Arc::default(),
        }
    }

    /// The same Neutron, for calls that must have ended by `deadline`, retries included.
    #[must_use]
    pub fn by(&self, deadline: Instant) -> Self {
        Self {
            deadline: Some(deadline),
            ..self.clone()
        }
    }

    /// Makes an object.
    ///
    /// A request whose reply is lost may have been carried out. `identity` is what tells this
    /// object from all others from the moment it exists: by it the object is looked for before the
    /// request is repeated, so that one call never makes two.
    ///
    /// # Errors
    /// Neutron's refusal, or what kept the reply from us.
    pub async fn create<C: Create>(&self, new: &C, identity: &Filter) -> Result<C::Made, Error> {
        let created = self.create_counted(new, identity).await?;
        Ok(created.object)
    }

    /// The same, telling whether the request was made more than once: Neutron may finish the first
    /// long after it was looked for, and then there are two.
    ///
    /// # Errors
    /// Neutron's refusal, or what kept the reply from us.
    pub async fn create_counted<C: Create>(
        &self,
        new: &C,
        identity: &Filter,
    ) -> Result<Created<C::Made>, Error> {
        let act = Act::new("create", format!("{} {}", spaced(C::Made::ONE), new.name()));
        let request = Call::create(new, &act)?;
        let mut retries = self.retries();
        let mut repeated = false;
        loop {
            let error = match self.once(&act, &request).await {
                Ok(reply) => {
                    let object = call::one(&act, &reply)?;
                    return Ok(Created { object, repeated });
                }
                Err(error) => error,
            };
            retries.pause_after(error).await?;
            if let Some(object) = self.list::<C::Made>(identity).await?.into_iter().next() {
                tracing::info!(id = %object.id(), "found what a lost reply had announced: {act}");
                return Ok(Created { object, repeated });
            }
            repeated = true;
        }
    }

    /// Makes several objects in one request: all or none. Asked once, as nothing tells whether a
    /// request whose reply was lost has been carried out.
    ///
    /// # Errors
    /// Neutron's refusal, or what kept the reply from us.
    pub async fn create_all<C: Create>(&self, new: &[C]) -> Result<Vec<C::Made>, Error> {
        let act = Act::new("create", format!("{} {}", new.len(), spaced(C::Made::MANY)));
        let reply = self.once(&act, &Call::create_all(new, &act)?).await?;
        Ok(call::page(&act, &reply)?.objects)
    }

    /// The object with this identifier; none if there is no such, or not for us.
    ///
    /// # Errors
    /// Neutron's refusal, or what kept the reply from us.
    pub async fn find<R: Resource>(&self, id: R::Id) -> Result<Option<R>, Error> {
        let act = Act::new("look up", format!("{} {id}", spaced(R::ONE)));
        match self.repeat(&act, &Call::find::<R>(id)).await {
            Ok(reply) => call::one(&act, &reply).map(Some),
            Err(error) if error.is_absence() => Ok(None),
            Err(error) if error.is_vague_absence() => self.listed(id).await,
            Err(error) => Err(error),
        }
    }

    /// All objects that `filter` lets through.
    ///
    /// # Errors
    /// Neutron's refusal, or what kept the reply from us.
    pub async fn list<R: Resource>(&self, filter: &Filter) -> Result<Vec<R>, Error> {
        let act = Act::new("list", format!("{} with {filter}", spaced(R::MANY)));
        let mut all: Vec<R> = Vec::new();
        loop {
            let marker = all.last().map(Resource::id);
            let reply = self.repeat(&act, &Call::list::<R>(filter, marker)).await?;
            let page: call::Page<R> = call::page(&act, &reply)?;
            if let Some(last) = page.objects.last()
                && all.iter().any(|known| known.id() == last.id())
            {
                return Err(Error::repeats_itself(&act, &reply));
            }
            let done = page.objects.is_empty() || !page.more;
            all.extend(page.objects);
            if done {
                return Ok(all);
            }
        }
    }

    /// Changes an object and returns what it has become.
    ///
    /// # Errors
    /// Neutron's refusal, or what kept the reply from us.
    pub async fn update<C: Change>(
        &self,
        id: <C::Changed as Resource>::Id,
        change: &C,
    ) -> Result<C::Changed, Error> {
        self.update_at(id, change, None).await
    }

    /// The same, only if the object still has this revision: nobody has changed it since it was
    /// read. If somebody has, it is refused with status 412 (precondition failed); so is a repeated
    /// request whose first reply was lost.
    ///
    /// # Errors
    /// Neutron's refusal, or what kept the reply from us.
    pub async fn update_at<C: Change>(
        &self,
        id: <C::Changed as Resource>::Id,
        change: &C,
        revision: Option<u64>,
    ) -> Result<C::Changed, Error> {
        let act = Act::new("change", format!("{} {id}", spaced(C::Changed::ONE)));
        let call = Call::update(id, change, revision, &act)?;
        let reply = self.repeat(&act, &call).await?;
        call::one(&act, &reply)
    }

    /// Makes an object not exist; whether it did before.
    ///
    /// # Errors
    /// Neutron's refusal, or what kept the reply from us.
    pub async fn delete<R: Resource>(&self, id: R::Id) -> Result<bool, Error> {
        let act = Act::new("delete", format!("{} {id}", spaced(R::ONE)));
        match self.repeat(&act, &Call::delete::<R>(id)).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_absence() => Ok(false),
            Err(error) if error.is_vague_absence() => match self.listed::<R>(id).await? {
                Some(_) => Err(error),
                None => Ok(false),
            },
            Err(error) => Err(error),
        }
    }

    /// The object with this identifier, as a list has it: a Neutron that is just starting answers
    /// "not found" to requests for objects that there are.
    async fn listed<R: Resource>(&self, id: R::Id) -> Result<Option<R>, Error> {
        Ok(self.list(&Filter::new().with("id", id)).await?.pop())
    }

    /// Gives an object these tags and no others.
    ///
    /// # Errors
    /// Neutron's refusal, or what kept the reply from us.
    pub async fn replace_tags<R: Resource>(&self, id: R::Id, tags: &[String]) -> Result<(), Error> {
        let act = Act::new("set the tags of", format!("{} {id}", spaced(R::ONE)));
        self.repeat(&act, &Call::replace_tags::<R>(id, tags))
            .await
            .map(drop)
    }

    /// Takes one tag from an object, whatever others do to its other tags at the same time.
    ///
    /// An object that has not this tag, or is gone, is a success.
    ///
    /// # Errors
    /// Neutron's refusal, or what kept the reply from us.
    pub async fn remove_tag<R: Resource>(&self, id: R::Id, tag: &str) -> Result<(), Error> {
        let act = Act::new("take a tag from", format!("{} {id}", spaced(R::ONE)));
        match self.repeat(&act, &Call::remove_tag::<R>(id, tag)).await {
            Err(error) if !error.is_absence() => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Whether Neutron has an extension. Asked once: extensions come with a new Neutron.
    ///
    /// # Errors
    /// Neutron's refusal, or what kept the reply from us.
    pub async fn has_extension(&self, alias: &str) -> Result<bool, Error> {
        let known = self
            .extensions
            .get_or_try_init(|| async {
                let act = Act::new("list", "extensions".to_owned());
                let reply = self.repeat(&act, &Call::extensions()).await?;
                let list: Vec<Extension> = call::under(&act, &reply, "extensions")?;
                Ok(list.into_iter().map(|extension| extension.alias).collect())
            })
            .await?;
        Ok(known.iter().any(|known| known == alias))
    }
}

/// A wire name as people write it: `security_group` is "security group".
fn spaced(name: &str) -> String {
    match name {
        "subnetpool" => "subnet pool".to_owned(),
        "subnetpools" => "subnet pools".to_owned(),
        "floatingip" => "floating IP".to_owned(),
        "floatingips" => "floating IPs".to_owned(),
        other => other.replace('_', " "),
    }
}
