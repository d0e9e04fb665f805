//! The main job, end to end, on real parts: `cargo xtask demo`.
//!
//! Brings up an engine, data and the gateway, or finds them up; writes `target/demo/stack.json`, which says how to talk
//! to them; tells the story of one token. Everything keeps running until `cargo xtask demo --down`.

mod gateway;
mod narration;
mod stack;

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::engine::{self, Version};
use crate::progress::say;
use crate::{build, data, files};

/// Brings everything up and tells the story, unless `quiet`; before the engine of this state file, or one of its own.
pub fn up(engine_json: Option<&Path>, quiet: bool) -> Result<()> {
    let folder = folder();
    std::fs::create_dir_all(&folder)?;
    let _lock = files::lock(&folder.join("lock"), "another demo is being brought up")?;
    let engine = match engine_json {
        Some(file) => engine::State::read(file)?,
        None => engine::up(&engine::Options { version: Version::V3_4_0, dir: None, http_port: None, fresh: false })?,
    };
    data::load(&engine)?;
    let binary = folder.join("oauth4os");
    build::gateway(&[], &binary)?;
    let stack = gateway::up(&folder, &binary, &engine)?;
    say(&format!("how to talk to all of it: {}", folder.join(stack::FILE).display()));
    if !quiet {
        narration::tell(&stack, &binary, &engine)?;
    }
    Ok(())
}

/// Ends what the demo started.
pub fn down() -> Result<()> {
    gateway::down(&folder())?;
    engine::down(Version::V3_4_0, None)
}

fn folder() -> PathBuf {
    files::repository().join("target/demo")
}
