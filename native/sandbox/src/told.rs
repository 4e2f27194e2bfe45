//! What a store's guest was told about already: each distinct question of a call is told once.
//!
//! Owns: the accounts of one call, shared by whatever decides on other threads. It must not know
//! what is asked for, nor decide about it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::access::{Access, Accounts};

/// Most distinct questions that are remembered; a guest that makes up more tells nothing new.
const ASKED_MAX: usize = 64;

/// Tells what a guest asked for.
#[derive(Clone)]
pub struct Teller(Arc<Mutex<Told>>);

struct Told {
    /// None while a kept instance rests.
    accounts: Option<Accounts>,
    asked: HashSet<(&'static str, bool, String)>,
}

impl Teller {
    /// For a store's first call, or for none.
    pub fn new(accounts: Option<Accounts>) -> Teller {
        let asked = HashSet::new();
        Teller(Arc::new(Mutex::new(Told { accounts, asked })))
    }

    /// Another call begins, or rest.
    pub fn renew(&self, accounts: Option<Accounts>) {
        let mut told = self.lock();
        told.accounts = accounts;
        told.asked.clear();
    }

    /// Something was denied that a grant would allow.
    pub fn denied(&self, capability: &'static str, asked: String, grant: impl FnOnce() -> Value) {
        self.tell(capability, asked, false, grant);
    }

    /// Something was allowed by a grant.
    pub fn allowed(
        &self,
        capability: &'static str,
        asked: impl FnOnce() -> String,
        grant: impl FnOnce() -> Value,
    ) {
        if self.observes() {
            self.tell(capability, asked(), true, grant);
        }
    }

    /// Whether the operator wants to know what is allowed, too.
    pub fn observes(&self) -> bool {
        self.lock().accounts.is_some_and(|a| a.observes())
    }

    fn tell(
        &self,
        capability: &'static str,
        asked: String,
        allowed: bool,
        grant: impl FnOnce() -> Value,
    ) {
        let mut told = self.lock();
        let Told {
            accounts,
            asked: known,
        } = &mut *told;
        let Some(accounts) = accounts else { return };
        if known.len() >= ASKED_MAX || !known.insert((capability, allowed, asked.clone())) {
            return;
        }
        accounts.tell(&Access {
            capability,
            asked: &asked,
            allowed,
            grant: grant(),
        });
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
