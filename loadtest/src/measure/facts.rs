//! What a result is worth only together with: machine, kernel, version, command line, seed, time of day.

use std::fs;

use ringwire_ring::wall_clock_us;

use crate::json::Json;

/// What the machine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The kernel's release.
    pub kernel: String,
    /// The CPU's name.
    pub cpu: String,
    /// Cores that are there.
    pub cores: usize,
    /// What new TCP connections use against congestion, which costs CPU time on loopback too.
    pub congestion_control: String,
    /// How the first core's frequency is chosen, if the kernel does that.
    pub cpu_governor: Option<String>,
    /// Memory in bytes; 0 if not known.
    pub memory_bytes: u64,
}

/// What a run was done with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The machine of the generator.
    pub machine: Machine,
    /// The version of ringload.
    pub version: &'static str,
    /// The command line, as it was given.
    pub command_line: Vec<String>,
    /// What random choices were made from.
    pub seed: u64,
    /// When the run began, in microseconds since 1970, UTC.
    pub started_us: u64,
    /// How many descriptors this process may have (`RLIMIT_NOFILE`), if it says so.
    pub descriptors_max: Option<u64>,
}

impl Machine {
    /// This machine. What it does not say is `unknown`.
    pub fn this() -> Self {
        let cpus = text("/proc/cpuinfo");
        let cpu = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
        Self {
            kernel: known(&text("/proc/sys/kernel/osrelease")),
            cpu: known(cpu.unwrap_or_default()),
            cores: cpus.lines().filter(|line| line.starts_with("processor")).count(),
            congestion_control: known(&text("/proc/sys/net/ipv4/tcp_congestion_control")),
            cpu_governor: Some(text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"))
                .map(|text| text.trim().to_owned())
                .filter(|text| !text.is_empty()),
            memory_bytes: memory_bytes(&text("/proc/meminfo")).unwrap_or(0),
        }
    }

    /// The machine, for a report.
    pub fn to_json(&self) -> Json {
        Json::object([
            ("kernel", self.kernel.as_str().into()),
            ("cpu", self.cpu.as_str().into()),
            ("cores", self.cores.into()),
            ("memory_bytes", self.memory_bytes.into()),
            ("cpu_governor", self.cpu_governor.as_deref().into()),
            ("tcp_congestion_control", self.congestion_control.as_str().into()),
        ])
    }
}

impl Facts {
    /// Those of a run that begins as this is called.
    pub fn of_run(command_line: Vec<String>, seed: u64) -> Self {
        Self {
            machine: Machine::this(),
            version: env!("CARGO_PKG_VERSION"),
            command_line,
            seed,
            started_us: wall_clock_us(),
            descriptors_max: descriptors_max(&text("/proc/self/limits")),
        }
    }

    /// When the run began, as `2026-01-31T23:59:59Z`.
    pub fn started(&self) -> String {
        utc(self.started_us / 1_000_000)
    }

    /// Names and values, for a table.
    pub fn rows(&self) -> Vec<(&'static str, String)> {
        let machine = &self.machine;
        let or_unknown = |number: Option<u64>| number.map_or_else(|| "unknown".to_owned(), |number| number.to_string());
        let gib = machine.memory_bytes as f64 / f64::from(1 << 30);
        vec![
            ("ringload", self.version.to_owned()),
            ("command line", self.command_line.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")),
            ("started", self.started()),
            ("seed", self.seed.to_string()),
            ("CPU", format!("{} ({} cores)", machine.cpu, machine.cores)),
            ("CPU governor", machine.cpu_governor.clone().unwrap_or_else(|| "none".to_owned())),
            ("memory", format!("{gib:.1} GiB")),
            ("kernel", machine.kernel.clone()),
            ("TCP congestion control", machine.congestion_control.clone()),
            ("descriptors", or_unknown(self.descriptors_max)),
        ]
    }

    /// The facts, for a report.
    pub fn to_json(&self) -> Json {
        Json::object([
            ("ringload", self.version.into()),
            ("command_line", Json::List(self.command_line.iter().map(|word| word.as_str().into()).collect())),
            ("started", self.started().as_str().into()),
            ("seed", self.seed.into()),
            ("descriptors_max", self.descriptors_max.into()),
            ("machine", self.machine.to_json()),
        ])
    }
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// What a file holds; nothing if it cannot be read.
fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn known(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() { "unknown".to_owned() } else { text.to_owned() }
}

fn memory_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The limit that is in force: the first of the two numbers.
fn descriptors_max(limits: &str) -> Option<u64> {
    limits.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_whitespace().next()?.parse().ok()
}

/// Seconds since 1970 as date and time, UTC. The calendar is counted in eras of 400 years from the first of March.
fn utc(seconds: u64) -> String {
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    // Days since the first of March of the year 0.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let months = (5 * of_year + 2) / 153;
    let day = of_year - (153 * months + 2) / 5 + 1;
    let month = if months < 10 { months + 3 } else { months - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_told_as_date_and_time() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(seconds), text);
        }
    }

    #[test]
    fn files_of_the_kernel_are_read() {
        assert_eq!(memory_bytes("MemTotal:        8 kB\nMemFree: 1 kB\n"), Some(8192));
        let limits = "Max processes             63209                63209                processes \n\
                      Max open files            20000                524288               files     \n";
        assert_eq!(descriptors_max(limits), Some(20_000));
    }

    #[test]
    fn the_command_line_can_be_pasted_into_a_shell() {
        assert_eq!(quoted("--slo=p99.9"), "--slo=p99.9");
        assert_eq!(quoted("p99<2ms"), "'p99<2ms'");
        assert_eq!((quoted("it's").as_str(), quoted("").as_str()), ("'it'\\''s'", "''"));
    }

    #[test]
    fn the_facts_of_a_run_say_machine_version_and_command() {
        let facts = Facts::of_run(vec!["ringload".to_owned(), "echo".to_owned()], 7);
        assert!(facts.machine.cores > 0 && facts.machine.memory_bytes > 0 && facts.machine.kernel != "unknown");
        assert!(facts.descriptors_max.is_some() && facts.started().starts_with("20"), "{facts:?}");
        let json = facts.to_json().to_string();
        for part in ["[\"ringload\", \"echo\"]", "\"seed\": 7", env!("CARGO_PKG_VERSION"), &facts.machine.cpu] {
            assert!(json.contains(part), "{part} in {json}");
        }
        assert!(facts.rows().contains(&("command line", "ringload echo".to_owned())));
    }
}
