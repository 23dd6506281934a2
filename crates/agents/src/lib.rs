//! Drivers for coding agents, and the instructions they would read.
