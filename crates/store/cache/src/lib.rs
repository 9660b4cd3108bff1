//! Current objects as bytes with an index row each, the ring of events, watch fan-out
