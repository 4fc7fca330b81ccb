//! The Rust core of `dbpt`: groups and their weights, pseudo attributes from cached logits, and the
//! group stream that samplers read. Only `py/` uses Python; `cargo test` needs no interpreter.
//!
//! This crate converts between integers and floats on purpose: row counts are far below 2⁵³, and
//! the binding passes `int64` arrays, so those lints are off.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    // Formulas in the documentation are no code.
    clippy::doc_markdown,
    // What runs under `simd::dispatch` must be inlined into it.
    clippy::inline_always,
    // Distances, rows and columns are d, r and c in the literature too.
    clippy::many_single_char_names,
    // stop and step.
    clippy::similar_names
)]

pub mod cluster;
mod error;
pub mod groups;
mod memory;
mod parallel;
#[cfg(feature = "python")]
mod py;
mod random;
pub mod sample;
mod simd;

pub use error::{Error, Result};
pub use parallel::Workers;
