//! Programs as whole groups: spawning, capture, time-outs, containment.
