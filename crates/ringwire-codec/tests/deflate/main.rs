//! permessage-deflate, from outside: what is agreed on, what goes over the wire, and what is refused.

mod memory;
mod messages;
mod negotiation;
mod property;
mod reference;
mod refusals;
mod support;
