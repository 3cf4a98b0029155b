use crate::{
    manager::Shared,
    route::Progress,
    seen::Seen,
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
        let primary = group.source();
        let shows = |index: &usize| {
            let member = &*group.members[*index];
            self.position <= position(member, Some(*index) == primary)
                // A primary has all that anybody has seen; of another database it is not known.
                && (seen.is_none() || Some(*index) == primary)
        };
        let fit: Mask = asked.iter().filter(shows).collect();
        if fit.is_empty() && !asked.is_empty() { Err(self.nothing_shows_it(group, asked)) } else { Ok(fit) }
    }

    fn nothing_shows_it<B: Backend<Connection: Transact>>(&self, group: &Group<B>, asked: Mask) -> Error {
        let primary = group.source();
        let of = |index: usize| position(&group.members[index], Some(index) == primary);
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
        // After the answer: it shows nothing that has been written since.
        let now = progress.ended.unwrap_or_else(|| manager.clock.now());
        seen.saw(group.shared.id, now, progress.position);
    }
}

/// How far a database is known to have come: unless it is the one that is written, nothing is known.
fn position<B: Backend<Connection: Transact>>(member: &Member<B>, is_primary: bool) -> Position {
    if is_primary { member.backend.position().unwrap_or_else(|| member.position()) } else { Position::default() }
}
