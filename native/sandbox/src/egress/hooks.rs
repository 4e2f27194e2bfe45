//! The door of `wasi:http` in a store: what the guest sends goes through here, in 0.2 and in 0.3.
//!
//! Owns: the budget of the call that runs, and telling of accesses on the guest's thread. It must not
//! know how a request is sent.

use std::sync::Arc;

use http::Request;
use wasmtime_wasi_http::{
    Error as HttpError, RequestOptions, Result as HttpResult, WasiBody, WasiHttpHooks,
};

use super::asked::Asked;
use super::budget::CallBudget;
use super::{Egress, Refusal, target};
use crate::access::Accounts;
use crate::limits::{LimitExceeded, Limits};

/// The hooks of a store.
pub struct Hooks {
    bodies: u32,
    /// Of the call that runs; none while a kept instance rests.
    pub accounts: Option<Accounts>,
    limits: Limits,
    egress: Option<Arc<Egress>>,
    /// Made by the call's first request.
    budget: Option<Arc<CallBudget>>,
}

type Sent = (
    http::Response<WasiBody>,
    Box<dyn Future<Output = HttpResult<()>> + Send>,
);

impl Hooks {
    /// Of a store of a plugin that may send this.
    pub fn new(egress: Option<&Arc<Egress>>, accounts: Accounts, limits: &Limits) -> Hooks {
        Hooks {
            bodies: 0,
            accounts: Some(accounts),
            limits: *limits,
            egress: egress.cloned(),
            budget: None,
        }
    }

    /// What the plugin may send.
    pub fn egress(&self) -> Option<&Egress> {
        self.egress.as_deref()
    }

    /// Another call begins.
    pub fn renew(&mut self, accounts: Accounts, limits: &Limits) {
        self.accounts = Some(accounts);
        self.limits = *limits;
    }

    /// The call has ended, and what it has left open ends with it.
    pub fn rest(&mut self) {
        if let Some(budget) = self.budget.take() {
            self.tell(&budget);
            budget.close();
        }
        self.accounts = None;
    }

    /// Whether something happened on another thread that the guest's has to be told of.
    pub fn is_due(&self) -> bool {
        self.budget.as_ref().is_some_and(|budget| budget.is_due())
    }

    /// Tells of it. An error: the call went over a limit.
    pub fn settle(&mut self) -> Result<(), LimitExceeded> {
        let Some(budget) = self.budget.clone() else {
            return Ok(());
        };
        self.tell(&budget).map_or(Ok(()), Err)
    }

    fn tell(&mut self, budget: &CallBudget) -> Option<LimitExceeded> {
        let due = budget.take_due();
        for asked in &due.asked {
            self.account(asked);
        }
        due.exceeded
    }

    fn account(&mut self, asked: &Asked) {
        if let Some(accounts) = &mut self.accounts {
            accounts.tell(&asked.access());
        }
    }

    /// Allows a request or tells of its denial.
    fn allow(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
    ) -> Result<(Arc<Egress>, super::Allowed), HttpError> {
        let refusal = match &self.egress {
            Some(egress) => match egress.allow(request, options) {
                Ok(allowed) => {
                    let egress = Arc::clone(egress);
                    self.account(&Asked::request(&allowed.method, &allowed.target, true));
                    return Ok((egress, allowed));
                }
                Err(refusal) => refusal,
            },
            None => {
                let target = target(request.method(), request.uri())?;
                Refusal::Denied(Asked::request(request.method(), &target, false))
            }
        };
        match refusal {
            Refusal::Invalid(error) => Err(error),
            Refusal::Denied(asked) => {
                self.account(&asked);
                Err(HttpError::HttpRequestDenied)
            }
        }
    }
}

impl Drop for Hooks {
    fn drop(&mut self) {
        self.rest();
    }
}

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Box<dyn Future<Output = HttpResult<()>> + Send>,
    ) -> Box<dyn Future<Output = HttpResult<Sent>> + Send> {
        let (egress, allowed) = match self.allow(request, options) {
            Ok(allowed) => allowed,
            Err(error) => return Box::new(std::future::ready(Err(error))),
        };
        let limits = &self.limits;
        let budget = self.budget.get_or_insert_with(|| CallBudget::new(limits));
        let budget = Arc::clone(budget);
        let resting_max = usize::try_from(limits.connections).unwrap_or(usize::MAX);
        Box::new(async move {
            let response = egress.send(allowed, budget, resting_max).await?;
            // A task of its own keeps the connection going.
            let driven: Box<dyn Future<Output = HttpResult<()>> + Send> =
                Box::new(std::future::ready(Ok(())));
            Ok((response, driven))
        })
    }

    // The field is made of the normal form of what was matched.
    fn set_host_header(&mut self) -> bool {
        false
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        64 * 1024
    }

    // Asked once for each body that is made. Two chunks of each wait in the host, uncounted, and a
    // guest may hold hundreds of bodies; one is all that an answer needs.
    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        self.bodies = self.bodies.saturating_add(1);
        if self.bodies == 1 { 64 * 1024 } else { 4096 }
    }
}
