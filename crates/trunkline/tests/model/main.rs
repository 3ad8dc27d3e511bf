//! Exhaustive checks of the protocols that trunkline's promises rest on.
//!
//! Each module draws one protocol as a small state machine and walks through *every* interleaving of a bounded world.
//! Sound variants must have no violation; each broken variant must have one, and its shortest trace is printed
//! (`cargo test --test model -- --nocapture`). A broken variant is there because somebody will propose it again.
//!
//! What this does not show: that the SQL says what the model says, or that larger worlds behave like these.

mod doorbell;
mod fence;
mod presence;
mod request;
mod search;
mod trust;
mod window;
