//! Models of what clients do: each reads its options, and runs against any server at any rate.

pub mod echo;
pub mod fanout;
pub mod game;
pub mod idle;
pub mod meeting;
pub mod pipeline;
pub mod reconnect;
mod script;
pub mod slow;
pub mod storm;
pub mod trading;

use std::fmt;
use std::sync::Arc;

use crate::adapter::Adapter;
use crate::cli::Flags;
use crate::report::Report;
use crate::run::Load;
use crate::target::Target;

/// A server, and how it is spoken to.
#[derive(Clone, Debug)]
pub struct Place {
    /// Where it is.
    pub target: Target,
    /// What is spoken.
    pub adapter: Arc<dyn Adapter>,
}

/// A workload with its options.
pub trait Options: fmt::Debug + Send + Sync {
    /// Runs it once.
    ///
    /// # Errors
    /// Why it could not run. What a server does to messages is no error: the report has it.
    fn run(&self, place: &Place, load: &Load) -> Result<Report, String>;

    /// Messages a second that are sent, if it has a rate: what is searched for the highest that can be sustained.
    fn rate(&self) -> Option<f64> {
        None
    }

    /// The same at another rate. `None` if it has none.
    fn at_rate(&self, rate: f64) -> Option<Box<dyn Options>> {
        let _ = rate;
        None
    }
}

/// A kind of workload.
#[derive(Debug)]
pub struct Kind {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
    /// Its flags, with units and defaults.
    pub help: &'static str,
    /// Whether it speaks through an adapter.
    pub has_adapter: bool,
    /// Reads its flags.
    pub read: fn(&mut Flags) -> Result<Box<dyn Options>, String>,
}

/// All kinds.
pub const KINDS: &[Kind] = &[
    echo::KIND,
    fanout::KIND,
    trading::KIND,
    game::KIND,
    meeting::KIND,
    slow::KIND,
    idle::KIND,
    storm::KIND,
    reconnect::KIND,
    pipeline::KIND,
];
