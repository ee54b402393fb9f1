//! Places, the line for them, and what is told of them.
