//! A runtime, an image store and a pod network in memory, for tests of the layers above.
//!
//! Containers run until they are ended by [`FakeRuntime::exit`] or stopped. What their programs do is read from the
//! command line, so that a test scripts by configuration:
//!
//! | command | behaviour |
//! |---|---|
//! | `exit N` | ends at once with code N |
//! | `not-there` | can't be started |
//! | `stubborn` | runs, ignores the stop signal, and dies of SIGKILL |
//! | `echo WORDS…`, `cat` | as exec: prints its arguments; copies stdin to stdout |
//! | anything else | runs |
//!
//! No real process, file or address is touched.

mod images;
mod network;
mod program;
mod runtime;
mod state;

pub use images::FakeImages;
pub use network::FakeNetwork;
pub use runtime::FakeRuntime;
