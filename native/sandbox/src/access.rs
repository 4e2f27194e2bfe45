//! Accounts of what guests ask for: each is a line of the call's log that is not the guest's words.
//!
//! Owns: the account's form (JSON, the same as in `src/core/access.ts`), how many a call may cause
//! and how long one may be. What is denied is always told, what is allowed when the operator
//! observes. It must not know what is asked for, nor decide about it.

use serde_json::{Value, json};

use crate::abi::{ATOLL_KIND_LOG, ATOLL_LINE_ACCESS};
use crate::host::CallRef;

/// Most accounts of one call: a guest that tries again and again tells nothing new.
const ACCOUNTS_MAX: u32 = 64;

/// Most bytes of what was asked for: a guest may have made it up.
const ASKED_BYTES_MAX: usize = 1024;

/// Something that a guest asked for.
pub struct Access<'a> {
    /// The key of the grants that decide.
    pub capability: &'a str,
    /// What it asked for, for a person to read.
    pub asked: &'a str,
    /// Whether it was allowed.
    pub allowed: bool,
    /// The grants that allow it, as they are written in the configuration.
    pub grant: Value,
}

/// Whom one call's accesses are told, and how many more.
#[derive(Clone, Copy)]
pub struct Accounts {
    call: Option<CallRef>,
    observe: bool,
    left: u32,
}

impl Accounts {
    /// For a call; `observe`: what is allowed is told, too.
    pub fn new(call: CallRef, observe: bool) -> Accounts {
        Accounts {
            call: Some(call),
            observe,
            left: ACCOUNTS_MAX,
        }
    }

    /// Whether what is allowed is told, too.
    pub fn observes(&self) -> bool {
        self.observe && self.left > 0
    }

    /// Tells of an access, unless the call has told enough or nobody wants to know.
    pub fn tell(&mut self, access: &Access<'_>) {
        let wanted = self.observe || !access.allowed;
        if self.left == 0 || !wanted {
            return;
        }
        let Some(call) = self.call else { return };
        self.left -= 1;
        let account = json!({
            "capability": access.capability,
            "asked": beginning(access.asked),
            "allowed": access.allowed,
            "grant": access.grant,
        });
        // Under load the core drops and counts it, as any line.
        call.event(
            ATOLL_KIND_LOG,
            ATOLL_LINE_ACCESS,
            account.to_string().as_bytes(),
        );
    }
}

fn beginning(text: &str) -> &str {
    &text[..text.floor_char_boundary(ASKED_BYTES_MAX)]
}
