//! The programs built with their debug lines, which no release has.

use std::sync::{Arc, Mutex};

use announcer::datapath::in_words;
use anyhow::{Context, Result, ensure};
use aya::EbpfLoader;
use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};

use super::super::frames::Packet;
use super::super::rig::{Hook, LINK_GLOBAL, Rig};
use super::super::scene::{CLIENT, LINK, NODE_MACS, OWN, STRANGER, VIP, one, served_by};
use super::{FROM, TO};
use crate::objects;

/// Keeps the lines in place of a log.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        if let Ok(mut lines) = self.0.lock() {
            lines.push(in_words(&record.args().to_string()));
        }
    }

    fn flush(&self) {}
}

/// One line for each frame that concerned a VIP, none for the others; the frames become what they become without.
pub fn a_line_for_each_frame_to_a_vip() -> Result<()> {
    let object = objects::build("log")?;
    let mut loader = EbpfLoader::new();
    loader.override_global(LINK_GLOBAL, &LINK, true);
    let mut rig = Rig::load_with(loader, &object)?;
    rig.set_up()?;
    rig.pods()?;
    rig.services(served_by(1, one(1)))?;
    let lines = Lines::default();
    let mut reader = EbpfLogger::init_with_logger(&mut rig.bpf, lines.clone())?;

    let syn = Packet::syn(FROM, TO);
    let ran = rig.run(Hook::Xdp, &syn.bytes())?;
    ensure!(ran.frame == syn.forwarded(OWN, NODE_MACS[1]).bytes(), "the frame is not forwarded as without lines");
    rig.run(Hook::Xdp, &Packet::syn(FROM, (OWN, STRANGER, 22)).bytes())?;
    rig.run(Hook::Xdp, &Packet::syn(FROM, (OWN, VIP, 81)).bytes())?;
    reader.flush();

    let lines = lines.0.lock().ok().context("the reader panicked")?.clone();
    let expected = [format!("forwarded: {CLIENT} to {VIP}"), format!("drop_no_service: {CLIENT} to {VIP}")];
    ensure!(lines == expected, "lines {lines:?}, expected {expected:?}");
    Ok(())
}

/// What the agent embeds has no trace of them.
pub fn the_agents_object_has_no_debug_lines() -> Result<()> {
    let rig = Rig::load(LINK)?;
    ensure!(rig.bpf.map("AYA_LOGS").is_none(), "the agent's object was built with its debug lines");
    Ok(())
}
