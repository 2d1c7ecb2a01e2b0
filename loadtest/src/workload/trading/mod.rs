//! `trading`: market data to many subscribers, and orders beside it.
//!
//! The model. `topics` instruments share `rate` messages a second by Zipf's law: the n-th most popular gets 1 / n^zipf
//! of what the first gets, in messages and in subscribers alike, as the volume of real instruments is skewed. Each
//! instrument is published by one of `publishers` gateways. Messages arrive as a Poisson process whose rate rises for
//! bursts: the opening auction, at the beginning of what is measured, and news, at random times, both dying away within
//! `burst-seconds`. A message is a trade, short and of one size, or an update of a book, whose length is log-normal.
//! Beside it, `orders` sessions send requests at a steady rate each and wait for nobody: the acknowledgement is the
//! request's own delivery on a topic that only its sender hears.
//!
//! With `trace`, topics, instants and lengths are those of a recording.

mod arrivals;
mod trace;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::script::{beats, merge};
use super::{Kind, Options, Place};
use crate::cli::{Flags, check_payload_bytes};
use crate::json::Json;
use crate::pubsub::{Flow, PubSub, Scenario, Script, Session, Source, What};
use crate::report::Report;
use crate::run::{self, Load, Share};
use arrivals::{Arrivals, Bursts, Sizes, zipf};
use trace::Trace;

/// `trading`, on the command line.
pub const KIND: Kind = Kind {
    name: "trading",
    about: "market data to many subscribers, in bursts, and orders beside it",
    help: "\
    --topics N            instruments [20]
    --zipf S              how skewed their popularity is: the n-th has 1/n^S of the first's; 0 is not at all [1]
    --publishers N        gateways that share the instruments [2]
    --subscribers N       subscribers [100]
    --topics-each N       instruments that each follows [1]
    --rate R              messages a second over all instruments, without bursts [500]
    --trade-share S       share of the messages that are trades; the others are updates of the book [20%]
    --trade-bytes N       payload of a trade, at least 44 [128]
    --book-bytes N        median payload of an update; log-normal, sigma 0.6, from 44 to 16 times this [320]
    --opening F           the opening auction raises the rate F-fold as measuring begins [5]
    --news-every S        seconds between news, on average; 0 is never [5]
    --news F              news raises the rate F-fold [10]
    --burst-seconds S     in which a burst dies away to a third [0.25]
    --orders N            sessions that send orders [0]
    --order-rate R        orders a second of each [10]
    --order-bytes N       payload of an order, at least 44 [160]
    --trace FILE.jsonl    instead of the model: a recording, a line {\"ts\":ns,\"topic\":..,\"data\":..} each;
                          data shorter than 44 bytes is sent as 44
    --speed X             how many times as fast [1]
",
    has_adapter: true,
    read: |flags| Ok(Box::new(TradingOptions::read(flags)?)),
};

/// A market.
#[derive(Clone, Debug)]
pub struct TradingOptions {
    topics: usize,
    zipf: f64,
    publishers: usize,
    subscribers: usize,
    topics_each: usize,
    rate: f64,
    sizes: Sizes,
    bursts: Bursts,
    orders: usize,
    order_rate: f64,
    order_bytes: usize,
    trace: Option<(PathBuf, Arc<Trace>)>,
    speed: f64,
}

impl TradingOptions {
    /// Reads its flags.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn read(flags: &mut Flags) -> Result<Self, String> {
        let trace = flags.text("trace").map(PathBuf::from);
        let speed = flags.above_zero("speed", 1.0)?;
        let news_every = flags.seconds("news-every", 5.0)?;
        let fade = flags.seconds("burst-seconds", 0.25)?.max(Duration::from_millis(1));
        let trace = trace.map(|path| Ok::<_, String>((path.clone(), Arc::new(Trace::read(&path)?)))).transpose()?;
        let at_least_zero = |name: &str, number: f64| {
            let fits = number.is_finite() && number >= 0.0;
            fits.then_some(number).ok_or_else(|| format!("--{name} {number}: 0 or more is needed"))
        };
        let mut number = |name: &str, default: f64| at_least_zero(name, flags.number(name)?.unwrap_or(default));
        let zipf = number("zipf", 1.0)?;
        let bursts = Bursts {
            opening: number("opening", 5.0)?.max(1.0),
            news_every,
            news: number("news", 10.0)?.max(1.0),
            fade,
        };
        let options = Self {
            topics: trace.as_ref().map_or(flags.at_least_one("topics", 20)?, |(_, trace)| trace.topics.len()),
            zipf,
            publishers: flags.at_least_one("publishers", 2)?,
            subscribers: flags.at_least_one("subscribers", 100)?,
            topics_each: flags.at_least_one("topics-each", 1)?,
            rate: flags.above_zero("rate", 500.0)?,
            sizes: Sizes {
                trade_share: flags.share("trade-share", 0.2)?,
                trade_bytes: flags.payload_bytes("trade-bytes", 128)?,
                book_bytes: flags.payload_bytes("book-bytes", 320)?,
            },
            bursts,
            orders: flags.number("orders")?.unwrap_or(0),
            order_rate: flags.above_zero("order-rate", 10.0)?,
            order_bytes: flags.payload_bytes("order-bytes", 160)?,
            trace,
            speed,
        };
        let longest = options.sizes.bytes_max();
        check_payload_bytes(&format!("--book-bytes {}: {longest} at most", options.sizes.book_bytes), longest)?;
        if options.topics_each > options.topics {
            return Err(format!("--topics-each {}: there are only {} topics", options.topics_each, options.topics));
        }
        Ok(options)
    }

    /// Publishers are the first sessions, subscribers those behind them, who sends orders comes last. Flow n is topic n;
    /// orders have the flows and topics behind them.
    fn scenario(&self, seed: u64) -> Scenario {
        let mut random = fastrand::Rng::with_seed(seed);
        let publishers = self.publishers.min(self.topics);
        let market: Vec<String> = match &self.trace {
            Some((_, trace)) => trace.topics.clone(),
            None => (0..self.topics).map(|nth| format!("market.{nth}")).collect(),
        };
        let popularity = zipf(self.topics, self.zipf);
        let subscribers = (0..self.subscribers).map(|_| Session {
            subscribes: arrivals::draw_several(&popularity, self.topics_each, &mut random),
            ..Session::default()
        });
        let orders = (0..self.orders).map(|nth| Session { subscribes: vec![self.topics + nth], ..Session::default() });
        let first_order = publishers + self.subscribers;
        let market_flows = (0..self.topics).map(|topic| Flow { topic, session: topic % publishers, series: 0 });
        let order_flows =
            (0..self.orders).map(|nth| Flow { topic: self.topics + nth, session: first_order + nth, series: 1 });
        let longest = self.trace.as_ref().map_or(self.sizes.bytes_max(), |(_, trace)| trace.bytes_max());
        Scenario {
            topics: market.into_iter().chain((0..self.orders).map(|nth| format!("orders.{nth}"))).collect(),
            flows: market_flows.chain(order_flows).collect(),
            sessions: std::iter::repeat_n(Session::default(), publishers).chain(subscribers).chain(orders).collect(),
            bytes_max: longest.max(self.order_bytes),
        }
    }

    fn source(&self, load: &Load) -> Source {
        let this = self.clone();
        let (seed, opening_at) = (load.seed, load.warm_up);
        Source::Script(Arc::new(move |share| this.script(share, seed, opening_at)))
    }

    fn script(&self, share: Share, seed: u64, opening_at: Duration) -> Script {
        let publishers = self.publishers.min(self.topics);
        let is_own = |topic: usize| share.owns(topic % publishers);
        let market: Script = match &self.trace {
            Some((_, trace)) => {
                Box::new(Trace::replay(Arc::clone(trace), self.speed).filter(move |action| match action.what {
                    What::Publish { flow, .. } => share.owns(flow % publishers),
                    What::Join(_) | What::Leave(_) | What::Cut(_) => false,
                }))
            }
            None => {
                let weights = zipf(self.topics, self.zipf);
                let own: Vec<(usize, f64)> =
                    weights.into_iter().enumerate().filter(|(topic, _)| is_own(*topic)).collect();
                let bursts = self.bursts.clone().schedule(seed, opening_at);
                Box::new(Arrivals::new(own, self.rate, bursts, self.sizes, seed.wrapping_add(1 + share.index as u64)))
            }
        };
        let first_order = publishers + self.subscribers;
        // Senders take turns, so that orders are spread evenly over time.
        let senders = (0..self.orders).filter(|nth| share.owns(first_order + nth));
        let senders = senders.map(|nth| (nth as f64 / self.orders as f64, self.topics + nth)).collect();
        merge(vec![market, beats(senders, self.order_rate, self.order_bytes)])
    }

    fn to_json(&self) -> Json {
        Json::object([
            ("topics", self.topics.into()),
            ("zipf", self.zipf.into()),
            ("publishers", self.publishers.into()),
            ("subscribers", self.subscribers.into()),
            ("topics_each", self.topics_each.into()),
            ("rate", self.trace.is_none().then_some(self.rate).into()),
            ("trade_share", self.sizes.trade_share.into()),
            ("trade_bytes", self.sizes.trade_bytes.into()),
            ("book_bytes", self.sizes.book_bytes.into()),
            ("opening", self.bursts.opening.into()),
            ("news_every_seconds", self.bursts.news_every.as_secs_f64().into()),
            ("news", self.bursts.news.into()),
            ("burst_seconds", self.bursts.fade.as_secs_f64().into()),
            ("orders", self.orders.into()),
            ("order_rate", self.order_rate.into()),
            ("order_bytes", self.order_bytes.into()),
            ("trace", self.trace.as_ref().map(|(path, _)| path.display().to_string()).as_deref().into()),
            ("speed", self.speed.into()),
        ])
    }
}

impl Options for TradingOptions {
    fn run(&self, place: &Place, load: &Load) -> Result<Report, String> {
        let series: &[&str] = if self.orders > 0 { &["delivery", "order"] } else { &["delivery"] };
        let scenario = self.scenario(load.seed);
        run::run(&PubSub::new("trading", place, scenario, self.source(load), series, self.to_json()), load)
    }

    fn rate(&self) -> Option<f64> {
        self.trace.is_none().then_some(self.rate)
    }

    fn at_rate(&self, rate: f64) -> Option<Box<dyn Options>> {
        self.trace.is_none().then(|| Box::new(Self { rate, ..self.clone() }) as Box<dyn Options>)
    }
}
