//! fio's job files: `[global]` and job sections of `key=value` lines, `;` and `#` comments. A section begins with what the
//! `[global]` sections before it say.

use crate::job::{Job, TargetName};
use crate::limits::JOB_FILE_BYTES_MAX;
use crate::option;

/// Why jobs are refused. EINVAL to a person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    #[error("{place}: unknown option '{name}'{}; known are {}", hint(name), known())]
    UnknownOption { place: String, name: String },
    #[error("{place}: {option}='{value}' is malformed; it takes {expected}")]
    Malformed { place: String, option: String, value: String, expected: &'static str },
    #[error("{place}: '{line}' is neither [section] nor key=value")]
    NotALine { place: String, line: String },
    #[error("{place}: '{line}' stands before any [section]")]
    OutsideSection { place: String, line: String },
    #[error("job '{job}', option {option}: {reason}")]
    Invalid { job: String, option: String, reason: String },
    #[error("job '{job}' has no target; give it pool=NAME, image=POOL/NAME or filename=PATH")]
    NoTarget { job: String },
    #[error("there is no job; give a job file, or --name=NAME and its options")]
    NoJobs,
    #[error("'{path}' can't be read: {reason}")]
    Unreadable { path: String, reason: String },
}

fn hint(name: &str) -> String {
    option::nearest(name).map(|near| format!(", did you mean '{near}'?")).unwrap_or_default()
}

fn known() -> String {
    option::KNOWN.iter().map(|known| known.name).collect::<Vec<_>>().join(", ")
}

/// Options as written, with the place each is from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Section {
    pub name: String,
    pub options: Vec<(String, String, String)>,
}

impl Section {
    pub fn add(&mut self, place: String, key: &str, value: &str) -> Result<(), JobError> {
        let known =
            option::find(key).ok_or_else(|| JobError::UnknownOption { place: place.clone(), name: key.into() })?;
        self.options.push((place, known.name.into(), value.into()));
        Ok(())
    }

    /// The job of a section on top of the global options.
    pub fn job(&self, global: &Section) -> Result<Job, JobError> {
        // Stands for "none yet": a pool can't have an empty name.
        let mut job = Job::new(&self.name, TargetName::Pool(String::new()));
        let mut file_size = None;
        for (place, key, value) in global.options.iter().chain(&self.options) {
            let known = option::find(key).expect("checked when it was added");
            option::set(&mut job, known, value).ok_or_else(|| JobError::Malformed {
                place: place.clone(),
                option: key.clone(),
                value: value.clone(),
                expected: known.value,
            })?;
            match key.as_str() {
                "filesize" => file_size = option::size(value),
                "size" => file_size = None,
                _ => {}
            }
            job.options.retain(|(earlier, _)| earlier != key);
            job.options.push((key.clone(), value.clone()));
        }
        if !self.name.is_empty() {
            job.name.clone_from(&self.name);
        }
        if let Some(bytes) = file_size {
            job.size = bytes.saturating_mul(job.files);
        }
        if job.target == TargetName::Pool(String::new()) {
            return Err(JobError::NoTarget { job: job.name });
        }
        job.validate()?;
        Ok(job)
    }
}

/// All jobs of a file; `place` names it in messages.
pub fn parse(place: &str, text: &str) -> Result<Vec<Job>, JobError> {
    sections(place, text, &Section::default())
}

pub(crate) fn sections(place: &str, text: &str, global: &Section) -> Result<Vec<Job>, JobError> {
    if text.len() > JOB_FILE_BYTES_MAX {
        let reason = format!("{} bytes are more than a job file's {JOB_FILE_BYTES_MAX}", text.len());
        return Err(JobError::Unreadable { path: place.into(), reason });
    }
    let mut global = global.clone();
    let mut jobs = Vec::new();
    let mut current: Option<Section> = None;
    for (number, line) in text.lines().enumerate() {
        let place = || format!("{place}:{}", number + 1);
        let line = line.trim();
        if line.is_empty() || line.starts_with([';', '#']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            let Some(name) = name.strip_suffix(']') else {
                return Err(JobError::NotALine { place: place(), line: line.into() });
            };
            finish(current.take(), &mut global, &mut jobs)?;
            current = Some(Section { name: name.trim().into(), options: Vec::new() });
            continue;
        }
        let Some(section) = &mut current else {
            return Err(JobError::OutsideSection { place: place(), line: line.into() });
        };
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        section.add(place(), key.trim(), value.trim())?;
    }
    finish(current, &mut global, &mut jobs)?;
    if jobs.is_empty() {
        return Err(JobError::NoJobs);
    }
    Ok(jobs)
}

fn finish(section: Option<Section>, global: &mut Section, jobs: &mut Vec<Job>) -> Result<(), JobError> {
    match section {
        Some(section) if section.name == "global" => global.options.extend(section.options),
        Some(section) => jobs.push(section.job(global)?),
        None => {}
    }
    Ok(())
}
