//! Measures the product beside its peers and writes docs/benchmarks.md.
fn main() {}
