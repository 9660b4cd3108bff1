//! Clock, backoff and shutdown, handed in so that tests hold time still
