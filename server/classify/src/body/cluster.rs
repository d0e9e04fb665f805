//! Operations on the cluster whose body names indices: `_cluster/reroute` and `_cluster/allocation/explain`.
//!
//! The right is one on the cluster; the indices are found so that a policy that forbids them holds here too.

use super::inspection::Inspection;
use crate::class::{Action, Class};
use crate::error::BodyError;
use crate::expression;
use crate::json::{Kind, Reader};

/// `{"index": .., "shard": 0, "primary": true}`.
pub(super) fn inspect_explain(body: &[u8], found: &mut Inspection) -> Result<(), BodyError> {
    let mut reader = Reader::new(body)?;
    shard(&mut reader, Class::ClusterMonitor, Action::Monitor, found)?;
    reader.end()
}

/// `{"commands": [{"move": {"index": .., "shard": 0, ..}}]}`.
pub(super) fn inspect_reroute(body: &[u8], found: &mut Inspection) -> Result<(), BodyError> {
    let mut reader = Reader::new(body)?;
    reader.object(&mut |reader, key| match key {
        "commands" => reader.array(&mut |reader| {
            reader.object(&mut |reader, _| shard(reader, Class::ClusterAdmin, Action::Admin, found))
        }),
        _ => reader.scalar().map(drop),
    })?;
    reader.end()
}

fn shard(reader: &mut Reader<'_>, class: Class, action: Action, found: &mut Inspection) -> Result<(), BodyError> {
    reader.object(&mut |reader, key| match (key, reader.kind()?) {
        ("index", Kind::String) => {
            let index = reader.string()?;
            if !expression::is_single_name(&index) {
                return Err(BodyError::IndexName(index.into_owned()));
            }
            found.add(class, action, &index)
        }
        ("index", _) => Err(BodyError::Form("the `index` of a shard is not a string")),
        _ => reader.scalar().map(drop),
    })
}
