//! The embedded store: one `redb` file, for a cluster with one monitor.
