//! Structured logs with a component on each line and levels that change while running
