//! The record of a row: what was measured, of whom, on what and how. It holds every round's figures and nothing that
//! follows from them, so that tables and verdicts are made from records alone.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::figures::{METRICS, Metric, Rounds, Spread};
use super::json::{self, Json};

/// What a server is in a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Of this project.
    Ringwire,
    /// Of somebody else, and waits in epoll.
    Peer,
    /// Of somebody else, on io_uring.
    RingPeer,
    /// Raw bytes on ringwire's own driver.
    Floor,
    /// Raw bytes on epoll.
    EpollFloor,
}

const ROLES: [(Role, &str); 5] = [
    (Role::Ringwire, "ringwire"),
    (Role::Peer, "peer"),
    (Role::RingPeer, "ring peer"),
    (Role::Floor, "floor"),
    (Role::EpollFloor, "epoll floor"),
];

impl Role {
    pub(crate) fn word(self) -> &'static str {
        ROLES.iter().find(|(role, _)| *role == self).map_or("", |(_, word)| word)
    }

    fn of(word: &str) -> Result<Self, String> {
        let found = ROLES.iter().find(|(_, known)| *known == word);
        found.map(|(role, _)| *role).ok_or_else(|| format!("there is no role `{word}`"))
    }

    pub(crate) fn is_peer(self) -> bool {
        matches!(self, Self::Peer | Self::RingPeer)
    }
}

/// A server that took part.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Measured {
    pub(crate) name: String,
    pub(crate) role: Role,
    /// Its library and that one's version; empty for what is this checkout's.
    pub(crate) version: String,
    /// How it was started, as seen from the root of the checkout.
    pub(crate) command: String,
    /// Beside each metric its rounds; none for a metric that no round has.
    pub(crate) figures: Vec<(Metric, Rounds)>,
    /// Of a core, in each round: the server's, the generator's, and what everybody else took.
    pub(crate) server_share: Rounds,
    pub(crate) generator_share: Rounds,
    pub(crate) others_share: Rounds,
    /// Rounds that are void because the generator set the pace: the rate is at least what was measured.
    pub(crate) generator_bound: u64,
    /// Rounds that are void for whatever reason, and the first reason.
    pub(crate) void: u64,
    pub(crate) void_reason: String,
    /// Rounds in which it failed, or messages did not all arrive once and unchanged; and the first fault.
    pub(crate) faulty: u64,
    pub(crate) fault: String,
}

/// How a row was measured.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Conditions {
    /// The last commit that changed what is measured, with a plus sign if there were changes since.
    pub(crate) commit: String,
    pub(crate) started: String,
    pub(crate) kernel: String,
    pub(crate) cpu: String,
    pub(crate) cores: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) congestion: String,
    /// Whether it ran in a network namespace of its own.
    pub(crate) own_namespace: bool,
    pub(crate) seed: u64,
    pub(crate) rounds: u64,
    pub(crate) seconds: f64,
    pub(crate) warm_up_seconds: f64,
}

/// A row's record.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) row: String,
    pub(crate) workload: String,
    pub(crate) flags: Vec<String>,
    /// What a message is.
    pub(crate) message: String,
    pub(crate) conditions: Conditions,
    pub(crate) servers: Vec<Measured>,
    /// Who did not take part, and why.
    pub(crate) absent: Vec<(String, String)>,
}

impl Measured {
    /// A metric's rounds; empty if no round has it.
    pub(crate) fn rounds(&self, metric: Metric) -> &[Option<f64>] {
        self.figures.iter().find(|(of, _)| *of == metric).map_or(&[], |(_, rounds)| rounds)
    }

    pub(crate) fn spread(&self, metric: Metric) -> Option<Spread> {
        Spread::of(self.rounds(metric))
    }

    fn to_json(&self) -> Json {
        let figures = self.figures.iter().map(|(metric, rounds)| (metric.key().to_owned(), rounds.clone().into()));
        Json::members([
            ("role", self.role.word().into()),
            ("version", self.version.as_str().into()),
            ("command", self.command.as_str().into()),
            ("figures", Json::Members(figures.collect())),
            ("server_cpu_share", self.server_share.clone().into()),
            ("generator_cpu_share", self.generator_share.clone().into()),
            ("others_cpu_share", self.others_share.clone().into()),
            ("rounds_generator_bound", self.generator_bound.into()),
            ("rounds_void", self.void.into()),
            ("void", self.void_reason.as_str().into()),
            ("rounds_faulty", self.faulty.into()),
            ("fault", self.fault.as_str().into()),
        ])
    }

    fn read(name: &str, value: &Value) -> Result<Self, String> {
        let mut figures = Vec::new();
        for metric in METRICS {
            if let Ok(rounds) = rounds_of(value, &format!("figures.{}", metric.key())) {
                figures.push((metric, rounds));
            }
        }
        Ok(Self {
            name: name.to_owned(),
            role: Role::of(&json::text(value, "role")?)?,
            version: json::text(value, "version")?,
            command: json::text(value, "command")?,
            figures,
            server_share: rounds_of(value, "server_cpu_share")?,
            generator_share: rounds_of(value, "generator_cpu_share")?,
            others_share: rounds_of(value, "others_cpu_share")?,
            generator_bound: json::whole(value, "rounds_generator_bound")?,
            void: json::whole(value, "rounds_void")?,
            void_reason: json::text(value, "void")?,
            faulty: json::whole(value, "rounds_faulty")?,
            fault: json::text(value, "fault")?,
        })
    }
}

fn rounds_of(value: &Value, path: &str) -> Result<Rounds, String> {
    Ok(json::list(value, path)?.iter().map(Value::as_f64).collect())
}

impl Conditions {
    fn to_json(&self) -> Json {
        Json::members([
            ("commit", self.commit.as_str().into()),
            ("started", self.started.as_str().into()),
            ("kernel", self.kernel.as_str().into()),
            ("cpu", self.cpu.as_str().into()),
            ("cores", self.cores.into()),
            ("memory_bytes", self.memory_bytes.into()),
            ("tcp_congestion_control", self.congestion.as_str().into()),
            ("own_network_namespace", self.own_namespace.into()),
            ("seed", self.seed.into()),
            ("rounds", self.rounds.into()),
            ("seconds", self.seconds.into()),
            ("warm_up_seconds", self.warm_up_seconds.into()),
        ])
    }

    fn read(value: &Value) -> Result<Self, String> {
        Ok(Self {
            commit: json::text(value, "commit")?,
            started: json::text(value, "started")?,
            kernel: json::text(value, "kernel")?,
            cpu: json::text(value, "cpu")?,
            cores: json::whole(value, "cores")?,
            memory_bytes: json::whole(value, "memory_bytes")?,
            congestion: json::text(value, "tcp_congestion_control")?,
            own_namespace: json::member(value, "own_network_namespace")?.as_bool().unwrap_or_default(),
            seed: json::whole(value, "seed")?,
            rounds: json::whole(value, "rounds")?,
            seconds: json::number(value, "seconds")?,
            warm_up_seconds: json::number(value, "warm_up_seconds")?,
        })
    }
}

impl Record {
    /// Reads the record of a row; none if there is none.
    pub(crate) fn of_row(folder: &Path, row: &str) -> Result<Option<Self>, String> {
        let file = folder.join(format!("{row}.json"));
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("cannot read {}: {error}", file.display())),
        };
        Self::parse(&text).map(Some).map_err(|error| format!("{}: {error}", file.display()))
    }

    /// Writes it to the file of its row.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), String> {
        let file = folder.join(format!("{}.json", self.row));
        let fault = |error| format!("cannot write {}: {error}", file.display());
        fs::create_dir_all(folder).and_then(|()| fs::write(&file, self.to_text())).map_err(fault)
    }

    /// The text of its file.
    pub(crate) fn to_text(&self) -> String {
        let servers = self.servers.iter().map(|server| (server.name.clone(), server.to_json()));
        let absent = self.absent.iter().map(|(name, why)| (name.clone(), why.as_str().into()));
        let json = Json::members([
            ("row", self.row.as_str().into()),
            ("workload", self.workload.as_str().into()),
            ("flags", self.flags.clone().into()),
            ("message", self.message.as_str().into()),
            ("conditions", self.conditions.to_json()),
            // A list, because the order is that of the comparison, which a reader of JSON need not keep.
            ("order", self.servers.iter().map(|server| server.name.clone()).collect::<Vec<_>>().into()),
            ("servers", Json::Members(servers.collect())),
            ("absent", Json::Members(absent.collect())),
        ]);
        json.to_text()
    }

    /// Reads the text of its file.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| format!("no JSON: {error}"))?;
        let servers = json::texts(&value, "order")?.into_iter().map(|name| {
            let server = json::member(&value, "servers")?.get(&name).ok_or(format!("there is no server `{name}`"))?;
            Measured::read(&name, server).map_err(|error| format!("{name}: {error}"))
        });
        let absent = json::member(&value, "absent")?.as_object().ok_or("`absent` has no members")?;
        Ok(Self {
            row: json::text(&value, "row")?,
            workload: json::text(&value, "workload")?,
            flags: json::texts(&value, "flags")?,
            message: json::text(&value, "message")?,
            conditions: Conditions::read(json::member(&value, "conditions")?)?,
            servers: servers.collect::<Result<_, String>>()?,
            absent: absent
                .iter()
                .map(|(name, why)| (name.clone(), why.as_str().unwrap_or_default().to_owned()))
                .collect(),
        })
    }

    /// The server of this name.
    pub(crate) fn server(&self, name: &str) -> Option<&Measured> {
        self.servers.iter().find(|server| server.name == name)
    }

    /// The one that is best in a metric, by its median, among those that `may` be.
    pub(crate) fn best(&self, metric: Metric, may: impl Fn(Role) -> bool) -> Option<&Measured> {
        let medians = self.servers.iter().filter(|server| may(server.role)).filter_map(|server| {
            let median = server.spread(metric)?.median;
            (median > 0.0).then_some((server, if metric.more_is_better() { -median } else { median }))
        });
        medians.min_by(|(_, one), (_, other)| one.total_cmp(other)).map(|(server, _)| server)
    }
}

/// For tests: a record with servers of these names and roles, each with these rounds of CPU time per message.
#[cfg(test)]
pub(crate) fn record_of(row: &str, servers: &[(&str, Role, &[f64])]) -> Record {
    let server = |(name, role, cpu): &(&str, Role, &[f64])| {
        let all = |factor: f64| cpu.iter().map(|cpu| Some(cpu * factor)).collect::<Rounds>();
        let rate = cpu.iter().map(|cpu| Some(1e6 / cpu)).collect();
        let figures = vec![
            (Metric::Cpu, all(1.0)),
            (Metric::Rate, rate),
            (Metric::P50, all(100.0)),
            (Metric::P99, all(200.0)),
            (Metric::P999, all(300.0)),
        ];
        Measured {
            name: (*name).to_owned(),
            role: *role,
            version: if role.is_peer() { format!("{name} 1.2.3") } else { String::new() },
            command: format!("target/{name} --port {{port}}"),
            figures,
            server_share: all(0.1),
            generator_share: all(0.05),
            others_share: vec![Some(0.01), None],
            generator_bound: 0,
            void: 0,
            void_reason: String::new(),
            faulty: 0,
            fault: String::new(),
        }
    };
    Record {
        row: row.to_owned(),
        workload: "echo".to_owned(),
        flags: vec!["--bytes".to_owned(), "16".to_owned()],
        message: "echo".to_owned(),
        conditions: Conditions {
            commit: "0123456789ab".to_owned(),
            started: "2026-01-31T23:59:59Z".to_owned(),
            kernel: "6.18.0".to_owned(),
            cpu: "a CPU".to_owned(),
            cores: 2,
            memory_bytes: 1 << 30,
            congestion: "cubic".to_owned(),
            own_namespace: true,
            seed: 1,
            rounds: 5,
            seconds: 1.0,
            warm_up_seconds: 0.25,
        },
        servers: servers.iter().map(server).collect(),
        absent: vec![("socketio".to_owned(), "it has no /echo".to_owned())],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written_in_the_order_of_its_servers() {
        let servers = [("z", Role::Ringwire, &[1.0, 1.25][..]), ("b", Role::RingPeer, &[2.0]), ("a", Role::Floor, &[])];
        let mut record = record_of("echo-16-c1-d1", &servers);
        (record.servers[0].void, record.servers[0].void_reason) = (2, "late \"very\"".to_owned());
        let text = record.to_text();
        assert_eq!(Record::parse(&text), Ok(record.clone()));
        assert_eq!(Record::parse(&text).map(|record| record.to_text()), Ok(text));
    }

    #[test]
    fn what_is_no_record_is_told_with_what_is_missing() {
        let text = record_of("idle", &[("a", Role::Peer, &[1.0])]).to_text();
        let fault = |from: &str, to: &str| Record::parse(&text.replace(from, to)).unwrap_err();
        assert!(fault("\"kernel\"", "\"kern\"").contains("`kernel`"));
        assert!(fault("\"role\": \"peer\"", "\"role\": \"pear\"").contains("`pear`"));
        assert!(fault("\"order\": [\"a\"]", "\"order\": [\"b\"]").contains("`b`"));
        assert!(Record::parse("{").unwrap_err().contains("no JSON"));
    }

    #[test]
    fn a_row_without_a_record_has_none() {
        let folder = std::env::temp_dir().join(format!("xtask-record-{}", std::process::id()));
        let record = record_of("storm", &[("a", Role::Peer, &[1.0])]);
        record.write(&folder).unwrap();
        assert_eq!((Record::of_row(&folder, "storm"), Record::of_row(&folder, "idle")), (Ok(Some(record)), Ok(None)));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_best_is_that_of_the_metric_and_of_those_who_may_be() {
        let servers =
            [("ours", Role::Ringwire, &[0.5][..]), ("p", Role::Peer, &[1.0, 9.0, 1.0]), ("r", Role::RingPeer, &[0.9])];
        let mut record = record_of("storm", &servers);
        let best =
            |record: &Record, metric, may: fn(Role) -> bool| record.best(metric, may).map(|best| best.name.clone());
        assert_eq!(best(&record, Metric::Cpu, Role::is_peer).as_deref(), Some("r"));
        assert_eq!(best(&record, Metric::Rate, Role::is_peer).as_deref(), Some("r"));
        assert_eq!(best(&record, Metric::Cpu, |role| role == Role::Peer).as_deref(), Some("p"));
        assert_eq!(best(&record, Metric::Memory, Role::is_peer), None);
        record.servers[2].figures.clear();
        assert_eq!(best(&record, Metric::P99, Role::is_peer).as_deref(), Some("p"));
    }
}
