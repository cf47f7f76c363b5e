//! The node's real code over links and brokers that a test holds in its hand: no socket, no service, no waiting.

#[path = "simulation/limits.rs"]
mod limits;
#[path = "simulation/link.rs"]
mod link;
#[path = "simulation/node.rs"]
mod node;
#[path = "simulation/notices.rs"]
mod notices;
#[path = "simulation/presence.rs"]
mod presence;
#[path = "simulation/pressure.rs"]
mod pressure;
#[path = "simulation/resume.rs"]
mod resume;
#[path = "simulation/schedule.rs"]
mod schedule;
#[path = "simulation/slow.rs"]
mod slow;
#[path = "simulation/storm.rs"]
mod storm;
#[path = "simulation/turns.rs"]
mod turns;
#[path = "simulation/world.rs"]
mod world;
