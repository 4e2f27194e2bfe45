//! What is told of a guest's way with folders.
//!
//! Owns: the words, and the grant that would have allowed what was denied. It must not decide.

use std::io;

use serde_json::{Value, json};

use super::ledger;
use super::{Folder, OPEN_MAX};
use crate::told::Teller;

const FOLDERS: &str = "folders";

impl Teller {
    /// The guest looked for its folders, and has none.
    pub fn no_folders(&self) {
        // Some languages look at each start and never use one: nothing for the log of each call.
        if self.observes() {
            let grant = || json!({ FOLDERS: [{ "path": "PATH", "at": "/" }] });
            self.denied(FOLDERS, "any folder".to_owned(), grant);
        }
    }

    /// It would change what it may only read.
    pub fn read_only(&self, folder: &Folder) {
        let asked = format!("write below \"{}\"", folder.at);
        self.denied(FOLDERS, asked, || granting(folder, true, None));
    }

    /// Something below it did not work; told only where a grant would help.
    pub fn refused(&self, folder: &Folder, error: &io::Error) {
        let Some((quota, _)) = &folder.quota else {
            return;
        };
        if ledger::is_over_quota(error) {
            let asked = format!(
                "more than the limit of {quota} bytes below \"{}\", grants.{}.bytes",
                folder.at, folder.key,
            );
            let more = quota.saturating_mul(2);
            self.denied(FOLDERS, asked, || granting(folder, true, Some(more)));
        }
    }

    /// Its plugin has as many files open as one may. No grant allows more.
    pub fn too_many_open(&self) {
        let asked = format!("more than the engine's limit of {OPEN_MAX} open files");
        self.denied(FOLDERS, asked, || json!({}));
    }

    /// It did what it may.
    pub fn folder_used(&self, folder: &Folder, write: bool) {
        let asked = || {
            let verb = if write { "write" } else { "read" };
            format!("{verb} below \"{}\"", folder.at)
        };
        self.allowed(FOLDERS, asked, || granting(folder, write, None));
    }
}

fn granting(folder: &Folder, write: bool, bytes: Option<u64>) -> Value {
    let mut grant = json!({ "path": folder.path, "at": folder.at });
    if write {
        grant["write"] = true.into();
        let kept = folder.quota.as_ref().map(|(quota, _)| *quota);
        if let Some(bytes) = bytes.or(kept) {
            grant["bytes"] = bytes.into();
        }
    }
    json!({ FOLDERS: [grant] })
}
