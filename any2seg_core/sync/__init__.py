"""Stamped messages of several streams in, sets of samples out, whichever streams are alive."""

from any2seg_core.sync.clock import SYNC_REASONS, StreamFault
from any2seg_core.sync.sets import SampleSet, SyncConfig, SyncStats
from any2seg_core.sync.stream import Gap, Sample, StreamConfig, StreamStats
from any2seg_core.sync.synchronizer import Synchronizer

__all__ = [
    "SYNC_REASONS",
    "Gap",
    "Sample",
    "SampleSet",
    "StreamConfig",
    "StreamFault",
    "StreamStats",
    "SyncConfig",
    "SyncStats",
    "Synchronizer",
]
