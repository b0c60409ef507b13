//! The metrics' registry. What the data path counts is read when somebody scrapes.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use announcer_ebpf::abi::Outcome;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, LabelSetEncoder},
    metrics::{
        MetricType,
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::{ConstGauge, Gauge},
        histogram::{Histogram, exponential_buckets},
        info::Info,
    },
    registry::{Registry, Unit},
};

use super::status::MapStatus;

/// What one scrape reads from the loop.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Readings {
    pub outcomes: Vec<(Outcome, u64)>,
    pub vips: Vec<VipReading>,
    pub vips_led: usize,
    pub services: usize,
    pub endpoints: usize,
    pub maps: Vec<MapStatus>,
}

/// A VIP's counters on this node since its programs were pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VipReading {
    pub address: IpAddr,
    /// Packets and bytes by direction: `forwarded`, `delivered`, `replied`.
    pub traffic: [(&'static str, u64, u64); 3],
    pub answers: u64,
    pub dropped: u64,
}

/// Labels of a request to the API server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Request {
    /// HTTP method, in capitals.
    pub method: String,
    /// HTTP status code of the answer, or `none`.
    pub code: String,
}

/// The registry and what is counted as it happens.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    readings: Arc<Mutex<Readings>>,
    /// Seconds that making all plans took.
    pub plan_seconds: Histogram,
    /// Seconds that writing the maps took.
    pub apply_seconds: Histogram,
    api_requests: Family<Request, Counter>,
    /// Unix time of the last plan made of a complete World that is in the maps.
    pub last_sync: Gauge<f64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("announcer");
        let readings = Arc::<Mutex<Readings>>::default();
        // 50 us to 1.6 s.
        let durations = || Histogram::new(exponential_buckets(0.000_05, 2.0, 16));
        let (plan_seconds, apply_seconds) = (durations(), durations());
        let api_requests = Family::<Request, Counter>::default();
        let last_sync = Gauge::default();
        registry.register_with_unit("plan", "Time to make all plans", Unit::Seconds, plan_seconds.clone());
        registry.register_with_unit("apply", "Time to write the maps", Unit::Seconds, apply_seconds.clone());
        registry.register("api_requests", "Requests to the API server, by their answer", api_requests.clone());
        registry.register_with_unit(
            "last_complete_sync_timestamp",
            "Unix time when the maps last were in step with a complete view of the cluster",
            Unit::Seconds,
            last_sync.clone(),
        );
        registry.register("build", "Version of the agent", Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]));
        registry.register_collector(Box::new(Latest(Arc::clone(&readings))));
        Self { registry, readings, plan_seconds, apply_seconds, api_requests, last_sync }
    }
}

impl Metrics {
    /// Counts one request to the API server.
    pub fn api_request(&self, method: &str, code: Option<u16>) {
        let code = code.map_or_else(|| "none".to_owned(), |code| code.to_string());
        self.api_requests.get_or_create(&Request { method: method.to_owned(), code }).inc();
    }

    /// The maps are in step with a complete World.
    pub fn synced(&self) {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        self.last_sync.set(now.as_secs_f64());
    }

    /// All metrics in OpenMetrics text, those of the data path by `readings`.
    ///
    /// # Errors
    /// A metric cannot be written (none is known).
    pub fn encode(&self, readings: Readings) -> Result<String, std::fmt::Error> {
        *self.readings.lock().unwrap_or_else(PoisonError::into_inner) = readings;
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// Writes the last readings.
#[derive(Debug)]
struct Latest(Arc<Mutex<Readings>>);

/// Labels known by place, values as text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Labels<const N: usize>([(&'static str, String); N]);

impl<const N: usize> EncodeLabelSet for Labels<N> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), std::fmt::Error> {
        use prometheus_client::encoding::EncodeLabel;
        self.0.iter().try_for_each(|(name, value)| (*name, value.as_str()).encode(encoder.encode_label()))
    }
}

fn counters<const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    values: impl IntoIterator<Item = (Labels<N>, u64)>,
) -> Result<(), std::fmt::Error> {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    values.into_iter().try_for_each(|(labels, value)| ConstCounter::new(value).encode(metric.encode_family(&labels)?))
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: usize) -> Result<(), std::fmt::Error> {
    let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
    gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}

impl Collector for Latest {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let readings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let encoder = &mut encoder;
        let outcomes = readings.outcomes.iter().map(|(o, n)| (Labels([("outcome", o.name().to_owned())]), *n));
        counters(encoder, ("packets", "Packets seen by the programs, by what became of them"), outcomes)?;
        let traffic = || {
            readings.vips.iter().flat_map(|vip| {
                vip.traffic.iter().map(|(direction, packets, bytes)| {
                    let labels = Labels([("vip", vip.address.to_string()), ("direction", (*direction).to_owned())]);
                    (labels, *packets, *bytes)
                })
            })
        };
        let packets = traffic().map(|(labels, packets, _)| (labels, packets));
        counters(encoder, ("vip_packets", "Packets of a VIP on this node"), packets)?;
        counters(encoder, ("vip_bytes", "Bytes of a VIP on this node"), traffic().map(|(labels, _, b)| (labels, b)))?;
        let per_vip = |value: fn(&VipReading) -> u64| {
            readings.vips.iter().map(move |vip| (Labels([("vip", vip.address.to_string())]), value(vip)))
        };
        counters(encoder, ("vip_arp_answers", "ARP requests answered for a VIP"), per_vip(|vip| vip.answers))?;
        counters(encoder, ("vip_dropped", "Packets to a VIP that were dropped"), per_vip(|vip| vip.dropped))?;
        gauge(encoder, "vips", "VIPs known", readings.vips.len())?;
        gauge(encoder, "vips_led", "VIPs that this node leads", readings.vips_led)?;
        gauge(encoder, "services", "Services served", readings.services)?;
        gauge(encoder, "endpoints", "Endpoints of the Services served", readings.endpoints)?;
        for (name, help, value) in [
            ("map_entries", "Used entries of a map", (|map| map.used) as fn(&MapStatus) -> u64),
            ("map_capacity", "Room of a map", |map| map.capacity),
        ] {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for map in &readings.maps {
                let labels = Labels([("map", map.name.to_lowercase())]);
                let value = i64::try_from(value(map)).unwrap_or(i64::MAX);
                ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_and_vip_is_a_series() {
        let metrics = Metrics::default();
        metrics.api_request("PATCH", Some(409));
        metrics.plan_seconds.observe(0.001);
        let readings = Readings {
            outcomes: Outcome::ALL.iter().map(|outcome| (*outcome, 7)).collect(),
            vips: vec![VipReading {
                address: "192.0.2.10".parse().unwrap(),
                traffic: [("forwarded", 1, 64), ("delivered", 2, 128), ("replied", 3, 192)],
                answers: 5,
                dropped: 6,
            }],
            vips_led: 1,
            services: 2,
            endpoints: 3,
            maps: vec![MapStatus { name: "FLOWS".to_owned(), used: 1, capacity: 10 }],
        };
        let text = metrics.encode(readings).unwrap();
        for line in [
            "announcer_packets_total{outcome=\"arp_answered\"} 7",
            "announcer_vip_packets_total{vip=\"192.0.2.10\",direction=\"delivered\"} 2",
            "announcer_vip_bytes_total{vip=\"192.0.2.10\",direction=\"replied\"} 192",
            "announcer_vip_arp_answers_total{vip=\"192.0.2.10\"} 5",
            "announcer_vips_led 1",
            "announcer_map_capacity{map=\"flows\"} 10",
            "announcer_api_requests_total{method=\"PATCH\",code=\"409\"} 1",
            "announcer_plan_seconds_count 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(
            text.contains(concat!("announcer_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1")),
            "{text}"
        );
    }
}
