//! Nothing of its own: the package carries the tests that look at the whole workspace; see `tests/tests`.
