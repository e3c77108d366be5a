//! One binary with every integration test.
