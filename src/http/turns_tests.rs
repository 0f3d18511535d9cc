use super::{ROUND, Turn, Turns};
use crate::types::{Caller, Principal};
use futures::task::noop_waker;
use std::sync::Arc;
use std::task::Context;

struct Listener(Arc<Turns>);

impl Listener {
    /// In the middle of a round of which nothing is left.
    fn busy() -> Self {
        Self(Arc::default())
    }

    fn connection(&self, address: u8, principal: Option<&Principal>) -> Turn {
        let caller = Caller::default();
        if let Some(principal) = principal {
            caller.is(principal);
        }
        Turn::new(Arc::clone(&self.0), [10, 0, 0, address].into(), caller)
    }

    fn is_left(&self) -> usize {
        self.0.lines.lock().lines.values().map(std::collections::VecDeque::len).sum()
    }
}

fn may_read(turn: &Turn) -> bool {
    turn.poll(&mut Context::from_waker(&noop_waker())).is_ready()
}

fn waiting(listener: &Listener, count: usize, address: u8, principal: Option<&Principal>) -> Vec<Turn> {
    let all: Vec<_> = (0..count).map(|_| listener.connection(address, principal)).collect();
    assert!(all.iter().all(|turn| !may_read(turn)), "nothing is left of the round");
    all
}

fn called(turns: &[Turn]) -> usize {
    turns.iter().filter(|turn| may_read(turn)).count()
}

#[test]
fn i5_who_comes_behind_a_thousand_of_another_client_is_called_in_the_next_round() {
    let listener = Listener::busy();
    let flood = waiting(&listener, 1000, 1, None);
    let other = waiting(&listener, 1, 2, None);
    assert!(listener.0.round(), "the flood is left");
    assert_eq!(called(&other), 1);
    assert_eq!(called(&flood), ROUND - 1);
}

#[test]
fn i5_clients_behind_one_address_take_turns_once_they_are_known() {
    let listener = Listener::busy();
    let root = Principal::Root { access_key: "root".into() };
    let flood = waiting(&listener, 1000, 1, Some(&Principal::Anonymous));
    let good = waiting(&listener, ROUND, 1, Some(&root));
    listener.0.round();
    assert_eq!((called(&good), called(&flood)), (ROUND / 2, ROUND / 2));
}

#[test]
fn i5_everybody_is_called_in_the_end_and_nothing_is_kept() {
    let listener = Listener::busy();
    let mut all = waiting(&listener, 100, 1, None);
    all.extend(waiting(&listener, 10, 2, None));
    let mut rounds = 1;
    while listener.0.round() {
        rounds += 1;
    }
    assert_eq!(rounds, all.len().div_ceil(ROUND));
    assert_eq!(called(&all), all.len());
    assert_eq!((listener.is_left(), listener.0.lines.lock().turns.len()), (0, 0));
}

#[test]
fn i5_who_has_gone_takes_nobodys_turn() {
    let listener = Listener::busy();
    drop(waiting(&listener, 1000, 1, None));
    let here = waiting(&listener, ROUND, 1, None);
    assert!(!listener.0.round());
    assert_eq!(called(&here), ROUND);
    assert_eq!(listener.is_left(), 0);
}

#[test]
fn few_requests_wait_for_nobody() {
    let listener = Listener::busy();
    listener.0.round();
    let turns: Vec<_> = (0..=ROUND).map(|_| listener.connection(1, None)).collect();
    assert_eq!(called(&turns), ROUND);
    listener.0.round();
    assert!(may_read(&turns[ROUND]), "it was called");
    assert_eq!(called(&turns[..ROUND]), ROUND - 1, "the rest of the round");
}

/// As it is used: a connection that waits is woken without anybody's help.
#[tokio::test]
async fn i5_whoever_waits_is_called() {
    let turns = Arc::new(Turns::default());
    let calling = {
        let turns = Arc::clone(&turns);
        tokio::spawn(async move { turns.call().await })
    };
    for _ in 0..10 * ROUND {
        let turn = Turn::new(Arc::clone(&turns), [10, 0, 0, 1].into(), Caller::default());
        std::future::poll_fn(|cx| turn.poll(cx)).await;
    }
    calling.abort();
}
