"""Every code of a UserError: short, stable words that a script may compare, where texts may change."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

MESSAGE_REASONS = MappingProxyType(
    {
        "field": "a field is missing or has a wrong type",
        "stamp": "the stamp is negative or no stamp at all",
        "frame": "the frame_id is not the calibrated one",
        "size": "zero, odd or too many pixels, points or bytes",
        "encoding": "unknown or unfitting encoding",
        "step": "step, row_step or point_step contradict the size",
        "length": "more or fewer bytes than the other fields say",
        "layout": "the fields of a cloud do not fit",
        "value": "numbers that mean nothing",
        "codec": "compressed data that cannot be decoded",
        "unsupported": "readable only with a package that is not installed",
        "geometry": "does not fit the calibration",
        "transform": "no transform from its frame to the camera's is known",
        "intrinsics": "the intrinsics of the camera are not known",
    }
)
"""Keys by which bad messages are counted, with their meaning. Keys are stable; texts may change."""


class Meaning(NamedTuple):
    """What a code says: what is wrong in general, and the way out."""

    wrong: str
    way_out: str


_FILES = {
    "file-missing": Meaning("there is no such file or folder", "check the path"),
    "file-unreadable": Meaning("the file is there and cannot be read", "check that it is a file and its permissions"),
    "file-format": Meaning("another format than expected, cut off or damaged", "convert the file or make it anew"),
    "file-content": Meaning("the format is right, what it holds is not", "give the keys, columns or arrays named"),
    "file-name": Meaning("the name's ending does not fit what is written", "take the ending named"),
    "text-syntax": Meaning("no valid YAML, JSON or UTF-8 text", "correct the line named"),
    "limit-exceeded": Meaning("larger than the limits of this program allow", "raise the limit named, ANY2SEG_LIMITS"),
    "file-system": Meaning("the operating system refuses a file", "check path, permissions and free space"),
    "output-unwritable": Meaning("nothing can be written there", "choose another place"),
    "output-exists": Meaning("the place already holds other data", "remove it or choose another place"),
    "output-is-input": Meaning("the output would overwrite an input or lie within it", "choose another place"),
    "disk-full": Meaning("the work needs more disk space than is free", "free some or choose another place"),
    "output-busy": Meaning("another process writes there", "wait for it or choose another folder"),
}
_SETTINGS = {
    "argument-unknown": Meaning("no command, option or argument of this name", "see --help"),
    "argument-missing": Meaning("a required argument is not given", "give it"),
    "value-format": Meaning("the text of a value cannot be parsed", "write it as the example in the message"),
    "value-type": Meaning("the value has another type than expected", "give the type named"),
    "value-range": Meaning("the number lies outside the allowed range", "give one within the range named"),
    "value-unknown": Meaning("the name is none of the known ones", "choose one of the names listed"),
    "value-twice": Meaning("something is given twice", "give it once"),
    "value-conflict": Meaning("two values contradict each other, or one has no effect", "change or leave out one"),
    "value-invalid": Meaning("the value does not fit this setting", "give one as the message says"),
    "key-unknown": Meaning("a setting of this name does not exist", "correct the spelling or remove it"),
    "key-missing": Meaning("a required key is not there", "add it"),
    "key-twice": Meaning("a key stands in the file twice", "keep one of them"),
    "option-unsupported": Meaning("this kind of data set has no such choice", "leave the option out"),
    "node-ambiguous": Meaning("a parameter file has several nodes that may be meant", "leave one or name it"),
}
_ARRAYS = {
    "array-shape": Meaning("an array has another shape or dtype than expected", "give the shape and dtype named"),
    "not-finite": Meaning("numbers are NaN or infinite", "give finite numbers, or an earlier file"),
    "size-mismatch": Meaning("images or arrays that belong together differ in size", "resize them to one size"),
}
_SENSORS = {
    "sensor-unknown": Meaning("no sensor of this name", "choose one of the names listed"),
    "sensor-absent": Meaning("the sensor is known, and not part of this data or checkpoint", "choose among the listed"),
    "sensor-none": Meaning("no sensor is given", "give at least one"),
    "sensor-empty": Meaning("no sensor shows anything", "look at the reason of each sensor"),
    "plane-encoding": Meaning("the checkpoint was trained on planes of another encoding", "give such planes"),
    "points-ambiguous": Meaning("the columns of raw points cannot be told", "name them with --point-columns"),
    "event-time-unit": Meaning("nothing says the unit of event times", "give it with --event-time-unit"),
}
_CALIBRATION = {
    "calibration-missing": Meaning("the step needs a calibration", "give a calibration file"),
    "calibration-foreign": Meaning("the calibration is in another program's format", "convert it: any2seg calib"),
    "calibration-size": Meaning("the image has another size than the calibration", "give those of the same camera"),
    "extrinsics-missing": Meaning("the calibration does not say where a sensor is", "add the transform named"),
    "transform-invalid": Meaning("the matrix is no rigid transform", "give a rotation and a translation, 4x4"),
    "transform-unknown": Meaning("no transform between two frames is known", "publish it or add it to the calibration"),
    "camera-intrinsics": Meaning("the camera matrix is impossible", "calibrate the camera again"),
    "camera-uncalibrated": Meaning("the camera has no focal length", "give a calibration file"),
    "camera-distortion": Meaning("the distortion is unknown or impossible", "take a model listed, with its numbers"),
    "camera-size": Meaning("the camera's width or height is impossible", "correct the size"),
}
_CHECKPOINTS = {
    "checkpoint-missing": Meaning("there is no such checkpoint", "correct the path or train one"),
    "checkpoint-foreign": Meaning("the file is no checkpoint of Any2Seg", "give one of training/train.py"),
    "checkpoint-damaged": Meaning("parts of the checkpoint are missing or contradict each other", "copy it again"),
    "checkpoint-version": Meaning("the checkpoint was made for another version", "train again"),
    "checkpoint-mismatch": Meaning("it has other sensors or another model than asked for", "take one that fits"),
    "label-space-mismatch": Meaning("checkpoint and data have different classes", "take those that belong together"),
    "label-space-unknown": Meaning("no label space of this name", "choose one of the names listed"),
    "weights-mismatch": Meaning("the weights are those of another model", "take the size or model that fits"),
    "weights-ambiguous": Meaning("the file holds several encoders", "save one of them alone"),
    "weights-unavailable": Meaning("the weights cannot be fetched or loaded", "give a local file"),
    "encoder-unknown": Meaning("no encoder of this name", "choose one of the names listed"),
    "encoder-unsuitable": Meaning("the encoder cannot be used here", "choose another encoder"),
    "precision-unsuitable": Meaning("this model cannot compute in that precision", "use float32"),
    "runtime-unsuitable": Meaning("this engine cannot run the model here, or gives other labels", "take another one"),
    "model-unsuitable": Meaning("the model cannot be used in this way", "see the message"),
    "device-missing": Meaning("the device is not there", "use cpu"),
    "package-missing": Meaning("an optional package is not installed or cannot be imported", "install it as told"),
}
_RECORDINGS = {
    "bag-missing": Meaning("there is no such bag", "check the path"),
    "bag-format": Meaning("the bag cannot be read", "record it anew or give another"),
    "bag-ambiguous": Meaning("the folder holds bags of several formats", "give one file"),
    "bag-empty": Meaning("the bag holds no message", "record it anew or give another"),
    "bag-sensor-missing": Meaning("the bag has no topic of a sensor", "name the topic, --topic"),
    "bag-topic-missing": Meaning("the bag has no such topic", "choose one of the topics listed"),
    "bag-topic-type": Meaning("the topic has another message type than its role takes", "name another topic"),
    "bag-no-sets": Meaning("the messages of the bag make no usable set", "any2seg bag inspect says more"),
    "fault-impossible": Meaning("the fault cannot be done to this sensor's messages", "choose among the listed"),
}
_TRUTH = {
    "truth-missing": Meaning("there is no truth", "name a truth topic or folder, or go without"),
    "truth-encoding": Meaning("the truth is no image of train ids", "name another truth or its coding"),
    "truth-size": Meaning("the truth shows another view than the labels", "give truth of the camera's own view"),
    "truth-ambiguous": Meaning("several truth images have one stamp", "give the folder of one recording"),
    "truth-unusable": Meaning("not one truth image can be used", "see the first reason"),
    "label-ids": Meaning("labels have ids that the label space has not", "give labels of this label space"),
}
_DATA = {
    "data-missing": Meaning("there is no such data set", "check the path"),
    "data-unrecognised": Meaning("the folder has the layout of no known data set", "say which with dataset="),
    "data-empty": Meaning("the split has no frame", "check split, cases and folders"),
    "data-unreadable": Meaning("not one frame can be read", "restore the files"),
    "data-unlabelled": Meaning("nothing of it is labelled", "give labelled data"),
    "frame-incomplete": Meaning("a frame lacks a file that others have", "restore it"),
    "file-ambiguous": Meaning("two files fit where one is meant", "make the pattern narrower or move one away"),
    "frame-unknown": Meaning("a list names a frame that the data set has not", "correct the list"),
    "pseudo-labels-missing": Meaning("pseudo labels are missing", "make them with training/pseudo_labels.py"),
    "embeddings-missing": Meaning("there are no teacher's embeddings", "make them with training/cache_teacher.py"),
    "embeddings-mismatch": Meaning("the embeddings are those of other data", "make them anew"),
    "captions-missing": Meaning("a frame has no caption", "describe every frame"),
}
_RUNS = {
    "teacher-unsure": Meaning("a teacher is sure of nothing in the data", "lower its floors, or take another teacher"),
    "resume-missing": Meaning("there is no training state", "start without resume=true"),
    "resume-format": Meaning("the file is no training state", "start without resume=true"),
    "resume-mismatch": Meaning("the training state is that of another run", "resume with the same settings"),
    "loss-not-finite": Meaning("the loss is NaN or infinite", "lower lr or look at the samples named"),
    "machine-mismatch": Meaning("two measurements come from different machines", "measure both on one machine"),
    "study-mismatch": Meaning("the runs of a study differ in what must be equal", "choose another out"),
    "process-failed": Meaning("a process that was started has failed", "see its output"),
    "process-killed": Meaning("a worker was killed, mostly for lack of memory", "use fewer workers"),
    "drive-too-short": Meaning("more is asked for than a simulated drive offers", "ask for less"),
    "address-unusable": Meaning("a port or an address cannot be listened at", "choose another --port, or --host"),
    "ros-domain-taken": Meaning("no ROS domain is free", "end other programs or set ROS_DOMAIN_ID"),
}
_FLEET = {
    "store-missing": Meaning("the folder holds no fleet store", "make one with any2seg fleet index"),
    "store-version": Meaning("the fleet store is of another version", "index into a new store"),
    "query-refused": Meaning("a question to the store is no single SELECT, or wrong SQL", "correct the part named"),
    "remote-unreachable": Meaning("a place on the network does not answer, or refuses", "check URL and credentials"),
    "store-damaged": Meaning("a file of the fleet store cannot be read", "index into a new store"),
    "cluster-unreachable": Meaning("no Ray cluster answers at that address", "start it, or check --address"),
    "recording-changed": Meaning("another recording lies where the index has one", "run any2seg fleet index again"),
    "recording-failed": Meaning("a recording ends the program that judges it", "see the message"),
}
_GEOMETRY_WAYS_OUT = {
    "transform": "publish it on /tf_static or /tf, or give a calibration file",
    "intrinsics": "publish the camera's camera_info, or give a calibration file",
}
_MESSAGES = {
    f"message-{reason}": Meaning(
        f"a message: {meaning}", _GEOMETRY_WAYS_OUT.get(reason, "correct the publisher; other messages go on")
    )
    for reason, meaning in MESSAGE_REASONS.items()
}

CODE_GROUPS = MappingProxyType(
    {
        "Files": _FILES,
        "Arguments and settings": _SETTINGS,
        "Arrays": _ARRAYS,
        "Sensors": _SENSORS,
        "Calibration": _CALIBRATION,
        "Checkpoints, models and packages": _CHECKPOINTS,
        "Recordings": _RECORDINGS,
        "Truth": _TRUTH,
        "Data sets": _DATA,
        "Training and other runs": _RUNS,
        "Fleets": _FLEET,
        "Messages": _MESSAGES,
    }
)
"""Title -> code -> meaning, in the order of docs/errors.md, which `scripts/make_error_docs.py` makes of it."""

CODES = MappingProxyType({code: meaning for group in CODE_GROUPS.values() for code, meaning in group.items()})
"""Code -> meaning, all of them."""

_OF_PYDANTIC = {
    "missing": "key-missing",
    "union_tag_not_found": "key-missing",
    "extra_forbidden": "key-unknown",
    "literal_error": "value-unknown",
    "union_tag_invalid": "value-unknown",
}
_RANGES = ("greater_than", "less_than", "finite_number", "multiple_of", "too_short", "too_long")


def code_of(error: Any) -> str:
    """Code of a UserError, or of the first complaint of a pydantic ValidationError."""
    return getattr(error, "code", None) or complaint_code(error.errors()[0])


def complaint_code(complaint: Mapping[str, Any]) -> str:
    """Code of one entry of ``ValidationError.errors()``; a UserError that a validator of ours raised keeps its own."""
    kind, inner = complaint["type"], complaint.get("ctx", {}).get("error")
    if code := getattr(inner, "code", None):
        return code
    if kind in _OF_PYDANTIC:
        return _OF_PYDANTIC[kind]
    if any(part in kind for part in _RANGES):
        return "value-range"
    return "value-type" if kind.endswith(("_type", "_parsing", "_from_float")) else "value-invalid"
