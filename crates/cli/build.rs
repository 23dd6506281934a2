//! Asks the linker for compact relocations where the system's loader reads them.
//!
//! Each start of the program, and there are many, reads and applies some 39,000 of them: 0.9 MB in the usual form,
//! 11 KB in this one (`DT_RELR` of the generic ABI, glibc from 2.36 on).

#![expect(
    clippy::disallowed_methods,
    reason = "cargo tells a build script by variables; no part of the product runs here"
)]

use std::env;
use std::process::Command;

/// The first glibc whose loader knows the form.
const FIRST: (u32, u32) = (2, 36);

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is_native = env::var_os("HOST") == env::var_os("TARGET");
    let is_glibc = env::var_os("CARGO_CFG_TARGET_ENV").is_some_and(|environment| environment == "gnu");
    if is_native && is_glibc && glibc().is_some_and(|version| version >= FIRST) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The version of this machine's C library, as `getconf` says it: `glibc 2.36`.
fn glibc() -> Option<(u32, u32)> {
    let said = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let said = String::from_utf8(said.stdout).ok()?;
    let (major, minor) = said.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.split('.').next()?.parse().ok()?))
}
