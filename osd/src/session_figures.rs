//! What one session has asked for since it began: by it an operator sees which client keeps an OSD busy.

use serde_json::{Value, json};
use std::cell::Cell;

#[derive(Default)]
pub struct SessionFigures {
    /// The one whose request came last; gateways have one for all that they serve.
    client: Cell<u64>,
    read_operations: Cell<u64>,
    read_bytes: Cell<u64>,
    write_operations: Cell<u64>,
    write_bytes: Cell<u64>,
}

fn add(cell: &Cell<u64>, more: u64) {
    cell.set(cell.get().saturating_add(more));
}

impl SessionFigures {
    pub fn read(&self, client: u64, bytes: u64) {
        self.client.set(client);
        add(&self.read_operations, 1);
        add(&self.read_bytes, bytes);
    }

    pub fn write(&self, client: u64, bytes: u64) {
        self.client.set(client);
        add(&self.write_operations, 1);
        add(&self.write_bytes, bytes);
    }

    pub fn operations(&self) -> u64 {
        self.read_operations.get().saturating_add(self.write_operations.get())
    }

    pub fn document(&self, name: &str, address: &str) -> Value {
        json!({
            "name": name,
            "address": address,
            "client": format!("{:016x}", self.client.get()),
            "read_operations": self.read_operations.get(),
            "read_bytes": self.read_bytes.get(),
            "write_operations": self.write_operations.get(),
            "write_bytes": self.write_bytes.get(),
        })
    }
}
