//! Sends what happened to OTLP collectors and notification hooks, and never in anybody's way.
