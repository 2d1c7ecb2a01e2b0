//! ringwire-hub
