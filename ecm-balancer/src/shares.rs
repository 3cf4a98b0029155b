use ecm_core::{Mask, Node};

/// How many turns each of some databases has, so that its share of all turns is that of its weight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shares {
    among: Mask,
    turns: u64,
    even: bool,
}

impl Shares {
    /// One turn for each of `among` if all databases of the group weigh the same, else as many as it
    /// weighs. `None` if that makes no turn at all.
    #[inline]
    pub(crate) fn of(nodes: &[Node], among: Mask) -> Option<Self> {
        // Looked at in the whole group: without a mask it is a short loop without branches.
        let weight = nodes.first().map_or(1, |node| node.weight);
        let even = nodes.iter().fold(0, |differing, node| differing | (node.weight ^ weight)) == 0;
        let turns = if even { among.len() as u64 } else { among.iter().map(|index| weigh(&nodes[index])).sum() };
        (turns > 0).then_some(Self { among, turns, even })
    }

    /// How many databases have turns.
    pub(crate) fn databases(&self) -> usize {
        self.among.len()
    }

    /// How many turns there are: less than 2^38.
    pub(crate) fn turns(&self) -> u64 {
        self.turns
    }

    /// Whether each database has one turn.
    pub(crate) fn are_even(&self) -> bool {
        self.even
    }

    /// Whose turn it is. `turn` is less than [`turns`](Self::turns); those of one database stand
    /// side by side, in the order of the group.
    #[inline]
    pub(crate) fn at(&self, nodes: &[Node], turn: u64) -> Option<usize> {
        if self.even {
            return self.among.nth(turn as usize);
        }
        let mut left = turn;
        self.among.iter().find(|&index| {
            let (turns, turn) = (weigh(&nodes[index]), left);
            left = left.saturating_sub(turns);
            turn < turns
        })
    }
}

fn weigh(node: &Node) -> u64 {
    u64::from(node.weight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_turn_belongs_to_one_database_and_every_database_has_its_share(
            weights in proptest::collection::vec(1_u32..9, 1..=64), fit in any::<u64>(),
        ) {
            let nodes: Vec<_> = weights.iter().map(|&weight| Node { weight, ..Node::new("node") }).collect();
            let fit: Mask = (0..weights.len()).filter(|index| fit >> index & 1 == 1).collect();
            let Some(shares) = Shares::of(&nodes, fit) else {
                prop_assert!(fit.is_empty());
                return Ok(());
            };
            let mut counts = vec![0; weights.len()];
            for turn in 0..shares.turns() {
                counts[shares.at(&nodes, turn).expect("every turn is somebody's")] += 1;
            }
            for (index, &weight) in weights.iter().enumerate() {
                let turns = if shares.are_even() { 1 } else { weight };
                prop_assert_eq!(counts[index], if fit.contains(index) { turns } else { 0 });
            }
            prop_assert_eq!(shares.at(&nodes, shares.turns()), None);
        }
    }

    #[test]
    fn the_greatest_weights_do_not_overflow() {
        let mut nodes = vec![Node { weight: u32::MAX, ..Node::new("node") }; 64];
        nodes[0].weight = 1;
        let shares = Shares::of(&nodes, Mask::first(64)).unwrap();
        assert_eq!(shares.turns(), 1 + 63 * u64::from(u32::MAX));
        assert_eq!([0, 1, shares.turns() - 1].map(|turn| shares.at(&nodes, turn)), [Some(0), Some(1), Some(63)]);
    }
}
