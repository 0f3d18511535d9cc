use super::super::shares::Share;
use super::{Gate, MOST_WAITING, Party, Refused, Shares, Slot};
use crate::s3::admission::presence::Presence;
use crate::types::Principal;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(3600);

fn party(number: u8) -> Party {
    Party::new(Principal::Anonymous, [10, 0, 0, number].into())
}

type Entering = BoxFuture<'static, Result<Slot, Refused>>;

/// In the gate's line, unless it was let in at once.
fn ask(gate: &Gate, number: u8) -> Entering {
    let gate = gate.clone();
    let mut entering = async move { gate.enter(&party(number), 1).await }.boxed();
    assert!((&mut entering).now_or_never().is_none(), "let in at once");
    entering
}

fn is_in(entering: &mut Entering) -> Option<Slot> {
    entering.now_or_never().map(|entered| entered.expect("refused"))
}

#[tokio::test(start_paused = true)]
async fn i5_no_more_than_the_limit_are_in_and_places_are_passed_on() {
    let gate = Gate::new("test", 2, LONG);
    let first = gate.enter(&party(1), 1).await.unwrap();
    let _second = gate.enter(&party(1), 1).await.unwrap();
    let mut third = ask(&gate, 1);
    drop(first);
    let third = is_in(&mut third).expect("its place");
    let mut fourth = ask(&gate, 2);
    drop(third);
    drop(is_in(&mut fourth).expect("its place"));
    let free = gate.enter(&party(3), 1).now_or_never();
    assert!(free.is_some(), "nobody waits: the place is free");
    assert_eq!(gate.in_lines(), 0);
}

#[tokio::test(start_paused = true)]
async fn i5_whoever_floods_waits_behind_himself_alone() {
    let gate = Gate::new("test", 1, LONG);
    let mut inside = gate.enter(&party(1), 1).await.unwrap();
    let mut flood: Vec<_> = (0..100).map(|_| ask(&gate, 1)).collect();
    let mut good = ask(&gate, 2);
    drop(inside);
    inside = is_in(&mut flood[0]).expect("who waited longest");
    drop(inside);
    assert!(is_in(&mut flood[1]).is_none(), "another client's turn");
    drop(is_in(&mut good).expect("the second turn is the second client's"));
    assert!(is_in(&mut flood[1]).is_some());
}

#[tokio::test(start_paused = true)]
async fn i5_who_waits_too_long_is_refused_and_who_gave_up_keeps_no_place() {
    let gate = Gate::new("test", 1, Duration::from_secs(3));
    let inside = gate.enter(&party(1), 1).await.unwrap();
    drop(ask(&gate, 1));
    let refused = gate.enter(&party(2), 1).await;
    assert_eq!(refused.err(), Some(Refused));
    drop(inside);
    assert!(gate.enter(&party(3), 1).now_or_never().is_some(), "two gave up, the place is free");
    assert_eq!(gate.in_lines(), 0);
}

/// The place was given, and nobody had looked yet.
#[tokio::test(start_paused = true)]
async fn i5_a_place_given_to_who_goes_away_is_not_lost() {
    let gate = Gate::new("test", 1, LONG);
    let inside = gate.enter(&party(1), 1).await.unwrap();
    let waiter = ask(&gate, 2);
    drop(inside);
    drop(waiter);
    assert!(gate.enter(&party(3), 1).now_or_never().is_some());
}

#[tokio::test(start_paused = true)]
async fn i5_when_too_many_wait_the_longest_line_loses_its_last() {
    let gate = Gate::new("test", 1, LONG);
    let inside = gate.enter(&party(1), 1).await.unwrap();
    let mut flood: Vec<_> = (0..MOST_WAITING).map(|_| ask(&gate, 1)).collect();
    let more = gate.enter(&party(1), 1).now_or_never();
    assert_eq!(more.map(Result::err), Some(Some(Refused)), "the line is full");
    let mut good = ask(&gate, 2);
    let last = flood.pop().unwrap().now_or_never();
    assert_eq!(last.map(Result::err), Some(Some(Refused)), "it made room");
    assert_eq!(gate.in_lines(), MOST_WAITING);
    drop(inside);
    drop(is_in(&mut flood[0]).expect("the first turn"));
    assert!(is_in(&mut good).is_some());
}

#[tokio::test(start_paused = true)]
async fn i5_who_wants_much_is_not_passed_by_those_who_want_little() {
    let gate = Gate::new("test", 10, LONG);
    let (one, three) = (party(1), party(3));
    let all = gate.enter(&one, 99).await.unwrap();
    let mut much = Box::pin(gate.enter(&one, 8));
    assert!((&mut much).now_or_never().is_none());
    let (mut little, mut less) = (ask(&gate, 2), ask(&gate, 3));
    drop(all);
    let much = much.now_or_never().unwrap().unwrap();
    let (_little, _less) = (is_in(&mut little).unwrap(), is_in(&mut less).unwrap());
    let mut none_left = ask(&gate, 2);
    let mut again = Box::pin(gate.enter(&three, 9));
    assert!((&mut again).now_or_never().is_none());
    drop(much);
    assert!(is_in(&mut none_left).is_some());
    assert!(again.now_or_never().is_none(), "two of ten are taken");
    assert_eq!(gate.waiting(), 0, "it was dropped");
}

#[tokio::test(start_paused = true)]
async fn i5_who_wanted_much_and_gave_up_leaves_what_is_free_to_those_behind_him() {
    let gate = Gate::new("test", 10, LONG);
    let _inside = gate.enter(&party(1), 5).await.unwrap();
    let mut much = Box::pin({
        let gate = gate.clone();
        async move { gate.enter(&party(1), 8).await }
    });
    assert!((&mut much).now_or_never().is_none());
    let mut little = ask(&gate, 2);
    drop(much);
    assert!(is_in(&mut little).is_some());
}

/// A gate of which a client has no more than its share while the presence is shared.
fn shared(limit: usize, share: usize) -> (Gate, Arc<Presence>) {
    let presence = Arc::new(Presence::new());
    (Gate::shared("test", limit, Shares::new(Share::of(share), Arc::clone(&presence)), LONG), presence)
}

/// Somebody with a name.
fn known(number: u8) -> Party {
    Party::new(Principal::Root { access_key: "root".into() }, [10, 0, 0, number].into())
}

fn ask_known(gate: &Gate, number: u8) -> Entering {
    let gate = gate.clone();
    let mut entering = async move { gate.enter(&known(number), 1).await }.boxed();
    assert!((&mut entering).now_or_never().is_none(), "let in at once");
    entering
}

#[tokio::test(start_paused = true)]
async fn i5_a_flood_has_its_share_once_somebody_else_comes_and_nobody_waits_for_nothing() {
    let (gate, presence) = shared(8, 2);
    presence.seen(&known(1));
    let mut flood = Vec::new();
    for _ in 0..6 {
        flood.push(gate.enter(&known(1), 1).await.unwrap());
    }
    presence.seen(&known(2));
    let other = gate.enter(&known(2), 1).await.unwrap();
    let mut more = ask_known(&gate, 1);
    flood.truncate(2);
    assert!(is_in(&mut more).is_none(), "places are free, and it has its share");
    let second = gate.enter(&known(2), 1).await.unwrap();
    flood.truncate(1);
    flood.push(is_in(&mut more).expect("one less than its share"));
    drop((flood, other, second));
    assert_eq!(gate.in_lines(), 0);
}

#[tokio::test(start_paused = true)]
async fn i5_a_share_that_is_left_is_given_back_once_and_its_place_later() {
    let (gate, presence) = shared(2, 1);
    (1..=2).for_each(|number| presence.seen(&known(number)));
    let mut first = gate.enter(&known(1), 1).await.unwrap();
    let (mut second, mut third) = (ask_known(&gate, 1), ask_known(&gate, 1));
    first.leave_share();
    let second = is_in(&mut second).expect("the first one left the share");
    let mut other = ask_known(&gate, 2);
    drop(first);
    let other = is_in(&mut other).expect("the first one left its place");
    drop(other);
    assert!(is_in(&mut third).is_none(), "the share is the second's");
    drop(second);
    assert!(is_in(&mut third).is_some());
}

#[tokio::test(start_paused = true)]
async fn i5_shares_of_many_are_within_the_limit_and_all_are_let_in() {
    let (gate, presence) = shared(4, 2);
    (1..=2).for_each(|number| presence.seen(&known(number)));
    let first = gate.enter(&known(1), 1).await.unwrap();
    let second = gate.enter(&known(2), 1).await.unwrap();
    let mut inside = vec![first, second];
    let mut waiting = Vec::new();
    for _ in 0..5 {
        for number in 1..=5 {
            let gate = gate.clone();
            waiting.push(async move { gate.enter(&known(number), 1).await }.boxed());
        }
    }
    while !waiting.is_empty() {
        let mut still = Vec::new();
        for mut entering in waiting {
            match is_in(&mut entering) {
                Some(slot) => inside.push(slot),
                None => still.push(entering),
            }
        }
        assert!(inside.len() <= 4, "{}", inside.len());
        assert!(!inside.is_empty(), "places are free and {} wait", still.len());
        inside.remove(0);
        waiting = still;
    }
    drop(inside);
    assert_eq!(gate.in_lines(), 0);
}
