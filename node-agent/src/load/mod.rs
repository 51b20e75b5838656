//! Loading one revision, in a short-lived process of its own.
//!
//! The agent starts its own binary as `load-worker`, hands it a [`request::Request`] over a socket and gets a
//! [`request::Report`] back. What the worker parses never stays in the agent's memory, and its panic, its
//! death or its silence is that one program's failure.

mod attach;
mod attach_kernel;
mod attach_network;
mod attach_user;
mod attempt;
mod error;
mod interface;
mod kernel_data;
mod open;
mod programs;
mod reattach;
pub mod request;
mod resolve;
mod revision;
pub mod spawn;
mod symbol;
mod tracefs;
mod verifier;
mod watching;
pub mod worker;

pub(crate) use error::{chain as error_chain, os_error};
pub(crate) use interface::{index_of as interface_index, name_of as interface_name};
