//! ringwire-codec
