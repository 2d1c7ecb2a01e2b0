//! From what `ringload compare --json` writes to the record of a row.

use serde_json::Value;

use super::figures::{METRICS, Rounds};
use super::json;
use super::record::{Conditions, Measured, Record};
use super::rows::Row;
use super::servers::{Contender, Field};
use crate::context::Context;
use crate::peers;

/// What of a run ringload does not know.
#[derive(Clone, Debug)]
pub(crate) struct Around {
    pub(crate) commit: String,
    pub(crate) own_namespace: bool,
}

/// The record of a row, from the text that ringload wrote.
pub(crate) fn record(
    context: &Context,
    row: &Row,
    field: &Field,
    around: &Around,
    text: &str,
) -> Result<Record, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("ringload wrote no JSON: {error}"))?;
    let servers = field.contenders.iter().map(|contender| measured(context, contender, &value));
    let facts = |name: &str| format!("facts.{name}");
    let conditions = Conditions {
        commit: around.commit.clone(),
        started: json::text(&value, &facts("started"))?,
        kernel: json::text(&value, &facts("machine.kernel"))?,
        cpu: json::text(&value, &facts("machine.cpu"))?,
        cores: json::whole(&value, &facts("machine.cores"))?,
        memory_bytes: json::whole(&value, &facts("machine.memory_bytes"))?,
        congestion: json::text(&value, &facts("machine.tcp_congestion_control"))?,
        own_namespace: around.own_namespace,
        seed: json::whole(&value, &facts("seed"))?,
        rounds: json::whole(&value, "options.rounds")?,
        seconds: json::number(&value, "options.seconds")?,
        warm_up_seconds: json::number(&value, "options.warm_up_seconds")?,
    };
    Ok(Record {
        row: row.name.clone(),
        workload: row.workload.to_owned(),
        flags: row.flags.clone(),
        message: row.message.to_owned(),
        conditions,
        servers: servers.collect::<Result<_, _>>()?,
        absent: field.absent.iter().map(|(name, why)| (name.clone(), placeless(context, why))).collect(),
    })
}

fn measured(context: &Context, contender: &Contender, value: &Value) -> Result<Measured, String> {
    let name = &contender.name;
    let of = |key: &str| format!("servers.{name}.{key}.rounds");
    let mut figures = Vec::new();
    for metric in METRICS {
        // A metric that this ringload does not know is one that no round has.
        let rounds: Rounds =
            json::list(value, &of(metric.key())).unwrap_or_default().iter().map(Value::as_f64).collect();
        if rounds.iter().any(Option::is_some) {
            figures.push((metric, rounds));
        }
    }
    let rounds = json::list(value, "rounds")?;
    let results: Vec<&Value> = rounds.iter().map(|round| json::member(round, name)).collect::<Result<_, _>>()?;
    let share = |path: &str| results.iter().map(|result| json::number(result, path).ok()).collect();
    let is_true = |result: &&&Value, path| json::member(result, path).ok().and_then(Value::as_bool).unwrap_or_default();
    let voids: Vec<String> =
        results.iter().filter_map(|result| json::texts(result, "void").ok()?.into_iter().next()).collect();
    // A generator that spins is always busy, and one that sends by the clock has its rate from there: neither is void.
    let is_void = |result: &Value| json::list(result, "void").is_ok_and(|voids| !voids.is_empty());
    let is_bound = |result: &&&Value| is_true(result, "interval.generator.was_bottleneck") && is_void(result);
    let bound = results.iter().filter(is_bound).count();
    let faults: Vec<String> = results.iter().filter_map(|result| fault(result)).collect();
    Ok(Measured {
        name: name.clone(),
        role: contender.role,
        version: if contender.role.is_peer() {
            peers::version(context, name).unwrap_or_default()
        } else {
            String::new()
        },
        command: placeless(context, &contender.line),
        figures,
        server_share: share("interval.server.cpu_share"),
        generator_share: share("interval.generator.cpu_share"),
        others_share: share("interval.others_cpu_share"),
        generator_bound: bound as u64,
        void: voids.len() as u64,
        void_reason: voids.into_iter().next().unwrap_or_default(),
        faulty: faults.len() as u64,
        fault: placeless(context, faults.first().map_or("", String::as_str)),
    })
}

/// The text without where on this machine the checkout and its target directory are.
fn placeless(context: &Context, text: &str) -> String {
    let target = text.replace(&context.target.display().to_string(), "target");
    target.replace(&format!("{}/", context.root.display()), "")
}

/// What went wrong in a round, if something did.
fn fault(result: &Value) -> Option<String> {
    /// Of ringload's accounts those that are 0 where every message arrived once, unchanged and in order; and their words.
    const FAULTS: [(&str, &str); 6] = [
        ("lost", "lost"),
        ("repeated", "repeated"),
        ("out_of_order", "out of order"),
        ("corrupted", "corrupted"),
        ("misrouted", "misrouted"),
        ("connections_ended", "connections ended"),
    ];
    if let Ok(reason) = json::text(result, "failed") {
        return Some(reason.lines().next().unwrap_or_default().to_owned());
    }
    let count = |name: &str| json::whole(result, &format!("accounts.{name}")).unwrap_or_default();
    let found = FAULTS.iter().filter(|(name, _)| count(name) > 0);
    let mut words: Vec<String> = found.map(|(name, words)| format!("{} {words}", count(name))).collect();
    let missing = count("expected").saturating_sub(count("arrived"));
    if words.is_empty() && missing > 0 {
        words.push(format!("{missing} did not arrive"));
    }
    (!words.is_empty()).then(|| words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::Metric;
    use crate::bench::record::Role;
    use crate::bench::rows;

    const TEXT: &str = r#"{
      "options": {"rounds": 2, "seconds": 1, "warm_up_seconds": 0.25},
      "facts": {"started": "2026-01-31T23:59:59Z", "seed": 7, "machine":
        {"kernel": "6.18", "cpu": "x", "cores": 2, "memory_bytes": 9, "tcp_congestion_control": "cubic"}},
      "servers": {"sockudo": {"server_cpu_us_per_message": {"rounds": [1.5, null]}, "p50_us": {"rounds": [null, null]}}},
      "rounds": [
        {"sockudo": {"interval": {"server": {"cpu_share": 0.5}, "generator": {"cpu_share": 0.99, "was_bottleneck": true},
               "others_cpu_share": 0.1}, "void": ["slow"], "accounts": {"lost": 3, "connections_ended": 1, "arrived": 9}}},
        {"sockudo": {"failed": "sockudo: the server died\nwith its last words"}}]}"#;

    fn taken(text: &str) -> Result<Record, String> {
        let context = Context::of_this_checkout();
        let line = format!("{}/release/a --port {{port}}", context.target.display());
        let contender = Contender { name: "sockudo".to_owned(), role: Role::Peer, line, target: None, adapter: None };
        let field = Field { contenders: vec![contender], absent: vec![("b".to_owned(), "why".to_owned())] };
        let around = Around { commit: "0123".to_owned(), own_namespace: true };
        record(&context, &rows::all()[0], &field, &around, text)
    }

    #[test]
    fn a_record_holds_what_ringload_found_in_each_round() {
        let record = taken(TEXT).unwrap();
        let server = &record.servers[0];
        assert_eq!(server.figures, [(Metric::Cpu, vec![Some(1.5), None])]);
        assert_eq!(
            (&server.server_share[..], &server.generator_share[..]),
            (&[Some(0.5), None][..], &[Some(0.99), None][..])
        );
        assert_eq!((server.generator_bound, server.void, server.void_reason.as_str()), (1, 1, "slow"));
        let spun = taken(&TEXT.replace("[\"slow\"]", "[]")).unwrap();
        assert_eq!((spun.servers[0].generator_bound, spun.servers[0].void), (0, 0));
        assert_eq!((server.faulty, server.fault.as_str()), (2, "3 lost, 1 connections ended"));
        assert_eq!((record.conditions.seed, record.conditions.rounds, record.conditions.seconds), (7, 2, 1.0));
        assert!(server.version.starts_with("sockudo-ws 3."), "{}", server.version);
        assert_eq!((record.row.as_str(), record.absent.len()), ("echo-16-c1-d1", 1));
    }

    #[test]
    fn a_record_holds_no_path_of_the_machine() {
        assert_eq!(taken(TEXT).unwrap().servers[0].command, "target/release/a --port {port}");
        let context = Context::of_this_checkout();
        let path = context.root.join("benches/x").display().to_string();
        assert_eq!(placeless(&context, &format!("{path}: gone")), "benches/x: gone");
    }

    #[test]
    fn what_ringload_did_not_write_is_named() {
        assert!(taken("").unwrap_err().contains("no JSON"));
        assert!(taken(&TEXT.replace("\"kernel\"", "\"k\"")).unwrap_err().contains("facts.machine.kernel"));
        assert!(
            taken(&TEXT.replace("\"sockudo\": {\"failed\"", "\"b\": {\"failed\"")).unwrap_err().contains("`sockudo`")
        );
    }
}
