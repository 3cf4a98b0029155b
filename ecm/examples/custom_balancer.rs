//! A balancer of one's own: reads stay nearby as long as a database there can serve them.

use ecm::{
    ConnectionManager, Database,
    balancer::RoundRobin,
    core::{Balancer, Intent, Mask, Node},
    sqlite::Sqlite,
};
use std::{
    error::Error,
    io::{Write, stdout},
};

/// The fit databases with a tag in turn; the others only when none of these is fit.
#[derive(Debug)]
struct Prefer {
    tag: &'static str,
    turns: RoundRobin,
}

impl Prefer {
    fn new(tag: &'static str) -> Self {
        Self { tag, turns: RoundRobin::new() }
    }
}

impl Balancer for Prefer {
    fn pick(&self, nodes: &[Node], fit: Mask, intent: &Intent<'_>) -> Option<usize> {
        let tagged: Mask = fit.iter().filter(|&index| nodes[index].tags.iter().any(|tag| **tag == *self.tag)).collect();
        self.turns.pick(nodes, if tagged.is_empty() { fit } else { tagged }, intent)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    // Three ways to one file stand in for a primary and two copies of it that something else keeps up.
    let database =
        |name: &str, region: &str| Database::new(name, Sqlite::open(folder.path().join("notes.db"))).tag(region);
    let manager = ConnectionManager::builder()
        .database(database("virginia", "us"))
        .database(database("paris", "eu").read_only(true))
        .database(database("dublin", "eu").read_only(true).weight(2))
        .balancer(|_group| Prefer::new("eu"))
        .build()?;
    manager.write(|tx| Ok(tx.execute_batch("CREATE TABLE note (title TEXT)")?)).wait()?;

    let calls_after_reads = |reads: u32| -> Result<Vec<(String, u64)>, ecm::Error> {
        for _ in 0..reads {
            manager.read(|db| Ok(db.query_row("SELECT count(*) FROM note", [], |row| row.get::<_, i64>(0))?)).wait()?;
        }
        let databases = manager.status().groups.remove(0).databases;
        Ok(databases.into_iter().map(|database| (database.name, database.calls)).collect())
    };
    writeln!(stdout(), "a write and 30 reads: {:?}", calls_after_reads(30)?)?;
    manager.unregister("paris")?;
    manager.unregister("dublin")?;
    writeln!(stdout(), "30 more, Europe being gone: {:?}", calls_after_reads(30)?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ecm::core::{CallKind, Context, testing::conformance};

    #[test]
    fn it_keeps_what_every_balancer_promises() {
        conformance::balancer(|| Prefer::new("eu"));
    }

    #[test]
    fn it_stays_nearby_until_nothing_there_is_fit() {
        let nodes = ["eu", "us"].map(|tag| Node { tags: [tag.into()].into(), ..Node::new(tag) });
        let (balancer, intent) = (Prefer::new("us"), Intent::new(CallKind::Read, &Context::NONE));
        assert_eq!([2, 1].map(|count| balancer.pick(&nodes, Mask::first(count), &intent)), [Some(1), Some(0)]);
    }
}
