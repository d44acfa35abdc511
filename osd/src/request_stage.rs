//! The stages of a request about an object, and how long those that have ended took.

use basalt_net::message::object::ObjectRequest;
use basalt_ring::local::{Latencies, LatencyHistogram};

/// In the order in which a request goes through them. A read has no `Wal` and no `Flush`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// From its arrival until this OSD begins with it: credits, the map, the group, other writes of the object, the tier's pace; of a
    /// write also reading what it completes, until it is part of a group of commits.
    Queue,
    /// Until the log's record of its group of commits is written, with the wait for the group before.
    Wal,
    /// What is left until its data is written, which goes beside the record; of a read, until its data is read.
    Data,
    /// Until the device says that record and data are durable.
    Flush,
    /// Until the other members of the group have it too; of a read, until what it saw is committed and the leases are held.
    Replica,
    /// Until the reply is on its way.
    Reply,
}

impl Stage {
    pub const COUNT: usize = 6;
    pub const ALL: [Stage; Stage::COUNT] =
        [Stage::Queue, Stage::Wal, Stage::Data, Stage::Flush, Stage::Replica, Stage::Reply];

    pub fn name(self) -> &'static str {
        match self {
            Stage::Queue => "queue",
            Stage::Wal => "wal",
            Stage::Data => "data",
            Stage::Flush => "flush",
            Stage::Replica => "replica",
            Stage::Reply => "reply",
        }
    }

    /// What an operator is told of a request that is in it.
    pub fn waits_for(self, kind: Kind) -> &'static str {
        match (self, kind) {
            (Stage::Queue, _) => "its turn",
            (Stage::Wal | Stage::Data | Stage::Flush, Kind::Write) => "the commit on this OSD",
            (Stage::Data, Kind::Read) => "its data",
            (Stage::Replica, Kind::Write) => "the other members of the group",
            (Stage::Wal | Stage::Flush | Stage::Replica, Kind::Read) => "what it saw to be committed",
            (Stage::Reply, _) => "its client to take the reply",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Read,
    Write,
}

impl Kind {
    pub const ALL: [Kind; 2] = [Kind::Read, Kind::Write];

    pub fn of(request: &ObjectRequest) -> Kind {
        use crate::operation_vector::{self, Kind as Operation};
        let writes = request.operations.iter().any(|operation| operation_vector::kind(operation) == Operation::Write);
        if writes { Kind::Write } else { Kind::Read }
    }

    pub fn name(self) -> &'static str {
        match self {
            Kind::Read => "read",
            Kind::Write => "write",
        }
    }
}

/// Nanoseconds by stage; `None`: it has not been through it.
pub type StageTimes = [Option<u64>; Stage::COUNT];

/// The stage that took longest.
pub fn slowest(times: &StageTimes) -> Option<Stage> {
    let gone_through = Stage::ALL.into_iter().zip(times).filter_map(|(stage, ns)| Some((ns.as_ref()?, stage)));
    gone_through.max().map(|(_, stage)| stage)
}

#[derive(Default)]
pub struct StageHistograms {
    stages: [LatencyHistogram; Stage::COUNT],
    whole: LatencyHistogram,
}

/// Of the requests of one kind that were answered since the OSD's start.
#[derive(Clone, Copy, Debug, Default)]
pub struct StageFigures {
    pub stages: [Latencies; Stage::COUNT],
    /// From the arrival to the reply.
    pub whole: Latencies,
}

impl StageHistograms {
    pub fn observe(&self, times: &StageTimes) {
        let mut whole = 0_u64;
        for (histogram, ns) in self.stages.iter().zip(times) {
            if let Some(ns) = *ns {
                histogram.observe_ns(ns);
                whole = whole.saturating_add(ns);
            }
        }
        self.whole.observe_ns(whole);
    }

    pub fn get(&self) -> StageFigures {
        let mut figures = StageFigures { whole: self.whole.get(), ..StageFigures::default() };
        for (figure, histogram) in figures.stages.iter_mut().zip(&self.stages) {
            *figure = histogram.get();
        }
        figures
    }
}

impl StageFigures {
    /// How many there were, and the nanoseconds from their arrival until they were done: without the reply.
    pub fn applied(&self) -> (u64, u64) {
        let [.., reply] = &self.stages;
        (self.whole.count(), self.whole.sum_ns.saturating_sub(reply.sum_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_stage_is_the_one_that_took_longest() {
        let mut times = StageTimes::default();
        assert_eq!(slowest(&times), None);
        times[Stage::Queue as usize] = Some(5);
        times[Stage::Flush as usize] = Some(900);
        times[Stage::Reply as usize] = Some(7);
        assert_eq!(slowest(&times), Some(Stage::Flush));
    }

    #[test]
    fn stages_that_a_request_does_not_have_are_not_observed() {
        let histograms = StageHistograms::default();
        let mut times = StageTimes::default();
        times[Stage::Data as usize] = Some(1000);
        times[Stage::Reply as usize] = Some(24);
        histograms.observe(&times);
        let seen = histograms.get();
        assert_eq!(seen.stages.map(|stage| stage.count()), [0, 0, 1, 0, 0, 1]);
        assert_eq!((seen.whole.count(), seen.whole.sum_ns), (1, 1024));
        assert_eq!(seen.applied(), (1, 1000));
    }
}
