//! `game`: rooms of players around an authoritative host.
//!
//! Each room has a host, a session of the generator as the players are: what is measured is the server between them.
//! Every player publishes its input at `input-rate` to the room's input topic, which the host alone hears. The host
//! publishes the state of the game at `state-rate` to the room's state topic, which all players hear; a state has a
//! fixed part and one for each player. Ticks are a schedule and not bursts: every room and every player has its own
//! place in the interval, drawn at random from the seed, as players have who join when they like. All that is due is
//! sent when it is due, whatever the server does.
//!
//! For a player a tick is late that comes more than a tick's interval after it was due: the next one is due by then, and
//! what the screen shows stands still or is guessed. Jitter is how far the time between two ticks of a player is from
//! the interval (RFC 3550 §6.4.1 takes the same difference).
//!
//! Where the defaults come from: games on the Source engine send 20 states and 30 inputs a second unless told otherwise
//! (Valve's "Source Multiplayer Networking": `cl_updaterate` 20, `cl_cmdrate` 30), and Colyseus, which browser games
//! use, sends 20 states a second (`setPatchRate`). Apex Legends has 20 ticks a second, Fortnite 30, Overwatch had 21 and
//! has 63, Counter-Strike has 64, so 10 to 60 states and 20 to 60 inputs cover what is played. Ten players are two teams
//! of five. An input is some bits of keys and two angles, in JSON with a sequence number; 24 bytes for each player hold
//! a position, a direction and a few flags.

use std::sync::Arc;
use std::time::Duration;

use super::script::{beats, merge};
use super::{Kind, Options, Place};
use crate::cli::{Flags, check_payload_bytes};
use crate::json::Json;
use crate::pubsub::{Cadence, Flow, PubSub, Scenario, Script, Session, Source};
use crate::report::Report;
use crate::run::{self, Finding, Load, Share};

/// `game`, on the command line.
pub const KIND: Kind = Kind {
    name: "game",
    about: "rooms of players: inputs to a host, states to all, with late ticks and jitter",
    help: "\
    --rooms N             rooms, each with a host [10]
    --players N           players of each room [10]
    --input-rate HZ       inputs a second of each player [30]
    --state-rate HZ       states a second of each room [20]
    --input-bytes N       payload of an input, at least 44 [52]
    --state-bytes N       payload of a state without players; with them at least 44 [64]
    --player-bytes N      what each player adds to it [24]
",
    has_adapter: true,
    read: |flags| Ok(Box::new(GameOptions::read(flags)?)),
};

/// The series of states, and that of inputs.
const SERIES: &[&str] = &["state", "input"];
const STATE: usize = 0;
const INPUT: usize = 1;

/// Some rooms.
#[derive(Clone, Debug, PartialEq)]
pub struct GameOptions {
    /// Rooms.
    pub rooms: usize,
    /// Players of each.
    pub players: usize,
    /// Inputs a second of each player.
    pub input_rate: f64,
    /// States a second of each room.
    pub state_rate: f64,
    /// Payload of an input.
    pub input_bytes: usize,
    /// Payload of a state without players.
    pub state_bytes: usize,
    /// What each player adds to it.
    pub player_bytes: usize,
}

impl GameOptions {
    /// Reads its flags.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn read(flags: &mut Flags) -> Result<Self, String> {
        let options = Self {
            rooms: flags.at_least_one("rooms", 10)?,
            players: flags.at_least_one("players", 10)?,
            input_rate: flags.above_zero("input-rate", 30.0)?,
            state_rate: flags.above_zero("state-rate", 20.0)?,
            input_bytes: flags.payload_bytes("input-bytes", 52)?,
            state_bytes: flags.at_least_one("state-bytes", 64)?,
            player_bytes: flags.number("player-bytes")?.unwrap_or(24),
        };
        let bytes = options.whole_state_bytes();
        let what = format!(
            "--state-bytes {} and --player-bytes {}: {bytes} in all",
            options.state_bytes, options.player_bytes
        );
        check_payload_bytes(&what, bytes)?;
        Ok(options)
    }

    /// Payload of a state.
    fn whole_state_bytes(&self) -> usize {
        self.players.saturating_mul(self.player_bytes).saturating_add(self.state_bytes)
    }

    /// Messages a second that a room sends.
    fn rate_of_a_room(&self) -> f64 {
        self.players as f64 * self.input_rate + self.state_rate
    }

    /// Hosts are the first sessions, one for each room, and players those behind them, room by room. Session n has
    /// flow n. Topics of states are the first, those of inputs follow.
    fn scenario(&self) -> Scenario {
        let rooms = self.rooms;
        let room_of_player = |player: usize| player / self.players;
        let players = 0..rooms * self.players;
        let hears = |topic: usize| Session { subscribes: vec![topic], ..Session::default() };
        let state_flows = (0..rooms).map(|room| Flow { topic: room, session: room, series: STATE });
        let input_flows = players.clone().map(|player| Flow {
            topic: rooms + room_of_player(player),
            session: rooms + player,
            series: INPUT,
        });
        Scenario {
            topics: ["state", "input"]
                .iter()
                .flat_map(|what| (0..rooms).map(move |room| format!("game.{room}.{what}")))
                .collect(),
            flows: state_flows.chain(input_flows).collect(),
            sessions: (0..rooms)
                .map(|room| hears(rooms + room))
                .chain(players.map(|player| hears(room_of_player(player))))
                .collect(),
            bytes_max: self.whole_state_bytes().max(self.input_bytes),
        }
    }

    fn script(&self, share: Share, seed: u64) -> Script {
        let mut random = fastrand::Rng::with_seed(seed);
        // Each flow's place in the interval is the same whichever thread it belongs to.
        let places: Vec<(f64, usize)> = (0..self.rooms * (1 + self.players)).map(|flow| (random.f64(), flow)).collect();
        let own =
            |from: usize, to: usize| places[from..to].iter().copied().filter(|&(_, flow)| share.owns(flow)).collect();
        let states = beats(own(0, self.rooms), self.state_rate, self.whole_state_bytes());
        let inputs = beats(own(self.rooms, places.len()), self.input_rate, self.input_bytes);
        merge(vec![states, inputs])
    }

    fn to_json(&self) -> Json {
        Json::object([
            ("rooms", self.rooms.into()),
            ("players", self.players.into()),
            ("input_rate", self.input_rate.into()),
            ("state_rate", self.state_rate.into()),
            ("input_bytes", self.input_bytes.into()),
            ("state_bytes", self.state_bytes.into()),
            ("player_bytes", self.player_bytes.into()),
        ])
    }
}

/// The share of the ticks that was late.
fn findings(found: &Finding) -> Vec<(&'static str, Json)> {
    let ticks = found.recorded.series[STATE].corrected.count();
    let late = found.counts.get("late_ticks").copied().unwrap_or_default();
    vec![("late_tick_share", (ticks > 0).then(|| late as f64 / ticks as f64).into())]
}

impl Options for GameOptions {
    fn run(&self, place: &Place, load: &Load) -> Result<Report, String> {
        let (this, seed) = (self.clone(), load.seed);
        let source = Source::Script(Arc::new(move |share| this.script(share, seed)));
        let mut model = PubSub::new("game", place, self.scenario(), source, SERIES, self.to_json());
        model.watch.cadence = Some(Cadence { series: STATE, interval: Duration::from_secs_f64(1.0 / self.state_rate) });
        model.findings = findings;
        run::run(&model, load)
    }

    /// All that is sent, inputs and states.
    fn rate(&self) -> Option<f64> {
        Some(self.rate_of_a_room() * self.rooms as f64)
    }

    /// As many whole rooms as come next to the rate, at least one.
    fn at_rate(&self, rate: f64) -> Option<Box<dyn Options>> {
        let rooms = (rate / self.rate_of_a_room()).round().max(1.0) as usize;
        Some(Box::new(Self { rooms, ..self.clone() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pubsub::{Action, What};

    const GAME: GameOptions = GameOptions {
        rooms: 3,
        players: 4,
        input_rate: 30.0,
        state_rate: 20.0,
        input_bytes: 52,
        state_bytes: 64,
        player_bytes: 24,
    };
    const WHOLE: Share = Share { index: 0, count: 1 };

    fn second(share: Share) -> Vec<(Duration, usize, usize)> {
        let actions = GAME.script(share, 7).take_while(|action| action.at < Duration::from_secs(1));
        let publish = |action: Action| match action.what {
            What::Publish { flow, bytes } => (action.at, flow, bytes),
            other => panic!("{other:?}"),
        };
        actions.map(publish).collect()
    }

    #[test]
    fn a_host_hears_its_players_and_players_their_host_and_nobody_else() {
        let scenario = GAME.scenario();
        assert_eq!(scenario.sessions.len(), scenario.flows.len());
        for (session, flow) in scenario.flows.iter().enumerate() {
            assert_eq!(flow.session, session);
            let hearers: Vec<usize> = (0..scenario.sessions.len())
                .filter(|&other| scenario.sessions[other].subscribes.contains(&flow.topic))
                .collect();
            let want: Vec<usize> =
                if session < 3 { (0..4).map(|nth| 3 + session * 4 + nth).collect() } else { vec![(session - 3) / 4] };
            assert_eq!(hearers, want, "of flow {session}");
        }
        assert_eq!(scenario.topics[..4], ["game.0.state", "game.1.state", "game.2.state", "game.0.input"]);
    }

    #[test]
    fn ticks_are_as_many_and_as_long_as_asked_and_spread_over_the_interval() {
        let all = second(WHOLE);
        assert!(all.is_sorted_by_key(|(at, ..)| *at));
        for flow in 0..15 {
            let of: Vec<_> = all.iter().filter(|(_, of, _)| *of == flow).collect();
            let (count, bytes) = if flow < 3 { (20, 64 + 4 * 24) } else { (30, 52) };
            assert_eq!(of.len(), count, "flow {flow}");
            assert!(of.iter().all(|(.., length)| *length == bytes));
        }
        let mut places: Vec<u128> =
            (0..15).map(|flow| all.iter().find(|(_, of, _)| *of == flow).unwrap().0.as_micros()).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), 15, "no two begin together: {places:?}");
    }

    #[test]
    fn threads_together_do_what_one_does() {
        let mut parts: Vec<_> = (0..2).flat_map(|index| second(Share { index, count: 2 })).collect();
        parts.sort_unstable();
        let mut all = second(WHOLE);
        all.sort_unstable();
        assert_eq!(parts, all);
    }

    #[test]
    fn a_rate_is_so_many_rooms() {
        assert_eq!(GAME.rate(), Some(3.0 * (4.0 * 30.0 + 20.0)));
        let rate = |rate: f64| GAME.at_rate(rate).unwrap().rate();
        assert_eq!(rate(1450.0), Some(1400.0));
        assert_eq!(rate(1.0), Some(140.0));
    }
}
