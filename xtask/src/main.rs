//! The one door for developers: check, test, bench, codegen.
fn main() {}
