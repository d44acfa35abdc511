//! What a fuzzer feeds: job files as people write them. Whatever is taken can be run: it was checked, and has blocks to address.

use crate::job_file;

/// A target's name, what it does with an input, and inputs to begin from.
pub type Target = (&'static str, fn(&[u8]), fn() -> Vec<Vec<u8>>);

pub const TARGETS: &[Target] = &[("job_file", job_file, job_file_seeds)];

/// A job file.
pub fn job_file(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(jobs) = job_file::parse("a.fio", text) else { return };
    assert!(!jobs.is_empty());
    for job in jobs {
        assert_eq!(job.validate(), Ok(()));
        let (file_size, region) = (job.file_size(), job.region());
        assert!(file_size > 0 && region <= job.size, "{job:?}");
    }
}

fn job_file_seeds() -> Vec<Vec<u8>> {
    let usual = "[global]\nbs=4k\niodepth=32\nruntime=10s\ntime_based\n; a comment\n[write]\nrw=randwrite\npool=data\nsize=1G\n\
                 [read]\nrw=randrw\nrwmixread=70\nfilename=/dev/null\nrandom_distribution=zipf:1.2\nstonewall\n";
    let rare = "[a]\nbssplit=4k/60:64k/40\npool=p\nnrfiles=4\nfilesize=1M\nobject_size=1M\nrate_iops=100,200\nverify=crc32c\n\
                norandommap\nnumjobs=2\ngroup_reporting\nramp_time=1m\nrandseed=5\nrandom_distribution=pareto:0.2\n";
    vec![usual.into(), rare.into()]
}
