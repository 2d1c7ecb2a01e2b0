//! Arguments by name: `--name value`, `--name=value`, and what stands alone. What is read is taken out, so what is left
//! was not known.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use crate::payload::stamp::{FILLED_BYTES_MIN, PAYLOAD_BYTES_MAX, PAYLOAD_BYTES_MIN};

/// Arguments by name.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    named: BTreeMap<String, Vec<String>>,
    plain: Vec<String>,
}

impl Flags {
    /// Splits `--name value` and `--name=value` from the rest.
    ///
    /// # Errors
    /// If a name has no value.
    pub fn split(arguments: &[String]) -> Result<Self, String> {
        let mut flags = Self::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let Some(name) = argument.strip_prefix("--") else {
                flags.plain.push(argument.clone());
                continue;
            };
            let (name, value) = match name.split_once('=') {
                Some((name, value)) => (name, value.to_owned()),
                None => (name, arguments.next().ok_or_else(|| format!("--{name} needs a value"))?.clone()),
            };
            flags.named.entry(name.to_owned()).or_default().push(value);
        }
        Ok(flags)
    }

    /// All values of a name.
    pub fn texts(&mut self, name: &str) -> Vec<String> {
        self.named.remove(name).unwrap_or_default()
    }

    /// The last value, which overrides those before.
    pub fn text(&mut self, name: &str) -> Option<String> {
        self.texts(name).pop()
    }

    /// What stands alone.
    pub fn plain(&mut self) -> Vec<String> {
        std::mem::take(&mut self.plain)
    }

    /// A number, in which `_` may part digits.
    ///
    /// # Errors
    /// If it is none.
    pub fn number<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, String> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let plain = text.replace('_', "");
        plain.parse().map(Some).map_err(|_| format!("--{name} {text}: a number is needed"))
    }

    /// A whole number that is not 0.
    ///
    /// # Errors
    /// If it is none, or 0.
    pub fn at_least_one(&mut self, name: &str, default: usize) -> Result<usize, String> {
        match self.number(name)?.unwrap_or(default) {
            0 => Err(format!("--{name} 0: at least 1 is needed")),
            number => Ok(number),
        }
    }

    /// The length of a payload that is stamped.
    ///
    /// # Errors
    /// If no payload is so short or so long.
    pub fn payload_bytes(&mut self, name: &str, default: usize) -> Result<usize, String> {
        let bytes = self.number(name)?.unwrap_or(default);
        check_payload_bytes(&format!("--{name} {bytes}"), bytes)?;
        if PAYLOAD_BYTES_MIN < bytes && bytes < FILLED_BYTES_MIN {
            return Err(format!("--{name} {bytes}: {PAYLOAD_BYTES_MIN}, or at least {FILLED_BYTES_MIN}, are possible"));
        }
        Ok(bytes)
    }

    /// A number above 0.
    ///
    /// # Errors
    /// If it is none.
    pub fn above_zero(&mut self, name: &str, default: f64) -> Result<f64, String> {
        let number: f64 = self.number(name)?.unwrap_or(default);
        let fits = number.is_finite() && number > 0.0;
        fits.then_some(number).ok_or_else(|| format!("--{name} {number}: a number above 0 is needed"))
    }

    /// A number from 0 to 1, or with a percent sign from 0 to 100.
    ///
    /// # Errors
    /// If it is none.
    pub fn share(&mut self, name: &str, default: f64) -> Result<f64, String> {
        let Some(text) = self.text(name) else { return Ok(default) };
        let (digits, scale) = text.strip_suffix('%').map_or((text.as_str(), 1.0), |digits| (digits, 100.0));
        let share = digits.parse::<f64>().ok().map(|number| number / scale).filter(|share| (0.0..=1.0).contains(share));
        share.ok_or_else(|| format!("--{name} {text}: a share is needed, as in 10% or 0.1"))
    }

    /// Seconds, at most a day.
    ///
    /// # Errors
    /// If it is none.
    pub fn seconds(&mut self, name: &str, default: f64) -> Result<Duration, String> {
        let seconds: f64 = self.number(name)?.unwrap_or(default);
        Duration::try_from_secs_f64(seconds)
            .ok()
            .filter(|_| seconds <= 86_400.0)
            .ok_or_else(|| format!("--{name} {seconds}: seconds from 0 to 86400 are needed"))
    }

    /// `on` or `off`.
    ///
    /// # Errors
    /// If it is something else.
    pub fn switch(&mut self, name: &str) -> Result<bool, String> {
        match self.text(name).as_deref() {
            None | Some("off") => Ok(false),
            Some("on") => Ok(true),
            Some(other) => Err(format!("--{name} {other}: `on` or `off` is needed")),
        }
    }

    /// One of these words.
    ///
    /// # Errors
    /// If it is another.
    pub fn one_of<T: Copy>(&mut self, name: &str, choices: &[(&str, T)]) -> Result<T, String> {
        let (default, _) = choices.first().expect("there is a choice");
        let text = self.text(name).unwrap_or_else(|| (*default).to_owned());
        let chosen = choices.iter().find(|(word, _)| *word == text).map(|(_, choice)| *choice);
        let words = || choices.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(" or ");
        chosen.ok_or_else(|| format!("--{name} {text}: {} is needed", words()))
    }

    /// Whether there is this name.
    pub fn has(&self, name: &str) -> bool {
        self.named.contains_key(name)
    }

    /// Gives a name a value, as if it had been said last.
    pub fn set(&mut self, name: &str, value: String) {
        self.named.entry(name.to_owned()).or_default().push(value);
    }

    /// Forgets the names that one of the others has not: what any of them has read is known.
    pub fn keep_what_is_in_all(&mut self, others: &[Flags]) {
        self.named.retain(|name, _| others.iter().all(|other| other.has(name)));
    }

    /// Says what was not known.
    ///
    /// # Errors
    /// If there is something.
    pub fn finish(self, command: &str) -> Result<(), String> {
        match (self.named.into_keys().next(), self.plain.into_iter().next()) {
            (Some(name), _) => Err(format!("{command} knows no --{name}: see ringload {command} --help")),
            (None, Some(text)) => Err(format!("what is `{text}`?")),
            (None, None) => Ok(()),
        }
    }
}

/// Whether there are stamped payloads of this length; `what` says whose it is.
///
/// # Errors
/// If there are none.
pub fn check_payload_bytes(what: &str, bytes: usize) -> Result<(), String> {
    if bytes < PAYLOAD_BYTES_MIN {
        return Err(format!("{what}: a payload needs at least {PAYLOAD_BYTES_MIN} bytes, for the stamp that tells it"));
    }
    if bytes > PAYLOAD_BYTES_MAX {
        return Err(format!("{what}: a payload has at most {PAYLOAD_BYTES_MAX} bytes; send more of them instead"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(line: &str) -> Flags {
        Flags::split(&line.split(' ').map(str::to_owned).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn names_have_values_in_either_form_and_the_last_counts() {
        let mut flags = flags("ws://h --a=1 --b 2_000 --a 3");
        assert_eq!(flags.number::<u32>("a"), Ok(Some(3)));
        assert_eq!(flags.number::<u32>("b"), Ok(Some(2000)));
        assert_eq!(flags.plain(), ["ws://h"]);
        assert_eq!(flags.finish("x"), Ok(()));
    }

    #[test]
    fn shares_are_fractions_or_percent() {
        for (text, share) in [("10%", 0.1), ("0.25", 0.25), ("100%", 1.0), ("0", 0.0)] {
            assert_eq!(flags(&format!("--slow {text}")).share("slow", 0.5), Ok(share), "{text}");
        }
        for faulty in ["101%", "-1%", "2", "some"] {
            assert!(flags(&format!("--slow {faulty}")).share("slow", 0.5).unwrap_err().contains(faulty));
        }
    }

    #[test]
    fn what_is_not_known_is_named() {
        assert!(flags("--shout 1").finish("echo").unwrap_err().contains("echo knows no --shout"));
        assert!(flags("more").finish("echo").unwrap_err().contains("`more`"));
        assert!(Flags::split(&["--shout".to_owned()]).unwrap_err().contains("needs a value"));
    }

    #[test]
    fn what_one_of_several_readers_has_read_is_known() {
        let mut all = flags("--a 1 --b 2 --c 3");
        let (mut one, mut other) = (all.clone(), all.clone());
        one.set("a", "9".to_owned());
        assert_eq!((one.number::<u32>("a"), other.number::<u32>("b")), (Ok(Some(9)), Ok(Some(2))));
        all.keep_what_is_in_all(&[one, other]);
        assert!(!all.has("a") && !all.has("b") && all.has("c"));
    }

    #[test]
    fn numbers_out_of_range_are_refused_by_name() {
        assert!(flags("--n 0").at_least_one("n", 1).unwrap_err().contains("--n 0"));
        assert!(flags("--n many").at_least_one("n", 1).unwrap_err().contains("--n many"));
        assert!(flags("--rate nan").above_zero("rate", 1.0).unwrap_err().contains("above 0"));
        assert!(flags("--seconds -1").seconds("seconds", 1.0).unwrap_err().contains("--seconds -1"));
        assert!(flags("--deflate yes").switch("deflate").unwrap_err().contains("`on` or `off`"));
        assert!(flags("--kind c").one_of("kind", &[("a", 1), ("b", 2)]).unwrap_err().contains("`a` or `b`"));
    }
}
