//! Negotiation against offers shaped like those of real peers.
