//! What commands print.
//!
//! Whoever reads it may have seen enough (`unread users list | head -1`): then the rest is for nobody, the command does its work to the
//! end all the same, and that is no failure. `println!` would end it in the middle. That a file cannot take what is printed is a failure.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::sync::{Mutex, PoisonError};

/// Prints a line on standard output.
#[macro_export]
macro_rules! say {
    ($($said:tt)*) => { $crate::printed::line(format_args!($($said)*)) };
}

/// Prints a line on standard error.
#[macro_export]
macro_rules! complain {
    ($($said:tt)*) => { $crate::printed::complaint(format_args!($($said)*)) };
}

/// The first failure that nobody was told of.
static FAILURE: Mutex<Option<io::Error>> = Mutex::new(None);

/// Standard output, for what writes by itself.
#[derive(Clone, Copy, Debug)]
pub struct Output;

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        unless_nobody_reads(io::stdout().write(bytes), bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        unless_nobody_reads(io::stdout().flush(), ())
    }
}

fn unless_nobody_reads<T>(done: io::Result<T>, instead: T) -> io::Result<T> {
    match done {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(instead),
        done => done,
    }
}

/// Prints on standard output.
pub fn text(text: &str) {
    if let Err(error) = Output.write_all(text.as_bytes()) {
        let mut failure = FAILURE.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert(error);
    }
}

/// See [`say!`].
pub fn line(said: fmt::Arguments<'_>) {
    text(&format!("{said}\n"));
}

/// See [`complain!`]. Where nobody hears it there is nobody to complain to.
pub fn complaint(said: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{said}");
}

/// Whether all of it was printed, at the end of a command.
pub fn finish() -> io::Result<()> {
    let failure = FAILURE
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    failure.map_or_else(|| Output.flush(), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_nobody_reads_is_no_failure_and_a_full_disk_is() {
        let failed = |kind: ErrorKind| unless_nobody_reads(Err(kind.into()), 7);
        assert_eq!(failed(ErrorKind::BrokenPipe).unwrap(), 7);
        let full = failed(ErrorKind::StorageFull).unwrap_err();
        assert_eq!(full.kind(), ErrorKind::StorageFull);
        assert_eq!(unless_nobody_reads(Ok(3), 7).unwrap(), 3);
    }
}
