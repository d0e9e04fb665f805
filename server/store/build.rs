//! Makes a new migration file rebuild the crate: the macro that embeds them sees changes of known files only.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
