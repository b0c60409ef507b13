//! Weighted Maglev tables of nodes with exact weights.
