//! What the kernel did not take goes back, and is told and counted once all the same.

use ringwire_hub::{Retention, SlowPolicy, Start, TopicOptions, Wanted};

use super::{ALL, JSON, KEEP_ALL, KEYED, LATEST, PLAIN, World, who};

#[test]
fn who_waits_and_is_given_something_back_waits_no_more_once_it_is_served() {
    let mut world = World::new(KEYED);
    world.subscribe(0, &Wanted { interval_us: 50_000, snapshot: false, ..ALL });
    world.publish("a b c");
    world.note();
    assert_eq!(world.pull(0, 0), "1a ");
    assert_eq!(world.serve("d"), "2b 3c ", "the round ends, and the next is not due");
    assert_eq!(world.shard.next_due(), Some(world.now_us + 50_000));
    assert_eq!(world.shard.rewind(who(0), 3), 0);
    world.now_us += 60_000;
    assert_eq!(world.pull(0, 100), "3c 4d ", "meanwhile it is");
    assert_eq!(world.shard.next_due(), None, "nobody waits");
}

#[test]
fn what_a_skip_left_and_the_log_lost_is_told_as_well() {
    let mut world = World::new(TopicOptions { retention: Retention { entries: 10, ..KEEP_ALL }, ..KEYED });
    world.subscribe(0, &Wanted { snapshot: false, ..LATEST });
    let got = world.serve("a b c a");
    assert_eq!(got, "[1 of 1..4 conflated] 2b 3c 4a ");
    assert_eq!(world.shard.rewind(who(0), 6), 0, "2b has been sent, the others have not");
    world.publish("d ".repeat(2_000).trim_end());
    world.note();
    assert_eq!(
        world.pull(0, 1_000),
        "[2 of 3..4 conflated] [2000 of 5..2004 conflated] [by 2004: 4a 2b 3c 2004d end] "
    );
    assert_eq!(world.account(0), (1, 2_003, 0, 0));
}

#[test]
fn a_replay_is_taken_back_by_entries() {
    for (unsent, owed, again) in [(1, 1, ""), (4, 0, "~3c "), (6, 2, "~3c "), (12, 0, "~1a ~2b ~3c ")] {
        let mut world = World::new(KEYED);
        world.publish("a b c");
        world.subscribe(0, &Wanted { start: Start::First, ..Wanted::all(JSON, SlowPolicy::Drop) });
        assert_eq!(world.pull(0, 100), "~1a ~2b ~3c ");
        assert_eq!(world.shard.rewind(who(0), unsent), owed);
        assert_eq!(world.pull(0, 100), again);
    }
}

#[test]
fn what_was_skipped_is_told_once_whatever_is_taken_back() {
    let whole = "[2 of 1..5 conflated] 2b 4a 5c ";
    for unsent in 0..=whole.len() {
        let mut world = World::new(KEYED);
        world.subscribe(0, &Wanted { snapshot: false, ..LATEST });
        world.publish("a b c a c");
        world.note();
        let got = world.pull(0, 1_000);
        assert_eq!(got, whole);
        let owed = world.shard.rewind(who(0), unsent);
        // Later entries do not change what was told.
        world.publish("b");
        world.note();
        let sent = &got[..got.len() - unsent + owed];
        let rest = format!("{sent}{}", world.pull(0, 1_000));
        assert_eq!(rest, format!("{whole}6b "), "{unsent} not sent, {owed} owed");
        assert_eq!(world.account(0), (4, 2, 0, 0));
        assert_eq!(world.topic.skipped(), 2, "the topic counts it once as well");
    }
}

#[test]
fn a_gap_that_is_taken_back_is_counted_once() {
    let mut world = World::new(TopicOptions { backlog_bytes_max: 30, ..PLAIN });
    world.subscribe(0, &ALL);
    let got = world.serve(". ".repeat(20).trim_end());
    assert_eq!(got, "[gap 1..20 slow] ");
    assert_eq!(world.shard.rewind(who(0), got.len()), 0);
    assert_eq!(world.pull(0, 1_000), got);
    assert_eq!((world.account(0), world.topic.gap()), ((0, 0, 20, 0), 20));
}
