//! One OSD.

use super::exposition::Exposition;
use basalt_net::message::monitor::PoolReport;
use basalt_osd::figures::OsdFigures;
use basalt_osd::request_stage::Stage;

/// Younger than a minute, than ten, than an hour, and older: as reports have them.
const AGES: [&str; 4] = ["under_1m", "1m_to_10m", "10m_to_1h", "over_1h"];

pub fn describe(exposition: &mut Exposition, figures: &OsdFigures) {
    let id = figures.osd.to_string();
    let osd = ("osd", id.as_str());
    requests(exposition, figures, osd);
    store(exposition, figures, osd);
    state(exposition, figures, osd);
    for pool in &figures.report.pools {
        let name = figures.pool_name(pool.pool);
        of_pool(exposition, &[osd, ("pool", &name)], pool);
    }
}

fn requests(exposition: &mut Exposition, figures: &OsdFigures, osd: (&str, &str)) {
    for (kind, seen) in &figures.requests {
        let op = ("op", kind.name());
        let help = "From the arrival of a request about an object to its reply.";
        exposition.histogram("basalt_osd_request_seconds", help, &[osd, op], &seen.whole);
        for (stage, seen) in Stage::ALL.into_iter().zip(&seen.stages) {
            let help = "What the stages of a request take: queue, wal, data, flush, replica, reply.";
            let stage = ("stage", stage.name());
            exposition.histogram("basalt_osd_request_stage_seconds", help, &[osd, op, stage], seen);
        }
    }
    let help = "Requests about objects that are under way.";
    exposition.gauge("basalt_osd_requests_running", help, &[osd], figures.requests_running as f64);
    let help = "Requests that took longer than osd_op_complaint_time.";
    exposition.counter("basalt_osd_slow_requests_total", help, &[osd], figures.slow_requests);
    let help = "Requests that are under way for so long that something must be wrong.";
    exposition.gauge("basalt_osd_stuck_requests", help, &[osd], figures.report.stuck_requests as f64);
    let help = "Requests that were sent again and had been applied before.";
    exposition.counter("basalt_osd_duplicate_requests_total", help, &[osd], figures.duplicates);
    let help = "Requests that were answered with EIO.";
    exposition.counter("basalt_osd_io_errors_total", help, &[osd], figures.io_errors);
    exposition.gauge("basalt_osd_sessions", "Sessions of clients.", &[osd], figures.sessions as f64);
}

fn store(exposition: &mut Exposition, figures: &OsdFigures, osd: (&str, &str)) {
    let report = &figures.report;
    let help = "What a group of transactions takes to become durable, from its turn on.";
    exposition.histogram("basalt_osd_commit_seconds", help, &[osd], &figures.commits.whole);
    let help = "Of that, the flush of the devices.";
    exposition.histogram("basalt_osd_commit_flush_seconds", help, &[osd], &figures.commits.flush);
    let written = &figures.written;
    for (purpose, bytes) in [
        ("data", written.data),
        ("log", written.log),
        ("nodes", written.nodes),
        ("allocation", written.allocation_pages),
        ("superblock", written.superblocks),
        ("flush", written.flushed),
        ("rewrite", written.rewritten),
    ] {
        let help = "Bytes that went to the devices, by purpose.";
        exposition.counter("basalt_osd_device_written_bytes_total", help, &[osd, ("purpose", purpose)], bytes);
    }
    exposition.counter("basalt_osd_checkpoints_total", "Checkpoints of the index.", &[osd], written.checkpoints);
    let help = "Reads that the cache of data answered.";
    exposition.counter("basalt_osd_data_cache_hits_total", help, &[osd], figures.data_cache.hits);
    let help = "Reads that the cache of data could not answer.";
    exposition.counter("basalt_osd_data_cache_misses_total", help, &[osd], figures.data_cache.misses);
    let memory = &figures.memory;
    for (part, bytes) in [
        ("index_clean", memory.index_clean),
        ("index_dirty", memory.index_dirty),
        ("index_pinned", memory.index_pinned),
        ("data", memory.data),
        ("allocators", memory.allocators),
    ] {
        exposition.gauge("basalt_osd_memory_bytes", "Memory by what it is for.", &[osd, ("for", part)], bytes as f64);
    }
    for (device, total, used) in [
        ("base", report.base_total_bytes, report.base_used_bytes),
        ("hot", report.hot_total_bytes, report.hot_used_bytes),
    ] {
        let device = ("device", device);
        exposition.gauge("basalt_osd_device_bytes", "Size of a device.", &[osd, device], total as f64);
        exposition.gauge("basalt_osd_device_used_bytes", "Of that, in use.", &[osd, device], used as f64);
    }
    exposition.gauge("basalt_osd_index_bytes", "Of the index on its device.", &[osd], report.index_bytes as f64);
    let help = "Blocks that did not match their checksums.";
    exposition.counter("basalt_osd_checksum_errors_total", help, &[osd], report.checksum_errors);
    let help = "1 if a failed write or flush has taken the store out of service.";
    exposition.gauge("basalt_osd_fenced", help, &[osd], f64::from(u8::from(!report.fault.is_empty())));
}

fn state(exposition: &mut Exposition, figures: &OsdFigures, osd: (&str, &str)) {
    let report = &figures.report;
    exposition.gauge("basalt_osd_map_epoch", "Epoch of the map that it goes by.", &[osd], f64::from(report.epoch));
    let help = "Placement groups that it is the primary of and serves.";
    exposition.gauge("basalt_osd_groups_active", help, &[osd], f64::from(report.groups_active));
    let help = "Peers that do not answer it.";
    exposition.gauge("basalt_osd_silent_peers", help, &[osd], report.silent_peers.len() as f64);
    let help = "Bytes that it sent to other OSDs to recover and backfill.";
    exposition.counter("basalt_osd_recovered_bytes_total", help, &[osd], report.recovered_bytes);
    let help = "Objects likewise.";
    exposition.counter("basalt_osd_recovered_objects_total", help, &[osd], report.recovered_objects);
    exposition.counter("basalt_scrub_bytes_total", "Bytes that scrub read.", &[osd], figures.scrub_bytes);
    exposition.counter("basalt_scrub_errors_total", "Damage that scrub found.", &[osd], figures.scrub_errors);
    exposition.counter("basalt_scrub_repaired_total", "Damage that was put right.", &[osd], report.scrub.repaired);
    let help = "What scrub has found and is not put right.";
    exposition.gauge("basalt_scrub_standing_errors", help, &[osd], report.scrub.errors as f64);
}

fn of_pool(exposition: &mut Exposition, labels: &[(&str, &str)], pool: &PoolReport) {
    for (name, help, value) in [
        ("basalt_pool_read_operations_total", "Reads of a pool's objects.", pool.read_operations),
        ("basalt_pool_read_bytes_total", "Bytes read of a pool's objects.", pool.read_bytes),
        ("basalt_pool_write_operations_total", "Writes to a pool's objects.", pool.write_operations),
        ("basalt_pool_write_bytes_total", "Bytes written to a pool's objects.", pool.write_bytes),
        ("basalt_tier_flushed_bytes_total", "Dirty bytes that went to base.", pool.flushed_bytes),
        ("basalt_tier_evicted_bytes_total", "Clean bytes that left hot.", pool.evicted_bytes),
        ("basalt_tier_promoted_bytes_total", "Bytes that were copied to hot.", pool.promoted_bytes),
        ("basalt_tier_hit_reads_total", "Reads that hot answered.", pool.hit_reads),
        ("basalt_tier_miss_reads_total", "Reads that went to base.", pool.miss_reads),
        ("basalt_tier_slowed_writes_total", "Writes that the tier held before it took them.", pool.slowed_writes),
        ("basalt_tier_written_through_total", "Writes that found no room on hot.", pool.written_through),
    ] {
        exposition.counter(name, help, labels, value);
    }
    for (name, help, value) in [
        ("basalt_osd_pool_objects", "Objects of a pool on an OSD.", pool.objects),
        ("basalt_osd_pool_data_bytes", "Bytes of a pool on an OSD.", pool.data_bytes),
        ("basalt_tier_target_bytes", "What the pool may have on hot.", pool.target_bytes),
        ("basalt_tier_hot_bytes", "What it has there.", pool.hot_bytes),
        ("basalt_tier_clean_bytes", "Of that, also on base.", pool.clean_bytes),
        ("basalt_tier_dirty_objects", "Objects with bytes that are on hot only.", pool.dirty_objects),
        ("basalt_tier_oldest_dirty_seconds", "Age of what has been dirty longest.", pool.oldest_dirty_s),
        ("basalt_tier_wanted_flush_bytes_per_second", "What the flusher asks for.", pool.wanted_flush_rate),
        ("basalt_tier_base_bytes_per_second", "What base was measured to sustain.", pool.base_rate),
    ] {
        exposition.gauge(name, help, labels, value as f64);
    }
    for (age, bytes) in AGES.into_iter().zip(pool.dirty_bytes_by_age) {
        let labels: Vec<(&str, &str)> = labels.iter().copied().chain([("age", age)]).collect();
        exposition.gauge("basalt_tier_dirty_bytes", "Bytes that are on hot only, by age.", &labels, bytes as f64);
    }
}
