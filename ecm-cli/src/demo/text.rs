//! Pseudo-random text that reads like notes: the same seed, the same text.

use fastrand::Rng;

const SUBJECTS: [&str; 24] = [
    "the user",
    "the team",
    "the editor",
    "our service",
    "the backup",
    "the parser",
    "the client",
    "this project",
    "the garden",
    "the meeting",
    "the invoice",
    "the train",
    "the library",
    "the release",
    "the recipe",
    "the sensor",
    "the committee",
    "the archive",
    "the workshop",
    "the report",
    "the neighbour",
    "the doctor",
    "the teacher",
    "the engine",
];
const VERBS: [&str; 24] = [
    "prefers",
    "needs",
    "avoids",
    "moved to",
    "depends on",
    "asked about",
    "replaced",
    "likes",
    "plans",
    "remembers",
    "postponed",
    "finished",
    "started",
    "compared",
    "explained",
    "measured",
    "cancelled",
    "repaired",
    "ordered",
    "reviewed",
    "shortened",
    "translated",
    "tested",
    "documented",
];
const ADJECTIVES: [&str; 24] = [
    "small", "quiet", "early", "green", "careful", "weekly", "shared", "narrow", "recent", "patient", "bright",
    "simple", "broken", "distant", "private", "steady", "formal", "useful", "gentle", "costly", "spare", "modest",
    "fresh", "plain",
];
const OBJECTS: [&str; 32] = [
    "table",
    "window",
    "schedule",
    "index",
    "bicycle",
    "contract",
    "kettle",
    "notebook",
    "password",
    "theme",
    "keyboard",
    "budget",
    "ticket",
    "address",
    "river",
    "question",
    "answer",
    "letter",
    "picture",
    "season",
    "journey",
    "language",
    "machine",
    "breakfast",
    "harbour",
    "bridge",
    "holiday",
    "signal",
    "station",
    "account",
    "deadline",
    "sketch",
];
const LINKS: [&str; 8] =
    ["because of", "together with", "instead of", "after", "before", "near", "without", "on account of"];
const SYLLABLES: [&str; 20] = [
    "an", "bel", "cor", "da", "el", "fin", "gar", "ha", "is", "jo", "ka", "lin", "mor", "na", "ol", "per", "ri", "sel",
    "tor", "va",
];

/// The kinds of a note.
pub(super) const KINDS: [&str; 6] = ["fact", "preference", "task", "event", "person", "idea"];

/// The relations between two notes.
pub(super) const RELATIONS: [&str; 4] = ["about", "follows", "contradicts", "refines"];

/// How many tags there are.
pub(super) const TAGS: i64 = 200;

fn one<'a>(random: &mut Rng, words: &[&'a str]) -> &'a str {
    words[random.usize(..words.len())]
}

/// A name, one of some thousands: the rare word that a search looks for.
pub(super) fn name(random: &mut Rng) -> String {
    let name: String = (0..3).map(|_| one(random, &SYLLABLES)).collect();
    name[..1].to_uppercase() + &name[1..]
}

/// A word that many notes contain.
pub(super) fn common_word(random: &mut Rng) -> &'static str {
    one(random, &OBJECTS)
}

/// The name of a tag, by its number from 1 to [`TAGS`].
pub(super) fn tag(number: i64) -> String {
    let number = number as usize;
    format!("{}-{}", ADJECTIVES[number % ADJECTIVES.len()], OBJECTS[number / ADJECTIVES.len() % OBJECTS.len()])
}

/// A heading of a few words.
pub(super) fn title(random: &mut Rng) -> String {
    let (adjective, object) = (one(random, &ADJECTIVES), one(random, &OBJECTS));
    format!("{}{} {object} of {}", adjective[..1].to_uppercase(), &adjective[1..], name(random))
}

/// A few sentences.
pub(super) fn body(random: &mut Rng) -> String {
    let mut body = String::new();
    for number in 0..random.usize(2..6) {
        let subject = if random.u8(..4) == 0 { name(random) } else { one(random, &SUBJECTS).to_owned() };
        let space = if number == 0 { "" } else { " " };
        body += space;
        body += &subject[..1].to_uppercase();
        body += &subject[1..];
        for part in [one(random, &VERBS), "the", one(random, &ADJECTIVES), one(random, &OBJECTS)] {
            body += " ";
            body += part;
        }
        if random.bool() {
            body += &format!(" {} the {} {}", one(random, &LINKS), one(random, &ADJECTIVES), one(random, &OBJECTS));
        }
        body += ".";
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn sample(seed: u64) -> Vec<String> {
        let mut random = Rng::with_seed(seed);
        (0..50).map(|_| format!("{}: {}", title(&mut random), body(&mut random))).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_text_and_another_one_another() {
        assert_eq!(sample(7), sample(7));
        assert_ne!(sample(7), sample(8));
    }

    #[test]
    fn sentences_begin_large_and_end_with_a_full_stop() {
        for seed in 0..20 {
            let body = body(&mut Rng::with_seed(seed));
            assert!(body.starts_with(|first: char| first.is_uppercase()) && body.ends_with('.'), "seed {seed}: {body}");
        }
    }

    #[test]
    fn no_two_tags_have_the_same_name() {
        let names: BTreeSet<_> = (1..=TAGS).map(tag).collect();
        assert_eq!(names.len(), TAGS as usize);
    }
}
