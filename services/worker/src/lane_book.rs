//! Which lanes to serve next: what this worker believes is due, kept in memory.
//!
//! Pure bookkeeping. A belief may be wrong (another worker was faster, a wake-up was lost): a wrong one costs an empty claim or a few
//! seconds until the next discovery, never a delivery. Organizations take turns, and within one its lanes do, so that one tenant's million
//! messages do not delay another tenant's one. What is in hand is shared by dynamic thresholds: nobody may hold more than some multiple of
//! what is left free, so that something is always left for a newcomer, however many destinations do not answer.

use chrono::{DateTime, TimeDelta, Utc};
use std::collections::HashMap;
use store::{
    ids::OrganizationId,
    lanes::Lane,
    queue::{Claimed, Want},
};

/// Deliveries of one lane that may be in this worker's hands: enough for a hundred recipients of one message to be one transaction.
pub const LANE_ROOM: usize = 100;
/// An organization holds at most so many times what is left free: alone, four fifths of everything.
const ORGANIZATION_SHARE: usize = 4;
/// A lane holds at most so many times what its organization may still take: alone, two thirds of that.
const LANE_SHARE: usize = 2;
/// One part in so many of everything is left to organizations that hold nothing yet; down to that, a lane that holds nothing may take one even when
/// its organization has enough.
const RESERVE: usize = 10;
/// How far behind the newest claimed delivery another one may still appear: an accepting transaction's clock stops at its start.
const OVERLAP: TimeDelta = TimeDelta::seconds(60);

#[derive(Debug)]
struct State {
    organization: OrganizationId,
    destination: String,
    /// Nothing unclaimed is due before then. `None`: nothing at all.
    due: Option<DateTime<Utc>>,
    /// Where in the lane the next claim starts looking.
    since: DateTime<Utc>,
    /// By an operator: what the lane's row says.
    paused_until: Option<DateTime<Utc>>,
    /// By us: its destination does not answer.
    rests_until: Option<DateTime<Utc>>,
    in_hand: usize,
    served: u64,
}

/// What this worker knows of the lanes.
#[derive(Debug, Default)]
pub struct LaneBook {
    lanes: HashMap<i64, State>,
    served_organizations: HashMap<OrganizationId, u64>,
    turn: u64,
}

impl LaneBook {
    /// Whether the lane is known, so that a hint about it can be taken.
    #[must_use]
    pub fn knows(&self, lane: i64) -> bool {
        self.lanes.contains_key(&lane)
    }

    /// The lane's destination.
    #[must_use]
    pub fn destination(&self, lane: i64) -> Option<&str> {
        self.lanes.get(&lane).map(|state| state.destination.as_str())
    }

    /// Takes what a look into the database found. It is the truth, also about deliveries that hints told nothing of.
    pub fn discovered(&mut self, lane: Lane) {
        let state = self.lanes.entry(lane.id).or_insert_with(|| State {
            organization: lane.key.organization,
            destination: lane.key.destination,
            due: None,
            since: lane.due_at.unwrap_or(DateTime::UNIX_EPOCH),
            paused_until: None,
            rests_until: None,
            in_hand: 0,
            served: 0,
        });
        state.paused_until = lane.paused_until;
        if let Some(due) = lane.due_at {
            state.since = state.since.min(due);
            state.due = Some(state.due.map_or(due, |known| known.min(due)));
        }
    }

    /// Something in the lane becomes due then.
    pub fn hint(&mut self, lane: i64, due: DateTime<Utc>) {
        if let Some(state) = self.lanes.get_mut(&lane) {
            state.due = Some(state.due.map_or(due, |known| known.min(due)));
        }
    }

    /// The destination is down: its lanes wait.
    pub fn pause(&mut self, destination: &str, until: DateTime<Utc>) {
        for state in self.lanes.values_mut().filter(|state| state.destination == destination) {
            state.rests_until = Some(until);
        }
    }

    /// Everything waits: the one server that takes all mail is down.
    pub fn pause_all(&mut self, until: DateTime<Utc>) {
        for state in self.lanes.values_mut() {
            state.rests_until = Some(until);
        }
    }

    /// Lanes to claim from now, with at most `room` deliveries in all.
    pub fn choose(&mut self, now: DateTime<Utc>, room: usize) -> Vec<Want> {
        let mut ready: Vec<(u64, u64, i64)> = self
            .lanes
            .iter()
            .filter(|(_, state)| state.is_ready(now))
            .map(|(id, state)| {
                (
                    self.served_organizations.get(&state.organization).copied().unwrap_or(0),
                    state.served,
                    *id,
                )
            })
            .collect();
        ready.sort_unstable();
        let mut held: HashMap<OrganizationId, usize> = HashMap::new();
        for state in self.lanes.values().filter(|state| state.in_hand > 0) {
            *held.entry(state.organization).or_default() += state.in_hand;
        }
        let reserve = (room + held.values().sum::<usize>()) / RESERVE;
        let share = (room / ready.len().max(1)).max(1);
        let mut left = room;
        let mut wants = Vec::new();
        for (_, _, id) in ready {
            let Some(state) = self.lanes.get_mut(&id) else { continue };
            let of_organization = held.entry(state.organization).or_default();
            let allowance = more(*of_organization, left, ORGANIZATION_SHARE);
            let newcomer = usize::from(state.in_hand == 0 && left > reserve);
            let take = LANE_ROOM
                .saturating_sub(state.in_hand)
                .min(share)
                .min(more(state.in_hand, allowance, LANE_SHARE).max(newcomer));
            if take == 0 {
                continue;
            }
            left -= take;
            *of_organization += take;
            self.turn += 1;
            state.served = self.turn;
            self.served_organizations.insert(state.organization, self.turn);
            wants.push(Want {
                lane: id,
                room: i32::try_from(take).unwrap_or(i32::MAX),
                since: state.since,
            });
        }
        wants
    }

    /// Takes the answer to a claim.
    pub fn claimed(&mut self, wants: &[Want], claimed: &[Claimed]) {
        let mut counts: HashMap<i64, (usize, DateTime<Utc>)> = HashMap::new();
        for delivery in claimed {
            let count = counts.entry(delivery.lane).or_insert((0, delivery.due_at));
            count.0 += 1;
            count.1 = count.1.max(delivery.due_at);
        }
        for want in wants {
            let Some(state) = self.lanes.get_mut(&want.lane) else { continue };
            let (count, newest) = counts.get(&want.lane).copied().unwrap_or((0, DateTime::UNIX_EPOCH));
            state.in_hand += count;
            state.since = state.since.max(newest - OVERLAP);
            if count < usize::try_from(want.room).unwrap_or(0) {
                state.due = None; // drained, until a hint or a discovery says otherwise
            }
        }
    }

    /// So many deliveries of the lane are out of hand; the earliest of those deferred is due then.
    pub fn finished(&mut self, lane: i64, count: usize, due: Option<DateTime<Utc>>) {
        if let Some(state) = self.lanes.get_mut(&lane) {
            state.in_hand = state.in_hand.saturating_sub(count);
        }
        if let Some(due) = due {
            self.hint(lane, due);
        }
    }

    /// When the next lane becomes ready by itself.
    #[must_use]
    pub fn next_due(&self) -> Option<DateTime<Utc>> {
        self.lanes
            .values()
            .filter(|state| state.in_hand < LANE_ROOM)
            .filter_map(|state| state.due.map(|due| due.max(state.waits_until().unwrap_or(due))))
            .min()
    }

    /// Forgets lanes that have nothing due and nothing in hand, so that the book does not grow with every destination ever written to.
    pub fn forget_idle(&mut self) {
        self.lanes.retain(|_, state| state.in_hand > 0 || state.due.is_some());
        let organizations: std::collections::HashSet<_> = self.lanes.values().map(|state| state.organization).collect();
        self.served_organizations
            .retain(|organization, _| organizations.contains(organization));
    }
}

/// How much more somebody who holds `held` may take so as to hold no more than `times` what is then left of `free`; who holds nothing may always
/// take one.
fn more(held: usize, free: usize, times: usize) -> usize {
    let least = usize::from(held == 0).min(free);
    ((times * free).saturating_sub(held) / (times + 1)).max(least)
}

impl State {
    fn is_ready(&self, now: DateTime<Utc>) -> bool {
        self.in_hand < LANE_ROOM && self.due.is_some_and(|due| due <= now) && self.waits_until().is_none_or(|until| until <= now)
    }

    fn waits_until(&self) -> Option<DateTime<Utc>> {
        self.paused_until.max(self.rests_until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::lanes::LaneKey;
    use uuid::Uuid;

    fn lane(id: i64, organization: u128, destination: &str, due: DateTime<Utc>) -> Lane {
        let key = LaneKey {
            organization: OrganizationId(Uuid::from_u128(organization)),
            stream: "transactional".into(),
            destination: destination.into(),
        };
        Lane {
            id,
            key,
            paused_until: None,
            due_at: Some(due),
        }
    }

    fn book() -> (LaneBook, DateTime<Utc>) {
        (LaneBook::default(), DateTime::UNIX_EPOCH + TimeDelta::days(20_000))
    }

    #[test]
    fn an_organization_with_many_lanes_does_not_push_another_ones_single_lane_back() {
        let (mut book, now) = book();
        for id in 1..=50 {
            book.discovered(lane(id, 1, &format!("d{id}.test"), now));
        }
        book.discovered(lane(99, 2, "d1.test", now));
        let first: Vec<i64> = book.choose(now, 2).iter().map(|want| want.lane).collect();
        let second: Vec<i64> = book.choose(now, 2).iter().map(|want| want.lane).collect();
        assert!(first.contains(&99) || second.contains(&99), "{first:?} {second:?}");
    }

    #[test]
    fn however_many_lanes_do_not_come_back_something_is_left_for_the_next_lane_and_the_next_organization() {
        let (mut book, now) = book();
        let mut room = 200;
        let claim = |book: &mut LaneBook, room: &mut usize| {
            let wants = book.choose(now, *room);
            for want in &wants {
                let state = book.lanes.get_mut(&want.lane).unwrap();
                state.in_hand += usize::try_from(want.room).unwrap();
                *room -= usize::try_from(want.room).unwrap();
            }
            wants
        };
        for id in 1..=20 {
            book.discovered(lane(id, 1, &format!("dead{id}.test"), now));
            for _ in 0..10 {
                claim(&mut book, &mut room);
            }
        }
        assert!(room > 20, "{room} left of 200");
        book.discovered(lane(50, 1, "quick.test", now));
        assert!(claim(&mut book, &mut room).iter().any(|want| want.lane == 50));
        book.discovered(lane(99, 2, "quick.test", now));
        assert!(claim(&mut book, &mut room).iter().any(|want| want.lane == 99));
    }

    #[test]
    fn a_drained_lane_rests_until_a_hint_and_a_full_one_until_something_is_finished() {
        let (mut book, now) = book();
        book.discovered(lane(1, 1, "x.test", now));
        let wants = book.choose(now, 1_000);
        assert_eq!(wants[0].room, 100);
        book.claimed(&wants, &[]);
        assert!(book.choose(now, 1_000).is_empty());
        book.hint(1, now);
        assert_eq!(book.choose(now, 1_000).len(), 1);
    }

    #[test]
    fn a_paused_destination_is_not_served_before_its_time() {
        let (mut book, now) = book();
        book.discovered(lane(1, 1, "x.test", now));
        book.discovered(lane(2, 1, "y.test", now));
        book.pause("x.test", now + TimeDelta::seconds(5));
        assert_eq!(book.choose(now, 10).iter().map(|want| want.lane).collect::<Vec<_>>(), [2]);
        assert_eq!(book.choose(now + TimeDelta::seconds(5), 10).len(), 2);
    }

    #[test]
    fn a_lane_that_an_operator_lets_go_is_served_again() {
        let (mut book, now) = book();
        book.discovered(Lane {
            paused_until: Some(now + TimeDelta::days(1)),
            ..lane(1, 1, "x.test", now)
        });
        assert!(book.choose(now, 10).is_empty());
        book.discovered(lane(1, 1, "x.test", now));
        assert_eq!(book.choose(now, 10).len(), 1);
    }

    #[test]
    fn a_discovery_before_the_place_where_claims_look_moves_that_place_back() {
        let (mut book, now) = book();
        book.discovered(lane(1, 1, "x.test", now));
        book.discovered(lane(1, 1, "x.test", now - TimeDelta::hours(3)));
        assert_eq!(book.choose(now, 10)[0].since, now - TimeDelta::hours(3));
    }
}
