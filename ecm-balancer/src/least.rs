use ecm_core::{Mask, Node};

/// The databases of `fit` whose key is the least: one, or all that tie.
pub(crate) fn least<K: Ord>(nodes: &[Node], fit: Mask, key: impl Fn(&Node) -> K) -> Mask {
    let Some(first) = fit.lowest() else { return fit };
    let (mut least, mut found) = (key(&nodes[first]), fit);
    for index in fit.iter() {
        let key = key(&nodes[index]);
        // Ties leave `found` as it is: the common case of an idle or a flat group costs least.
        if key < least {
            (least, found) = (key, fit.minus(Mask::first(index)));
        } else if key > least {
            found = found.without(index);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn exactly_those_that_tie_for_the_least_are_found(
            keys in proptest::collection::vec(0_i32..6, 1..=64), fit in any::<u64>(),
        ) {
            let nodes: Vec<_> = keys.iter().map(|&priority| Node { priority, ..Node::new("node") }).collect();
            let fit: Mask = (0..keys.len()).filter(|index| fit >> index & 1 == 1).collect();
            let lowest = fit.iter().map(|index| keys[index]).min();
            let expected: Mask = fit.iter().filter(|&index| Some(keys[index]) == lowest).collect();
            prop_assert_eq!(least(&nodes, fit, |node| node.priority), expected);
        }
    }
}
