//! PROXY v2.
