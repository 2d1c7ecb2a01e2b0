//! ringwire-sim
