# Two commands for a new user: `make quickstart` and `make test`. Everything is built and run from this folder.

.DEFAULT_GOAL := help
.PHONY: help quickstart test bench bench-wire yardstick tail-latency micro curves instructions scale pool-scale map-scale calm-recovery write-amplification crush-speed tier-transition throttled-transition \
	dist deb rolling-upgrade crash-enumeration lost-writes bit-flips fuzz fuzz-corpus s3-speed s3-listing nbd-verify clean-data

CARGO ?= cargo
# The largest number of objects; 10000000 takes the better part of an hour, and 8 GiB of disk.
SCALE_MAX ?= 1000000
INSTRUCTIONS_PATH ?= write
# Options of `basalt bench`, or a job file; none: the standard table.
BENCH ?=

help:
	@echo 'make quickstart         a cluster on files, a real tree stored and compared, a short bench (QUICKSTART_TREE=/usr/share)'
	@echo 'make test               every test; installs what they need'
	@echo 'make dist               the programs as packages have them: target/dist/basalt, target/dist/basaltd'
	@echo 'make deb                the Debian package, below target/debian'
	@echo 'make bench              the standard table of docs/PERFORMANCE.md, beside fio (BENCH_ROUNDS=5), or one bench (BENCH="--rw=randread --bs=4k ...")'
	@echo 'make yardstick          a pool beside the raw file it lies on, in one run: the figures of docs/PERFORMANCE.md'
	@echo 'make tail-latency       4 KiB at depth 1 while the OSD scrubs, flushes and writes checkpoints: the 99th percentile beside the median'
	@echo 'make curves             cost of an operation against queue depth, placement groups, objects, OSDs and sessions (CURVES_ROUNDS=3)'
	@echo 'make micro              one step of each layer by itself: checksum, frame, index, allocator, log record, CRUSH, executor'
	@echo 'make bench-wire         what encryption and handshakes cost by themselves'
	@echo 'make instructions       where the instructions of one fixed path go, by callgrind (INSTRUCTIONS_PATH=write|read|create)'
	@echo 'make scale              memory and mount time of a store by number of objects (SCALE_MAX=1000000)'
	@echo 'make pool-scale         memory of 10,000 sessions without work, and names a second of a listing of a million'
	@echo 'make map-scale          a map of 10,000 OSDs and 1,000,000 placement groups: times, bytes, memory'
	@echo 'make calm-recovery      latencies of clients beside a long backfill, and just before it (CALM_ROUNDS=3 CALM_OBJECT_KIB=64)'
	@echo 'make write-amplification  bytes to devices over bytes from clients, of a store (needs 12 GiB of disk)'
	@echo 'make tier-transition    an empty hot slice over a slow disk until long after it is full: docs/transition.png, and the figures'
	@echo 'make throttled-transition  the same over a loop device held to 150 operations a second (as root)'
	@echo 'make crush-speed        mappings a second of CRUSH, on maps of 1,000 and 10,000 OSDs'
	@echo 'make s3-speed           puts and gets a second by S3, 64 KiB, 16 clients (S3_SPEED="--kib 4 --clients 4")'
	@echo 'make s3-listing         how long a page of a listing takes in buckets of 1000 keys to a million (S3_LISTING="--keys 100000")'
	@echo 'make nbd-verify         fio over NBD with crc32c for NBD_SECONDS=60, also while a host dies and returns'
	@echo 'make rolling-upgrade    a cluster of another commit (FROM=ref) upgraded under load, host by host, and back'
	@echo 'make crash-enumeration  cuts the power at every point of a recorded run and checks the store'
	@echo 'make lost-writes        loses, tears and misdirects each write of many runs, and reads stale'
	@echo 'make bit-flips          flips every bit of a store'\''s metadata, and a million bits of data'
	@echo 'make fuzz               every fuzz target for FUZZ_SECONDS=600 each (FUZZ_TARGETS="superblock wal_replay")'
	@echo 'make fuzz-corpus        boils down what fuzzing found to the corpus that is kept'
	@echo 'make clean-data         removes ./data'

quickstart:
	@CARGO='$(CARGO)' sh scripts/quickstart.sh

test:
	@CARGO='$(CARGO)' sh scripts/test.sh

# Slower to build than a release, a little faster to run; with etcd, which needs protoc.
dist:
	$(CARGO) build --profile dist -p basalt-cli --features basalt-cluster/etcd,basalt-cli/etcd

deb:
	@CARGO='$(CARGO)' sh scripts/deb.sh

bench:
	@CARGO='$(CARGO)' sh scripts/bench.sh $(BENCH)

tail-latency:
	$(CARGO) build --release -p basalt-cli
	./scripts/tail-latency.sh

curves:
	$(CARGO) build --release --quiet -p basalt-cli -p basalt-benches --bin basalt --bin basaltd --bin pool_scale
	@mkdir -p data
	@./scripts/curves.sh

micro:
	@$(CARGO) bench --quiet -p basalt-benches --features layers --bench layers

yardstick:
	@CARGO='$(CARGO)' sh scripts/yardstick.sh

# What secure mode's cryptography costs by itself.
bench-wire:
	$(CARGO) bench --quiet -p basalt-net --bench sealing

# Needs valgrind (Debian: valgrind).
instructions:
	$(CARGO) build --release --quiet -p basalt-tests --bin fixed_path
	@mkdir -p data
	@valgrind --tool=callgrind '--toggle-collect=fixed_path::measured*' --callgrind-out-file=data/callgrind.out \
		target/release/fixed_path --path $(INSTRUCTIONS_PATH) >data/callgrind.log 2>&1 || { cat data/callgrind.log; exit 1; }
	@callgrind_annotate --inclusive=yes --auto=no data/callgrind.out | cut -c1-160 | head -n 100

scale:
	$(CARGO) build --release --quiet -p basalt-benches --bin store_scale
	@target/release/store_scale --dir data/scale --max $(SCALE_MAX) $(SCALE)

# So many seeds of whole clusters: `make cluster-seeds SEEDS=2000..12000`.
cluster-seeds:
	BASALT_SEEDS=$(SEEDS) $(CARGO) test --release -p basalt-tests --test cluster_seeds -- --exact clusters_keep_their_promises --nocapture

# POOL_SCALE="--sessions 1000 --objects 100000" for less.
pool-scale:
	@CARGO='$(CARGO)' POOL_SCALE='$(POOL_SCALE)' sh scripts/pool_scale.sh

map-scale:
	$(CARGO) build --release --quiet -p basalt-benches --bin map_scale
	@target/release/map_scale $(MAP_SCALE)

# CALM_LOAD=reads for one of the loads, CALM_INTERVAL_S, CALM_MIB: see cli/tests/operator/calm_recovery.rs.
calm-recovery:
	$(CARGO) test --release --quiet -p basalt-cli --test operator -- --ignored --exact --nocapture \
		calm_recovery::a_long_backfill_at_most_doubles_what_clients_wait

write-amplification:
	$(CARGO) build --release --quiet -p basalt-benches --bin store_write_amplification
	@target/release/store_write_amplification --dir data/write-amplification $(WRITE_AMPLIFICATION)

crush-speed:
	$(CARGO) build --release --quiet -p basalt-benches --bin crush_speed
	@target/release/crush_speed $(CRUSH_SPEED)

# TIER_TRANSITION="--distribution zipf:0.9 --size 2G" and so on; the labels need a font (Debian: fonts-dejavu-core).
tier-transition:
	$(CARGO) build --release --quiet -p basalt-cli
	$(CARGO) build --release --quiet -p basalt-benches --features plot --bin tier_transition
	@target/release/tier_transition --dir data/tier-transition --png docs/transition.png $(TIER_TRANSITION)

# The same on a device that the kernel holds to 150 operations a second in each direction; as root.
throttled-transition:
	$(CARGO) build --release --quiet -p basalt-cli
	$(CARGO) build --release --quiet -p basalt-benches --features plot --bin tier_transition
	@target/release/tier_transition --dir data/throttled-transition --base-model none --base-iops 150 \
		--png data/throttled-transition.png $(TIER_TRANSITION)

s3-speed:
	@CARGO='$(CARGO)' sh scripts/s3_speed.sh $(S3_SPEED)

s3-listing:
	@CARGO='$(CARGO)' sh scripts/s3_speed.sh --listings $(S3_LISTING)

nbd-verify:
	BASALT_FIO_SECONDS=$(or $(NBD_SECONDS),60) $(CARGO) test -p basalt-cli --features basalt-cluster/etcd,basalt-cli/etcd --test images -- --nocapture fio::what_fio

# FROM: the commit to come from; unless given, the one before the newest feature. UPGRADE_SECONDS=150 of load, PROFILE=release.
rolling-upgrade:
	@CARGO='$(CARGO)' FROM='$(FROM)' sh scripts/rolling_upgrade.sh

crash-enumeration:
	$(CARGO) run --release -p basalt-tests --bin crash_enumeration

lost-writes:
	$(CARGO) test --release -p basalt-tests --test store_lost_writes -- --ignored --nocapture

bit-flips:
	$(CARGO) test --release -p basalt-tests --test store_bit_flips -- --ignored --nocapture

fuzz:
	@CARGO='$(CARGO)' sh scripts/fuzz.sh

fuzz-corpus:
	@CARGO='$(CARGO)' sh scripts/fuzz.sh corpus

clean-data:
	@sh scripts/clean_data.sh
