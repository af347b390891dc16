//! Whole files: what they let in, and what is wrong with them.

mod form;
mod ident;
mod matching;
mod refused;
