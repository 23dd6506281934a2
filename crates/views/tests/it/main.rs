//! Views of runs as the engine makes them: what they say, what they never say, and that their
//! schemas tell the truth.

#[cfg(test)]
mod documents;
#[cfg(test)]
mod random;
#[cfg(test)]
mod schemas;
#[cfg(test)]
mod script;
#[cfg(test)]
mod snapshots;
#[cfg(test)]
mod stories;
