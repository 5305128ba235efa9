//! End-to-end scenarios over the real binaries; see `tests/tests`.
