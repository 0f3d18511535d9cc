//! `sediment bench`: loads an S3 endpoint, any, and measures it from where its clients stand.
//!
//! It is a client and shares no code with the server's rooms: one that signed and framed with the server's own code would
//! agree with its mistakes. It costs little beside what it measures: bodies are made from a pool while they are sent,
//! received ones are dropped, each connection is kept, and each thread drives its connections alone.
//!
//! A run prepares what it needs, loads, reads back what was put if that is asked for, and removes its objects. Several
//! servers take turns, so that what the machine does besides falls on all of them.

mod body;
mod buffers;
mod chunked;
mod client;
mod connection;
mod content;
mod context;
mod crew;
mod failure;
mod lanes;
mod load;
mod object_calls;
mod pace;
mod plan;
mod process;
mod report;
mod requests;
mod rounds;
mod sign;
mod table;
mod tally;
mod target;
mod tidy;
mod units;

pub use context::Controls;
pub use plan::{Content, Limit, Operation, Payload, Plan};
pub use report::{Figures, Report, RunReport, ServerReport};
pub use rounds::{BenchError, run};
pub use target::{Credentials, Endpoint, Target, parse_named, parse_pid};
pub use units::{parse_bytes, parse_duration};
