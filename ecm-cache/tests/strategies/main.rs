//! What the caches promise, where caches have gone wrong.

mod everywhere;
mod lru;
mod quick;
mod sharded;
mod support;
mod worth;
