//! The command line of `basalt bench`: job files, or a job as flags, as fio takes them.

use crate::job::{Job, TargetName};
use crate::job_file::{JobError, Section, sections};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutputFormat {
    #[default]
    Normal,
    Json,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Invocation {
    pub jobs: Vec<Job>,
    pub format: OutputFormat,
}

impl Invocation {
    /// Parses the words behind `basalt bench`. `--name` begins a job; flags before the first are for all. `read` yields a job
    /// file's text.
    pub fn parse(words: &[String], read: impl Fn(&str) -> std::io::Result<String>) -> Result<Invocation, JobError> {
        let mut format = OutputFormat::default();
        let mut global = Section::default();
        let mut jobs = Vec::new();
        let mut files = Vec::new();
        let mut current: Option<Section> = None;
        for word in words {
            let Some(flag) = word.strip_prefix("--") else {
                files.push(word);
                continue;
            };
            let (key, value) = flag.split_once('=').unwrap_or((flag, ""));
            let key = key.replace('-', "_");
            match key.as_str() {
                "output_format" | "format" => {
                    format = match value {
                        "normal" | "plain" => OutputFormat::Normal,
                        "json" => OutputFormat::Json,
                        _ => {
                            return Err(JobError::Malformed {
                                place: word.clone(),
                                option: "output-format".into(),
                                value: value.into(),
                                expected: "normal or json",
                            });
                        }
                    };
                }
                "name" => {
                    if let Some(section) = current.take() {
                        jobs.push(section.job(&global)?);
                    }
                    current = Some(Section { name: value.into(), options: Vec::new() });
                }
                _ => current.as_mut().unwrap_or(&mut global).add(word.clone(), &key, value)?,
            }
        }
        if let Some(section) = current {
            jobs.push(section.job(&global)?);
        }
        for file in files {
            let text =
                read(file).map_err(|error| JobError::Unreadable { path: file.clone(), reason: error.to_string() })?;
            jobs.extend(sections(file, &text, &global)?);
        }
        if jobs.is_empty() {
            return Err(JobError::NoJobs);
        }
        Ok(Invocation { jobs, format })
    }

    /// Whether any job needs a cluster.
    pub fn needs_cluster(&self) -> bool {
        self.jobs.iter().any(|job| !matches!(job.target, TargetName::Filename(_) | TargetName::Null))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{BlockSizes, Distribution, Pattern};
    use std::time::Duration;

    fn parse(line: &str) -> Result<Invocation, JobError> {
        let words: Vec<String> = line.split_whitespace().map(String::from).collect();
        Invocation::parse(&words, |path| Err(std::io::Error::other(format!("no file {path} here"))))
    }

    #[test]
    fn flags_and_a_job_file_mean_the_same() {
        let flags = parse(
            "--name=t --pool=data --rw=randwrite --bs=4k --iodepth=32 --size=1G --runtime=10 --time_based --output-format=json",
        )
        .expect("valid");
        let file = "; a comment\n[global]\npool=data\nbs = 4k\n\n[t]\nrw=randwrite\niodepth=32\nsize=1G\nruntime=10s\ntime_based\n";
        let mut from_file = crate::parse_job_file("t.fio", file).expect("valid");
        let mut from_flags = flags.jobs.clone();
        assert_eq!(flags.format, OutputFormat::Json);
        assert!(flags.needs_cluster());
        from_file[0].options.clear();
        from_flags[0].options.clear();
        assert_eq!(from_flags, from_file);
        assert_eq!(from_file[0].pattern, Pattern { random: true, reads: false, writes: true });
        assert_eq!(from_file[0].runtime, Some(Duration::from_secs(10)));
    }

    #[test]
    fn sections_inherit_what_global_says_before_them() {
        let text = "[global]\nfilename=/dev/x\nbs=8k\n[a]\nrw=randread\n[global]\nbs=16k\n[b]\nrw=write\nstonewall\n";
        let jobs = crate::parse_job_file("t", text).expect("valid");
        assert_eq!((jobs[0].name.as_str(), jobs[0].read_sizes.max()), ("a", 8192));
        assert_eq!((jobs[1].name.as_str(), jobs[1].write_sizes.max(), jobs[1].stonewall), ("b", 16384, true));
    }

    #[test]
    fn an_unknown_option_is_named_with_what_is_known() {
        let error = crate::parse_job_file("j.fio", "[a]\npool=p\niodpth=3\n").expect_err("unknown").to_string();
        assert!(error.starts_with("j.fio:3: unknown option 'iodpth', did you mean 'iodepth'?"), "{error}");
        assert!(error.contains("random_distribution"), "{error}");
    }

    #[test]
    fn values_of_options_are_read_as_fio_reads_them() {
        let job =
            |options: &str| parse(&format!("--name=t --pool=p {options}")).map(|invocation| invocation.jobs[0].clone());
        let split = job("--bssplit=4k/10:64k/50:32k/40,8k/:16k").expect("valid");
        assert_eq!(split.read_sizes, BlockSizes(vec![(4096, 10), (65536, 50), (32768, 40)]));
        assert_eq!(split.write_sizes, BlockSizes(vec![(8192, 50), (16384, 50)]));
        assert_eq!(job("--random_distribution=zipf:1.2").expect("valid").distribution, Distribution::Zipf(1.2));
        assert_eq!(job("--ramp_time=500ms").expect("valid").ramp_time, Duration::from_millis(500));
        assert_eq!(job("--nrfiles=4 --filesize=1m").expect("valid").size, 4 << 20);
        assert_eq!(job("--rate_iops=100,").expect("valid").rate.reads, Some(100));
        assert_eq!(job("--rwmixwrite=30 --rw=randrw").expect("valid").read_share, 70);
        for refused in [
            "--bs=3000",
            "--bs=0",
            "--iodepth=0",
            "--time_based",
            "--rwmixread=101",
            "--random_distribution=zipf:0",
            "--random_distribution=gauss:1",
            "--verify=md5",
            "--size=1k",
            "--object_size=6k",
            "--bssplit=4k/50",
            "--rw=trim",
            "--runtime=5x",
            "--direct=0",
            "--bs=99999999999999G",
        ] {
            assert!(job(refused).is_err(), "{refused}");
        }
        assert_eq!(parse("--name=t --rw=read"), Err(JobError::NoTarget { job: "t".into() }));
        assert_eq!(parse(""), Err(JobError::NoJobs));
        assert!(matches!(parse("missing.fio"), Err(JobError::Unreadable { .. })));
    }
}
