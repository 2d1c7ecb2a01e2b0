//! The `ringwire` binary: reads the command line, runs a command, tells how it ended.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use ringwire_server::cli::{Cli, Command};
use ringwire_server::{client, serve};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let result = match Cli::parse().into_command() {
        Command::Serve(flags) => flags.config().and_then(|config| serve::serve(&config)),
        Command::Config(flags) => flags.config().and_then(|config| serve::print_config(&config)),
        Command::Subscribe(config) => client::subscribe(&config),
        Command::Record(config) => client::record(&config),
        Command::Publish(config) => client::publish(&config),
        Command::Echo(config) => client::echo(&config),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            for line in failure.message.lines() {
                eprintln!("ringwire: {line}");
            }
            ExitCode::from(failure.code)
        }
    }
}
