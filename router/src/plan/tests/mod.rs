//! Where statements go, without a server in sight.

mod combines;
mod gathers;
mod keys;
mod queries;
mod scatters;
mod support;
mod templates;
mod temporary;
mod unsound;
mod withs;
mod writes;
