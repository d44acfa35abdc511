//! Requests to whichever etcd server answers.
//!
//! One connection a server rather than one balanced over all: a server that is gone, or cut off from the others, costs one attempt, and
//! from then on the one that answered is asked first.

use crate::limits;
use etcd_client::{Client, ConnectOptions, Error};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::Instant;
use tonic_code::Code;

/// etcd's client does not re-export the codes it answers with; their numbers are those of gRPC.
mod tonic_code {
    pub enum Code {
        InvalidArgument,
        NotFound,
        PermissionDenied,
        FailedPrecondition,
        OutOfRange,
        Unimplemented,
        Unauthenticated,
        Other,
    }

    impl Code {
        pub fn of(number: i32) -> Code {
            match number {
                3 => Code::InvalidArgument,
                5 => Code::NotFound,
                7 => Code::PermissionDenied,
                9 => Code::FailedPrecondition,
                11 => Code::OutOfRange,
                12 => Code::Unimplemented,
                16 => Code::Unauthenticated,
                _ => Code::Other,
            }
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum EtcdError {
    /// The request was refused, and would be again.
    #[error("{endpoint}: {source}")]
    Refused { endpoint: String, source: Error },
    /// It may have been carried out, or may yet be.
    #[error("no answer of any of {servers} servers within {limit:?}; the last said: {last}")]
    Unanswered { servers: usize, limit: Duration, last: String },
}

struct Member {
    endpoint: String,
    client: Client,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Members {
    members: Arc<[Member]>,
    /// The one that answered last.
    preferred: Arc<AtomicUsize>,
}

impl Members {
    /// Connects lazily: servers that are away now may be there later. To be called in a tokio runtime.
    pub async fn open(endpoints: &[String]) -> Result<Members, EtcdError> {
        let mut members = Vec::with_capacity(endpoints.len());
        for endpoint in endpoints {
            // etcd turns a client away that pings it more often than every five seconds.
            let options = ConnectOptions::new()
                .with_connect_timeout(limits::ETCD_ATTEMPT_MAX)
                .with_keep_alive(Duration::from_secs(6), Duration::from_secs(3))
                .with_require_leader(true);
            let client = Client::connect([endpoint], Some(options)).await;
            let client = client.map_err(|source| EtcdError::Refused { endpoint: endpoint.clone(), source })?;
            members.push(Member { endpoint: endpoint.clone(), client });
        }
        Ok(Members { members: members.into(), preferred: Arc::default() })
    }

    /// Asks one server after the other until one answers. The request may so be carried out more than once: it has to be one that does
    /// nothing the second time.
    pub async fn ask<T, F>(&self, request: impl Fn(Client) -> F) -> Result<T, EtcdError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let limit = limits::ETCD_REQUEST_MAX;
        let deadline = Instant::now() + limit;
        let first = self.preferred.load(Ordering::Relaxed);
        let mut last = String::from("nothing");
        for attempt in 0.. {
            let index = (first + attempt) % self.members.len().max(1);
            let Some(member) = self.members.get(index) else { break };
            let until = deadline.min(Instant::now() + limits::ETCD_ATTEMPT_MAX);
            match tokio::time::timeout_at(until, request(member.client.clone())).await {
                Ok(Ok(answer)) => {
                    self.preferred.store(index, Ordering::Relaxed);
                    return Ok(answer);
                }
                Ok(Err(source)) if is_final(&source) => {
                    return Err(EtcdError::Refused { endpoint: member.endpoint.clone(), source });
                }
                Ok(Err(error)) => last = format!("{}: {error}", member.endpoint),
                Err(_) => last = format!("{}: silent", member.endpoint),
            }
            if (attempt + 1) % self.members.len() == 0 {
                tokio::time::sleep_until(deadline.min(Instant::now() + limits::ETCD_RETRY_DELAY)).await;
            }
            if Instant::now() >= deadline {
                break;
            }
        }
        Err(EtcdError::Unanswered { servers: self.members.len(), limit, last })
    }
}

/// Whether another server would say the same.
fn is_final(error: &Error) -> bool {
    match error {
        Error::GRpcStatus(status) => !matches!(Code::of(status.code() as i32), Code::Other),
        // A lease that is over.
        Error::LeaseKeepAliveError(_) => true,
        _ => false,
    }
}
