//! ringwire-engine
