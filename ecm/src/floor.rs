use crate::{
    manager::Shared,
    route::Progress,
    seen::{Mark, Seen},
    topology::{Group, Member},
};
use ecm_core::{Backend, Error, Kind, Mask, Position, Transact};

/// What a call has to see at least: a database that may not show it is unfit.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Floor<'m> {
    /// A commit; the default asks for none.
    pub(crate) position: Position,
    /// What the session of the call has seen.
    pub(crate) seen: Option<&'m Seen>,
}

impl Floor<'_> {
    /// Whether any database will do, however far it lags behind.
    #[inline]
    pub(crate) fn is_none(&self) -> bool {
        self.seen.is_none() && self.position == Position::default()
    }

    /// Those of `asked` that show all that the call has to see.
    #[cold]
    pub(crate) fn fit<B: Backend<Connection: Transact>>(&self, group: &Group<B>, asked: Mask) -> Result<Mask, Error> {
        let seen = self.seen.and_then(|seen| seen.in_group(group.shared.id));
        let shows = |index: &usize| {
            let is_source = Some(*index) == group.source();
            let member = &*group.members[*index];
            self.position <= position(member, is_source) && (is_source || seen.is_none_or(|mark| mark.is_in(member)))
        };
        let fit: Mask = asked.iter().filter(shows).collect();
        if fit.is_empty() && !asked.is_empty() { Err(self.nothing_shows_it(group, asked)) } else { Ok(fit) }
    }

    /// What a former primary has committed may have gone with it: then nothing is done for the call, and its session
    /// does not go on as if nothing had been.
    #[cold]
    pub(crate) fn expect_nothing_lost<B: Backend<Connection: Transact>>(&self, group: &Group<B>) -> Result<(), Error> {
        let seen = self.seen.and_then(|seen| seen.in_group(group.shared.id));
        let Position { epoch, commit } = self.position;
        for succession in group.successions.iter() {
            let new = succession.since.epoch;
            if succession.reached.epoch == epoch && commit > succession.reached.commit {
                let message = format_args!(
                    "commit {commit} of epoch {epoch} is lost: the primary of epoch {new} took over with commit {} as \
                     the last one that it is known to have; look at the data, and write it again",
                    succession.reached.commit
                );
                return Err(Error::new(Kind::Unavailable, message));
            }
            let may_be_lost = |mark: Mark| {
                let is_of_copy = mark.from.is_some() && mark.from == succession.copy;
                mark.term < new && mark.at >= succession.complete_until && !is_of_copy
            };
            if seen.is_some_and(may_be_lost) {
                let message = format_args!(
                    "the session may have seen what is lost since the primary of epoch {new} took over: begin \
                     another session, which sees what there is"
                );
                return Err(Error::new(Kind::Unavailable, message));
            }
        }
        Ok(())
    }

    fn nothing_shows_it<B: Backend<Connection: Transact>>(&self, group: &Group<B>, asked: Mask) -> Error {
        let of = |index: usize| position(&group.members[index], Some(index) == group.source());
        let furthest = asked.iter().max_by_key(|index| of(*index)).unwrap_or_default();
        let (name, at) = (&group.members[furthest].info.name, of(furthest));
        let group = &group.shared.name;
        if self.position > at {
            let Position { epoch, commit } = self.position;
            let message = format_args!(
                "no database that was asked of group {group:?} is known to have reached commit {commit} of epoch \
                 {epoch}: {name:?} stands at commit {} of epoch {}; ask the whole group, or for an earlier position",
                at.commit, at.epoch
            );
            return Error::new(Kind::Unavailable, message);
        }
        let message = format_args!(
            "no database that was asked of group {group:?} is known to show all that the session has seen: ask the \
             whole group, or without the session"
        );
        Error::new(Kind::Unavailable, message)
    }

    /// The call has ended: whatever its session sees from now on is not older.
    pub(crate) fn ended<B: Backend<Connection: Transact>>(
        &self,
        manager: &Shared<B>,
        group: &Group<B>,
        progress: &Progress<'_>,
    ) {
        let Some(seen) = self.seen.filter(|_| progress.database.is_some() || progress.cached.is_some()) else { return };
        let answered = group.nodes.iter().position(|node| Some(&*node.name) == progress.database);
        let following = answered.filter(|&index| !group.nodes[index].writable);
        let following = following.and_then(|index| group.members[index].following.as_deref());
        let (at, from) = match following {
            Some(following) => (following.ceiling(), Some(following.id)),
            // After the answer: it shows nothing that has been written since.
            None => (progress.ended.unwrap_or_else(|| manager.clock.now()), None),
        };
        let position = progress.position.unwrap_or_default();
        seen.saw(group.shared.id, Mark { at, from, position, term: group.term() });
    }
}

/// How far a database is known to have come: of one that nobody keeps a copy, nothing is known unless it is written.
fn position<B: Backend<Connection: Transact>>(member: &Member<B>, is_source: bool) -> Position {
    if is_source {
        return member.backend.position().unwrap_or_else(|| member.position());
    }
    let reached = member.following.as_ref().and_then(|following| following.reached());
    reached.map(|reached| reached.position).unwrap_or_default()
}

impl Mark {
    /// Whether a database that is a copy shows all that was seen.
    fn is_in<B: Backend<Connection: Transact>>(&self, member: &Member<B>) -> bool {
        let Some(following) = &member.following else { return false };
        let as_of = following.reached().and_then(|reached| reached.as_of);
        // What it was itself has shown it goes on showing.
        self.from == Some(following.id) || as_of.is_some_and(|as_of| as_of > self.at)
    }
}
