//! What the maps hold as numbers, by name: links, nodes and tables. Kept in the run directory, so that a restarted agent
//! understands what it adopts.
//!
//! One JSON value a line. A line is written before the maps hold what it names, and the last one for a number counts, so
//! a crash between the two does no harm; a line cut short is the last and is ignored. The first line names the set of
//! maps that it belongs to: a ledger of others (after a reboot, or a clean-up) is worth nothing.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{datapath::Error, plan::maglev::Weights, world::model::AttachMode};

/// Name of the file in the run directory.
pub const LEDGER: &str = "ledger.jsonl";

/// Lines beyond what is in use, after which the file is written anew.
const SLACK: usize = 4_096;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Line {
    /// Id of the maps, by the kernel, and of the boot in which it gave it.
    Maps {
        id: u32,
        boot: String,
    },
    Link {
        slot: u32,
        name: String,
        mode: Option<AttachMode>,
    },
    Node {
        index: u16,
        name: String,
    },
    Table {
        base: u32,
        rows: u32,
        weights: Vec<(String, u32)>,
    },
}

/// The names, as the file has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Names {
    /// By link slot.
    pub(super) links: BTreeMap<u32, (String, Option<AttachMode>)>,
    /// By index.
    pub(super) nodes: BTreeMap<u16, String>,
    /// By first slot: rows and weights.
    pub(super) tables: BTreeMap<u32, (u32, Weights)>,
}

/// The open ledger.
#[derive(Debug)]
pub(super) struct Ledger {
    path: PathBuf,
    file: File,
    pending: Vec<u8>,
    /// Lines in the file.
    lines: usize,
}

impl Ledger {
    /// Reads the ledger of the set of maps `id`; None where there is none, or one of other maps.
    pub(super) fn read(run_dir: &Path, id: u32) -> Result<Option<Names>, Error> {
        let path = run_dir.join(LEDGER);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => {
                return Ok(None);
            }
            Err(source) => return Err(Error::File { path, source }),
        };
        let mut lines = text.lines().map_while(|line| serde_json::from_str(line).ok());
        let ours = Line::Maps { id, boot: boot() };
        match (lines.next(), ours) {
            (Some(Line::Maps { id, boot }), Line::Maps { id: our_id, boot: our_boot })
                if (id, &boot) == (our_id, &our_boot) => {}
            _ => return Ok(None),
        }
        let mut names = Names::default();
        for line in lines {
            match line {
                Line::Maps { .. } => {}
                Line::Link { slot, name, mode } => _ = names.links.insert(slot, (name, mode)),
                Line::Node { index, name } => {
                    names.nodes.retain(|_, other| *other != name);
                    names.nodes.insert(index, name);
                }
                Line::Table { base, rows, weights } => {
                    names.tables.insert(base, (rows, weights.into_iter().collect()));
                }
            }
        }
        Ok(Some(names))
    }

    /// Writes a ledger with `names` in place of the one that is there, in one step.
    pub(super) fn create(run_dir: &Path, id: u32, names: &Names) -> Result<Self, Error> {
        fs::create_dir_all(run_dir).map_err(|source| Error::File { path: run_dir.to_owned(), source })?;
        let (path, new) = (run_dir.join(LEDGER), run_dir.join(format!("{LEDGER}.new")));
        let failed = |source| Error::File { path: new.clone(), source };
        let file = File::create(&new).map_err(failed)?;
        let mut ledger = Self { path: path.clone(), file, pending: Vec::new(), lines: 0 };
        ledger.add(&Line::Maps { id, boot: boot() });
        for (slot, (name, mode)) in &names.links {
            ledger.link(*slot, name, *mode);
        }
        for (index, name) in &names.nodes {
            ledger.node(*index, name);
        }
        for (base, (rows, weights)) in &names.tables {
            ledger.table(*base, *rows, weights);
        }
        ledger.flush()?;
        fs::rename(&new, &path).map_err(|source| Error::File { path: path.clone(), source })?;
        ledger.file =
            OpenOptions::new().append(true).open(&path).map_err(|source| Error::File { path: path.clone(), source })?;
        Ok(ledger)
    }

    pub(super) fn link(&mut self, slot: u32, name: &str, mode: Option<AttachMode>) {
        self.add(&Line::Link { slot, name: name.to_owned(), mode });
    }

    pub(super) fn node(&mut self, index: u16, name: &str) {
        self.add(&Line::Node { index, name: name.to_owned() });
    }

    pub(super) fn table(&mut self, base: u32, rows: u32, weights: &Weights) {
        let weights = weights.iter().map(|(name, weight)| (name.to_string(), weight)).collect();
        self.add(&Line::Table { base, rows, weights });
    }

    fn add(&mut self, line: &Line) {
        // Strings and integers only: it cannot fail.
        if serde_json::to_writer(&mut self.pending, line).is_ok() {
            self.pending.push(b'\n');
            self.lines += 1;
        }
    }

    /// Whether the file has grown so much beyond `in_use` lines that it should be made anew.
    pub(super) fn has_outgrown(&self, in_use: usize) -> bool {
        self.lines > 2 * in_use + SLACK
    }

    /// Writes what was added. Against a killed process that is enough; after a crash of the machine the maps are gone
    /// too, so nothing is synced.
    pub(super) fn flush(&mut self) -> Result<(), Error> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let pending = std::mem::take(&mut self.pending);
        self.file.write_all(&pending).map_err(|source| Error::File { path: self.path.clone(), source })
    }
}

/// The running boot's id; empty where the kernel does not tell.
fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let weights: Weights = [("n1", 1), ("n2", 3)].into_iter().collect();
        Names {
            links: [(0, ("eth0".to_owned(), Some(AttachMode::Native)))].into(),
            nodes: [(0, "n1".to_owned()), (1, "n2".to_owned())].into(),
            tables: [(4, (251, weights))].into(),
        }
    }

    #[test]
    fn what_was_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::create(dir.path(), 7, &names()).unwrap();
        ledger.node(2, "n3");
        ledger.flush().unwrap();
        let mut expected = names();
        expected.nodes.insert(2, "n3".to_owned());
        assert_eq!(Ledger::read(dir.path(), 7).unwrap(), Some(expected));
    }

    #[test]
    fn a_ledger_of_other_maps_is_worth_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Ledger::read(dir.path(), 7).unwrap(), None);
        Ledger::create(dir.path(), 7, &names()).unwrap();
        assert_eq!(Ledger::read(dir.path(), 8).unwrap(), None);
    }

    #[test]
    fn a_line_cut_short_and_all_after_it_are_ignored() {
        let dir = tempfile::tempdir().unwrap();
        Ledger::create(dir.path(), 7, &names()).unwrap();
        let mut file = OpenOptions::new().append(true).open(dir.path().join(LEDGER)).unwrap();
        file.write_all(br#"{"node":{"index":5,"na"#).unwrap();
        assert_eq!(Ledger::read(dir.path(), 7).unwrap(), Some(names()));
    }

    #[test]
    fn a_node_has_the_last_index_that_it_was_given() {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::create(dir.path(), 7, &names()).unwrap();
        ledger.node(1, "n9");
        ledger.node(3, "n1");
        ledger.flush().unwrap();
        let nodes = Ledger::read(dir.path(), 7).unwrap().unwrap().nodes;
        assert_eq!(nodes, [(1, "n9".to_owned()), (3, "n1".to_owned())].into());
    }
}
