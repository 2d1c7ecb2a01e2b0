//! The extension's parameters as they stand in a header (RFC 7692 §7.1).

use std::fmt;

use super::NAME;
use crate::extension::ExtensionParams;

/// Base-2 logarithm of a window's size: 8 to 15, for 256 bytes to 32 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowBits(u8);

impl WindowBits {
    /// 256 bytes.
    pub const MIN: Self = Self(8);
    /// 32 KiB.
    pub const MAX: Self = Self(15);

    /// 8 to 15.
    pub const fn new(bits: u8) -> Option<Self> {
        if matches!(bits, 8..=15) { Some(Self(bits)) } else { None }
    }

    /// The number of bits.
    pub const fn value(self) -> u8 {
        self.0
    }

    /// The window's size.
    pub const fn window_bytes(self) -> usize {
        1 << self.0
    }

    /// A decimal number without leading zeros (§7.1.2.1).
    fn parse(value: &str) -> Option<Self> {
        let is_canonical = !value.starts_with('0') && value.bytes().all(|byte| byte.is_ascii_digit());
        value.parse().ok().filter(|_| is_canonical).and_then(Self::new)
    }
}

impl fmt::Display for WindowBits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What both sides agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// The server compresses each message by itself.
    pub server_no_context_takeover: bool,
    /// The client compresses each message by itself.
    pub client_no_context_takeover: bool,
    /// The server's window.
    pub server_max_window_bits: WindowBits,
    /// The client's window.
    pub client_max_window_bits: WindowBits,
}

/// Why an element of a header is no permessage-deflate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ParamError {
    /// It is another extension.
    Name,
    /// A parameter that the RFC does not know.
    Unknown,
    /// A parameter that stands twice.
    Duplicate,
    /// A value out of range, or not written as the RFC has it.
    Value,
    /// A parameter that needs a value has none.
    ValueMissing,
    /// A parameter that takes no value has one.
    ValueUnexpected,
}

impl fmt::Display for ParamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ParamError::Name => "another extension than permessage-deflate",
            ParamError::Unknown => "a parameter that permessage-deflate does not have",
            ParamError::Duplicate => "a parameter of permessage-deflate twice",
            ParamError::Value => "window bits that are no number from 8 to 15",
            ParamError::ValueMissing => "window bits without their number",
            ParamError::ValueUnexpected => "a value where permessage-deflate has none",
        })
    }
}

impl std::error::Error for ParamError {}

/// One element as it is written: an offer or an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) server_no_context_takeover: bool,
    pub(super) client_no_context_takeover: bool,
    pub(super) server_max_window_bits: Option<WindowBits>,
    /// Without a value, a client says that it could obey one (§7.1.2.2).
    pub(super) client_max_window_bits: Option<Option<WindowBits>>,
}

impl Element {
    /// Reads a client's offer.
    pub(super) fn parse(element: &ExtensionParams<'_>) -> Result<Self, ParamError> {
        if element.name != NAME {
            return Err(ParamError::Name);
        }
        let mut read = Self::default();
        for &(name, value) in &element.params {
            match name {
                "server_no_context_takeover" => set_flag(&mut read.server_no_context_takeover, value)?,
                "client_no_context_takeover" => set_flag(&mut read.client_no_context_takeover, value)?,
                "server_max_window_bits" => {
                    let bits = window_bits(value.ok_or(ParamError::ValueMissing)?)?;
                    set(&mut read.server_max_window_bits, bits)?;
                }
                "client_max_window_bits" => {
                    set(&mut read.client_max_window_bits, value.map(window_bits).transpose()?)?;
                }
                _ => return Err(ParamError::Unknown),
            }
        }
        Ok(read)
    }

    /// Reads a server's answer, in which window bits have a number always.
    pub(super) fn parse_answer(element: &ExtensionParams<'_>) -> Result<Self, ParamError> {
        match Self::parse(element)? {
            Self { client_max_window_bits: Some(None), .. } => Err(ParamError::ValueMissing),
            read => Ok(read),
        }
    }
}

fn window_bits(value: &str) -> Result<WindowBits, ParamError> {
    WindowBits::parse(value).ok_or(ParamError::Value)
}

fn set_flag(flag: &mut bool, value: Option<&str>) -> Result<(), ParamError> {
    match (value, std::mem::replace(flag, true)) {
        (Some(_), _) => Err(ParamError::ValueUnexpected),
        (None, true) => Err(ParamError::Duplicate),
        (None, false) => Ok(()),
    }
}

fn set<T>(place: &mut Option<T>, value: T) -> Result<(), ParamError> {
    match place.replace(value) {
        Some(_) => Err(ParamError::Duplicate),
        None => Ok(()),
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)?;
        if self.server_no_context_takeover {
            f.write_str("; server_no_context_takeover")?;
        }
        if self.client_no_context_takeover {
            f.write_str("; client_no_context_takeover")?;
        }
        if let Some(bits) = self.server_max_window_bits {
            write!(f, "; server_max_window_bits={bits}")?;
        }
        match self.client_max_window_bits {
            Some(Some(bits)) => write!(f, "; client_max_window_bits={bits}"),
            Some(None) => f.write_str("; client_max_window_bits"),
            None => Ok(()),
        }
    }
}
