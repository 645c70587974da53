//! Who is connected, who is let in, and who makes room.
//!
//! Room is made by whoever has the most: of the address with the most connections, the newest that is not being worked on. So one
//! address, or a few, cannot keep all others out, and a visitor with one connection is never closed for somebody with two hundred.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::limits::{ConnectionLimits, RESERVE};
use super::line::{Beats, ConnectionLane, ConnectionOrder, ConnectionPhase, OpenConnection};
use crate::metrics::{Closed, RefusedConnection};
use crate::web::client::network_of;

/// So many addresses are asked to make room, from the one with the most connections down.
const ASKED: usize = 16;

type OpenConnections = BTreeMap<u64, Arc<OpenConnection>>;

pub struct Book {
    limits: ConnectionLimits,
    beats: Arc<Beats>,
    next_id: u64,
    /// Those that count towards the limit.
    count: usize,
    of_addresses: HashMap<IpAddr, OpenConnections>,
    /// The addresses by how many connections they have.
    ranks: BTreeSet<(usize, IpAddr)>,
    of_proxies: OpenConnections,
    reserve: OpenConnections,
}

/// What became of a connection that wants to come in.
#[derive(Default)]
pub struct ConnectionAdmission {
    /// `None`: it is to be closed.
    pub line: Option<Arc<OpenConnection>>,
    pub refused: Option<RefusedConnection>,
    /// Closed for it.
    pub closed: Option<Closed>,
}

impl Book {
    pub fn new(limits: ConnectionLimits, beats: Arc<Beats>) -> Self {
        Self {
            limits,
            beats,
            next_id: 0,
            count: 0,
            of_addresses: HashMap::new(),
            ranks: BTreeSet::new(),
            of_proxies: OpenConnections::new(),
            reserve: OpenConnections::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.count + self.reserve.len()
    }

    pub fn admit(&mut self, peer: SocketAddr) -> ConnectionAdmission {
        let mut admission = ConnectionAdmission::default();
        let ip = peer.ip().to_canonical();
        let lane = if self.limits.trusted.iter().any(|own| own.contains(ip)) {
            ConnectionLane::Proxy
        } else {
            ConnectionLane::Usual
        };
        let address = network_of(ip);
        let own = match lane {
            ConnectionLane::Usual => self
                .of_addresses
                .get(&address)
                .map_or(0, OpenConnections::len),
            ConnectionLane::Proxy | ConnectionLane::Reserve => 0,
        };
        if own >= self.limits.per_address {
            if !self.end_an_idle_one_of(address) {
                admission.refused = Some(RefusedConnection::Address);
                return admission;
            }
            admission.closed = Some(Closed::Room);
        } else if self.count >= self.limits.total {
            if !self.make_room(own) {
                admission.refused = Some(RefusedConnection::Total);
                admission.line = Some(self.enter_reserve(peer));
                return admission;
            }
            admission.closed = Some(Closed::Room);
        }
        admission.line = Some(self.enter(peer, lane));
        admission
    }

    fn open(&mut self, peer: SocketAddr, lane: ConnectionLane) -> Arc<OpenConnection> {
        self.next_id += 1;
        Arc::new(OpenConnection::new(self.next_id, peer, lane, &self.beats))
    }

    fn enter(&mut self, peer: SocketAddr, lane: ConnectionLane) -> Arc<OpenConnection> {
        let entered = self.open(peer, lane);
        self.count += 1;
        if lane == ConnectionLane::Proxy {
            self.of_proxies.insert(entered.id, entered.clone());
        } else {
            let address = network_of(peer.ip().to_canonical());
            let own = self.of_addresses.entry(address).or_default();
            self.ranks.remove(&(own.len(), address));
            own.insert(entered.id, entered.clone());
            self.ranks.insert((own.len(), address));
        }
        entered
    }

    /// The oldest of the reserve goes: a prober asks at once.
    fn enter_reserve(&mut self, peer: SocketAddr) -> Arc<OpenConnection> {
        if self.reserve.len() >= RESERVE
            && let Some((_, oldest)) = self.reserve.pop_first()
        {
            oldest.order(ConnectionOrder::Close);
        }
        let line = self.open(peer, ConnectionLane::Reserve);
        self.reserve.insert(line.id, line.clone());
        line
    }

    /// It is closed, or will be at once.
    pub fn leave(&mut self, line: &OpenConnection) {
        match line.lane {
            ConnectionLane::Reserve => {
                self.reserve.remove(&line.id);
            }
            ConnectionLane::Proxy => {
                self.count -= usize::from(self.of_proxies.remove(&line.id).is_some());
            }
            ConnectionLane::Usual => self.leave_address(line),
        }
    }

    fn leave_address(&mut self, line: &OpenConnection) {
        let address = network_of(line.peer.ip().to_canonical());
        let Some(lines) = self.of_addresses.get_mut(&address) else {
            return;
        };
        if lines.remove(&line.id).is_none() {
            return;
        }
        self.count -= 1;
        self.ranks.remove(&(lines.len() + 1, address));
        if lines.is_empty() {
            self.of_addresses.remove(&address);
        } else {
            self.ranks.insert((lines.len(), address));
        }
    }

    /// Many people may share an address, and browsers keep connections that they do not need.
    fn end_an_idle_one_of(&mut self, address: IpAddr) -> bool {
        let lines = self.of_addresses.get(&address);
        let idle = lines.and_then(|lines| {
            let mut lines = lines.values();
            lines
                .find(|line| line.is_in(ConnectionPhase::Idle))
                .cloned()
        });
        if let Some(line) = &idle {
            // If it asks at this very moment, it is answered.
            line.order(ConnectionOrder::Finish);
            self.leave(line);
        }
        idle.is_some()
    }

    /// Closes a connection of an address that has more than `own`.
    fn make_room(&mut self, own: usize) -> bool {
        let most = self.ranks.iter().rev().take(ASKED);
        let found = most
            .take_while(|(count, _)| *count > own)
            .find_map(|(_, address)| {
                let mut newest = self.of_addresses.get(address)?.values().rev();
                newest.find(|line| line.is_waiting_for_them()).cloned()
            });
        if let Some(line) = &found {
            line.order(ConnectionOrder::Close);
            self.leave(line);
        }
        found.is_some()
    }

    /// Any that nobody works on, whoever has it: the process has no more files.
    pub fn give_back_a_file(&mut self) -> bool {
        self.make_room(0)
    }

    /// Tells those that have taken too long to close, and says why.
    pub fn sweep(&mut self) -> Vec<Closed> {
        let overdue: Vec<(Arc<OpenConnection>, Closed)> = self
            .all()
            .filter_map(|line| Some((line.clone(), line.overdue(&self.limits)?)))
            .collect();
        for (line, _) in &overdue {
            line.order(ConnectionOrder::Close);
            self.leave(line);
        }
        overdue.into_iter().map(|(_, why)| why).collect()
    }

    pub fn tell_all(&self, told: ConnectionOrder) {
        for line in self.all() {
            line.order(told);
        }
    }

    fn all(&self) -> impl Iterator<Item = &Arc<OpenConnection>> {
        let lines = self.of_addresses.values().flat_map(OpenConnections::values);
        lines
            .chain(self.of_proxies.values())
            .chain(self.reserve.values())
    }
}
