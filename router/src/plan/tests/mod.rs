//! Where statements go, without a server in sight.

mod combines;
mod keys;
mod queries;
mod scatters;
mod support;
mod templates;
mod unsound;
mod writes;
