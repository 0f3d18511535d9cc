use super::{CALLED, Found, PATIENCE, REMEMBERED, Turn, Turns, UNCALLED, UNNAMED};
use crate::types::{Caller, Principal};
use futures::task::noop_waker;
use std::sync::Arc;
use std::task::Context;

const FLOOD: u8 = 1;
const OTHER: u8 = 2;

struct Listener(Arc<Turns>);

impl Listener {
    /// Two clients ask, and nobody more is read uncalled.
    fn contended() -> Self {
        let listener = Self(Arc::default());
        assert!(may_read(&mut listener.connection(FLOOD, None)), "one client takes no turns");
        listener.0.lines.lock().uncalled = 1;
        assert!(may_read(&mut listener.connection(OTHER, None)), "nobody waits");
        listener
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

    fn waiting(&self, count: usize, address: u8, principal: Option<&Principal>) -> Vec<Turn> {
        let mut all: Vec<_> = (0..count).map(|_| self.connection(address, principal)).collect();
        assert_eq!(called(&mut all), 0, "they wait to be called");
        all
    }
}

fn may_read(turn: &mut Turn) -> bool {
    turn.poll(&mut Context::from_waker(&noop_waker())).is_ready()
}

/// How many of these have been called, and come now.
fn called(turns: &mut [Turn]) -> usize {
    turns.iter_mut().map(|turn| usize::from(may_read(turn))).sum()
}

#[test]
fn i5_who_comes_behind_a_thousand_of_another_client_is_called_in_the_next_round() {
    let listener = Listener::contended();
    let mut flood = listener.waiting(1000, FLOOD, None);
    let mut other = listener.waiting(1, OTHER, None);
    assert_eq!(listener.0.round(), Found::Some, "the flood is left");
    assert_eq!(called(&mut other), 1);
    assert_eq!(called(&mut flood), CALLED - 1);
}

#[test]
fn i5_clients_behind_one_address_take_turns_once_they_are_known() {
    let listener = Listener::contended();
    let root = Principal::Root { access_key: "root".into() };
    let mut flood = listener.waiting(1000, FLOOD, Some(&Principal::Anonymous));
    let mut good = listener.waiting(CALLED, FLOOD, Some(&root));
    listener.0.round();
    assert_eq!((called(&mut good), called(&mut flood)), (CALLED / 2, CALLED / 2));
}

#[test]
fn i5_no_more_are_called_than_come() {
    let listener = Listener::contended();
    let mut flood = listener.waiting(100, FLOOD, None);
    assert_eq!(listener.0.round(), Found::Some);
    assert_eq!(listener.0.round(), Found::Full);
    assert!(may_read(&mut flood[0]));
    assert_eq!(listener.0.round(), Found::Some, "one for the one that came");
    assert_eq!(called(&mut flood[1..]), CALLED);
}

#[test]
fn i5_everybody_is_called_in_the_end_and_nothing_is_kept() {
    let listener = Listener::contended();
    let mut all = listener.waiting(100, FLOOD, None);
    all.extend(listener.waiting(10, OTHER, None));
    let (mut rounds, count) = (1, all.len());
    while listener.0.round() != Found::Nobody {
        rounds += 1;
        all.retain_mut(|turn| !may_read(turn));
    }
    assert_eq!((rounds, called(&mut all)), (count.div_ceil(CALLED), all.len()));
    let lines = listener.0.lines.lock();
    assert_eq!((lines.turns.len(), lines.lines.len(), lines.called), (0, 0, 0));
}

#[test]
fn i5_who_has_gone_takes_nobodys_turn() {
    let listener = Listener::contended();
    drop(listener.waiting(1000, FLOOD, None));
    let mut here = listener.waiting(CALLED, FLOOD, None);
    assert_eq!(listener.0.round(), Found::Nobody);
    assert_eq!((listener.is_left(), called(&mut here)), (0, CALLED));
}

#[test]
fn i5_who_goes_when_called_makes_room_for_the_next() {
    let listener = Listener::contended();
    let mut flood = listener.waiting(2 * CALLED, FLOOD, None);
    listener.0.round();
    flood.drain(..CALLED);
    assert_eq!(listener.0.round(), Found::Nobody);
    assert_eq!(called(&mut flood), CALLED);
}

#[test]
fn who_comes_after_it_was_given_up_counts_for_nobody() {
    let listener = Listener::contended();
    let mut flood = listener.waiting(3 * CALLED, FLOOD, None);
    listener.0.round();
    listener.0.lines.lock().forget();
    assert_eq!(listener.0.round(), Found::Some, "they are not waited for");
    assert_eq!(called(&mut flood[..CALLED]), CALLED);
    assert_eq!(listener.0.lines.lock().called, CALLED, "those of the second round");
}

#[test]
fn one_client_alone_takes_no_turns_until_another_one_asks() {
    let listener = Listener(Arc::default());
    let root = Principal::Root { access_key: "root".into() };
    let mut one: Vec<_> = (0..100).map(|n| listener.connection(1, (n % 2 == 0).then_some(&root))).collect();
    assert_eq!(called(&mut one), one.len(), "a connection's first request is nobody's yet");
    listener.0.round();
    let mut other: Vec<_> = (0..=UNCALLED).map(|_| listener.connection(2, None)).collect();
    assert_eq!(called(&mut other), UNCALLED, "a few at once need not be called");
    assert!(!may_read(&mut one[0]), "and then they take turns");
    listener.0.round();
    assert!(may_read(&mut one[0]) && may_read(&mut other[UNCALLED]));
}

#[test]
fn i5_that_several_asked_is_remembered_for_a_while() {
    let listener = Listener::contended();
    listener.0.lines.lock().contended = 2;
    let mut flood = listener.waiting(1, OTHER, None);
    assert!(may_read(&mut listener.connection(OTHER, None)), "the other one has not asked for long");
    assert_eq!(listener.0.round(), Found::Nobody);
    assert_eq!(called(&mut flood), 1);
    listener.0.lines.lock().uncalled = 0;
    assert!(!may_read(&mut listener.connection(FLOOD, None)));
    assert_eq!(listener.0.lines.lock().contended, REMEMBERED);
}

/// As it is used: a connection that waits is woken without anybody's help.
#[tokio::test]
async fn i5_whoever_waits_is_called() {
    let turns = Listener::contended().0;
    let calling = {
        let turns = Arc::clone(&turns);
        tokio::spawn(async move { turns.call().await })
    };
    for n in 0..100 {
        let mut turn = Turn::new(Arc::clone(&turns), [10, 0, 0, n % 2].into(), Caller::default());
        std::future::poll_fn(|cx| turn.poll(cx)).await;
    }
    calling.abort();
}

#[test]
fn i5_many_whose_client_is_not_known_are_another_client() {
    let listener = Listener(Arc::default());
    let root = Principal::Root { access_key: "root".into() };
    let is_contended = || listener.0.lines.lock().contended > 0;
    for _ in 0..2 * UNNAMED {
        may_read(&mut listener.connection(1, Some(&root)));
        may_read(&mut listener.connection(1, None));
    }
    assert!(!is_contended(), "a client that opens a connection for each request");
    for n in 0..4 * UNNAMED {
        may_read(&mut listener.connection(1, (n % 128 == 0).then_some(&root)));
    }
    assert!(is_contended());
}

#[tokio::test(start_paused = true)]
async fn i5_who_joins_does_not_put_off_that_the_stuck_are_given_up() {
    let listener = Listener::contended();
    let stuck = listener.waiting(CALLED, FLOOD, None);
    listener.0.round();
    listener.0.lines.lock().uncalled = 0;
    let turns = Arc::clone(&listener.0);
    let calling = tokio::spawn(async move { turns.call().await });
    let mut first = listener.waiting(1, OTHER, None).remove(0);
    let mut joined = Vec::new();
    for _ in 0..20 {
        let mut other = listener.connection(OTHER, None);
        let _ = may_read(&mut other);
        joined.push(other);
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
        tokio::time::advance(PATIENCE / 4).await;
    }
    assert!(may_read(&mut first));
    drop((stuck, joined));
    calling.abort();
}

#[tokio::test(start_paused = true)]
async fn i5_who_is_called_and_does_not_come_holds_nobody_up_for_long() {
    let listener = Listener::contended();
    let mut stuck = listener.waiting(CALLED, FLOOD, None);
    assert_eq!(listener.0.round(), Found::Nobody);
    listener.0.lines.lock().uncalled = 0;
    let mut behind = listener.waiting(1, OTHER, None).remove(0);
    let turns = Arc::clone(&listener.0);
    let calling = tokio::spawn(async move { turns.call().await });
    let began = tokio::time::Instant::now();
    std::future::poll_fn(|cx| behind.poll(cx)).await;
    assert!(began.elapsed() <= 2 * PATIENCE);
    assert_eq!(called(&mut stuck), CALLED, "they may come later");
    calling.abort();
}
