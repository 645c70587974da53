//! The integration tests: one binary, so that they share one server and are linked once.

mod architecture;
