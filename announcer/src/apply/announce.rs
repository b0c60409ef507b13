//! Gratuitous ARP for the VIPs that this node leads.
//!
//! RFC 5227 section 2.3 (announcements), RFC 5944 section 4.6 (both forms). A VIP's address must have been found free
//! before it is given here.

mod frame;
mod schedule;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use pnet::{
    datalink::{self, Channel, ChannelType, DataLinkSender, NetworkInterface},
    util::MacAddr,
};
use socket2::{Domain, Socket, Type};

use self::{frame::Form, schedule::Schedule};
use crate::world::model::Mac;

/// A VIP on a link on which this node leads it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spot {
    pub vip: Ipv4Addr,
    pub link: String,
}

/// The link's device, by which the frames leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Port {
    pub index: u32,
    pub mac: Mac,
}

/// What has been sent since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Announced {
    /// Frames sent.
    pub sent: u64,
    /// Frames that a link refused.
    pub failed: u64,
    /// Links that cannot be sent on at present, and why.
    pub troubles: BTreeMap<String, String>,
}

/// Announces VIPs from a thread of its own, since sending may block.
#[derive(Debug)]
pub struct Announcer {
    /// The thread ends when this is dropped.
    orders: mpsc::Sender<Order>,
    announced: Arc<Mutex<Announced>>,
}

#[derive(Debug)]
enum Order {
    Set(BTreeMap<Spot, Port>),
    Again(BTreeSet<Spot>),
}

impl Announcer {
    /// Starts the thread, in the caller's network namespace.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start() -> io::Result<Self> {
        let (orders, received) = mpsc::channel();
        let announced = Arc::new(Mutex::new(Announced::default()));
        let told = Arc::clone(&announced);
        thread::Builder::new()
            .name("announce".to_owned())
            .spawn(move || run(&received, &told, &mut Wire::default()))?;
        Ok(Self { orders, announced })
    }

    /// All that this node leads now, with the device of each link. What is new, or on another device, is announced at
    /// once and repeated; what stays is refreshed every minute; what is gone is not announced any more.
    pub fn set(&mut self, spots: BTreeMap<Spot, Port>) {
        self.order(Order::Set(spots));
    }

    /// Announces these at once and repeats, as if they were new: after the data path was made anew, say.
    pub fn again(&mut self, spots: &BTreeSet<Spot>) {
        self.order(Order::Again(spots.clone()));
    }

    #[must_use]
    pub fn announced(&self) -> Announced {
        self.announced.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn order(&self, order: Order) {
        if self.orders.send(order).is_err() {
            tracing::error!("the thread that announces has ended: restart the agent");
        }
    }
}

/// Sends a frame on a link; the kernel's sockets in life, a list in tests.
trait Send {
    fn send(&mut self, link: &str, port: Port, frame: &[u8]) -> io::Result<()>;
}

fn run(orders: &mpsc::Receiver<Order>, announced: &Mutex<Announced>, wire: &mut impl Send) {
    let start = Instant::now();
    let mut schedule = Schedule::default();
    loop {
        for (spot, port) in schedule.due(start.elapsed()) {
            let result = [Form::Request, Form::Reply]
                .into_iter()
                .try_for_each(|form| wire.send(&spot.link, port, &frame::gratuitous(spot.vip, port.mac, form)));
            note(&mut announced.lock().unwrap_or_else(PoisonError::into_inner), &spot, result);
        }
        // Without anything to announce, the next order is waited for.
        let wait = schedule.next().map_or(Duration::MAX, |next| next.saturating_sub(start.elapsed()));
        match orders.recv_timeout(wait) {
            Ok(Order::Set(spots)) => schedule.set(spots, start.elapsed()),
            Ok(Order::Again(spots)) => schedule.again(&spots, start.elapsed()),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn note(announced: &mut Announced, spot: &Spot, result: io::Result<()>) {
    match result {
        Ok(()) => {
            announced.sent += 2;
            announced.troubles.remove(&spot.link);
        }
        Err(error) => {
            announced.failed += 1;
            let text = format!("gratuitous ARP for {} cannot be sent on {}: {error}", spot.vip, spot.link);
            if announced.troubles.insert(spot.link.clone(), error.to_string()).is_none() {
                tracing::warn!("{text}; it is repeated");
            }
        }
    }
}

/// The sockets, by link.
#[derive(Default)]
struct Wire {
    open: BTreeMap<String, (Port, Box<dyn DataLinkSender>)>,
}

/// A link that takes no frame for longer is stuck; the others must not wait for it.
const SEND_WITHIN: Duration = Duration::from_millis(200);

impl Send for Wire {
    fn send(&mut self, link: &str, port: Port, frame: &[u8]) -> io::Result<()> {
        if self.open.get(link).is_none_or(|(known, _)| *known != port) {
            self.open.insert(link.to_owned(), (port, open(link, port)?));
        }
        let Some((_, sender)) = self.open.get_mut(link) else { return Err(io::ErrorKind::NotConnected.into()) };
        let result = sender.send_to(frame, None).unwrap_or_else(|| Err(io::ErrorKind::InvalidInput.into()));
        if result.is_err() {
            // The device may be another one by now.
            self.open.remove(link);
        }
        result
    }
}

/// A socket that sends and receives nothing. pnet's own would be bound to all protocols and would have every packet of
/// the link copied into it, promiscuously at that; one of protocol 0 gets none (packet(7)).
fn open(link: &str, port: Port) -> io::Result<Box<dyn DataLinkSender>> {
    let socket = Socket::new(Domain::from(libc::AF_PACKET), Type::from(libc::SOCK_RAW), None)?;
    let Mac([a, b, c, d, e, f]) = port.mac;
    let interface = NetworkInterface {
        name: link.to_owned(),
        description: String::new(),
        index: port.index,
        mac: Some(MacAddr::new(a, b, c, d, e, f)),
        ips: Vec::new(),
        flags: 0,
    };
    let config = datalink::Config {
        channel_type: ChannelType::Layer3(0),
        promiscuous: false,
        write_timeout: Some(SEND_WITHIN),
        // pnet owns it from here, and closes it also when it fails.
        socket_fd: Some(std::os::fd::IntoRawFd::into_raw_fd(socket)),
        ..datalink::Config::default()
    };
    match datalink::channel(&interface, config)? {
        Channel::Ethernet(sender, _) => Ok(sender),
        _ => Err(io::Error::other("the link has no Ethernet channel")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Fake {
        frames: Vec<(String, Vec<u8>)>,
        broken: bool,
    }

    impl Send for Fake {
        fn send(&mut self, link: &str, _: Port, frame: &[u8]) -> io::Result<()> {
            if self.broken {
                return Err(io::Error::other("gone"));
            }
            self.frames.push((link.to_owned(), frame.to_vec()));
            Ok(())
        }
    }

    fn spots() -> BTreeMap<Spot, Port> {
        let spot = Spot { vip: Ipv4Addr::new(192, 0, 2, 1), link: "eth0".to_owned() };
        BTreeMap::from([(spot, Port { index: 2, mac: Mac([2, 0, 0, 0, 0, 1]) })])
    }

    /// The orders, then the end.
    fn run_with(orders: Vec<Order>, wire: &mut Fake) -> Announced {
        let (to, received) = mpsc::channel();
        for order in orders {
            to.send(order).unwrap();
        }
        let announced = Mutex::default();
        thread::scope(|scope| {
            let end = scope.spawn(move || {
                thread::sleep(Duration::from_millis(50));
                drop(to);
            });
            run(&received, &announced, wire);
            end.join().unwrap();
        });
        announced.into_inner().unwrap()
    }

    #[test]
    fn a_new_vip_is_announced_at_once_in_both_forms() {
        let mut wire = Fake::default();
        let announced = run_with(vec![Order::Set(spots())], &mut wire);
        assert_eq!((announced.sent, announced.failed), (2, 0));
        assert_eq!(wire.frames.len(), 2);
        assert!(wire.frames.iter().all(|(link, _)| link == "eth0"));
        assert_ne!(wire.frames[0].1, wire.frames[1].1);
    }

    #[test]
    fn a_link_that_refuses_is_told_and_does_not_stop_the_thread() {
        let mut wire = Fake { broken: true, ..Fake::default() };
        let announced = run_with(vec![Order::Set(spots())], &mut wire);
        assert_eq!((announced.sent, announced.failed), (0, 1));
        assert_eq!(announced.troubles["eth0"], "gone");
    }
}
