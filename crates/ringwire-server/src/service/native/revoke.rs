//! What a connection's new token does not allow any more: it ends, and the client is told of each.
//!
//! A pattern ends with the topics that came by it, as it does when it is unsubscribed from; it is told of once.

use std::sync::Arc;

use super::desk::Desk;
use crate::native::fault::Fault;

impl Desk<'_, '_> {
    /// Ends the subscriptions that the client's grant does not allow.
    pub(super) fn end_forbidden(&mut self) {
        let (grant, rules) = (&self.client.grant, &self.broker.rules);
        let forbidden = |(text, denial)| (Arc::clone(text), Fault::from(denial));
        let patterns = self.client.patterns.iter();
        let patterns =
            patterns.filter_map(|(text, watched)| Some((text, grant.may_watch(rules, &watched.pattern).err()?)));
        for (text, fault) in patterns.map(forbidden).collect::<Vec<_>>() {
            self.unwatch(&text);
            self.tell_of(&text, None, &fault);
            self.send_much();
        }
        let (grant, rules) = (&self.client.grant, &self.broker.rules);
        let topics = self.client.topics.iter().filter_map(|(number, subscription)| {
            let denial = grant.may_subscribe(rules, subscription.topic.name()).err()?;
            Some((*number, subscription.pattern.clone(), Fault::from(denial)))
        });
        for (number, pattern, fault) in topics.collect::<Vec<_>>() {
            if let Some((name, _)) = self.leave(number) {
                self.tell_of(&name, pattern.as_deref(), &fault);
            }
            self.send_much();
        }
    }
}
