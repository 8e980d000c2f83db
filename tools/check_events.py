"""Development only: TensorBoard's own reader on our event files.

    check_events.py RUN...      RUN/runs/events... must hold what RUN/metrics.jsonl says, step by step
    check_events.py golden FILE writes the file of tests/unit/test_events.c with TensorBoard's writer

Needs the tensorboard package."""
import json, os, sys
import numpy as np
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer.record_writer import RecordWriter


def scalars(path):
    a = EventAccumulator(path, size_guidance={"scalars": 0}, purge_orphaned_data=False)
    a.Reload()
    return {tag: [(x.step, x.value) for x in a.Scalars(tag)] for tag in a.Tags()["scalars"]}


def golden(path):
    rows = [(1, {"train/loss": 0.5, "train/epoch": 0.25}), (300, {"train/loss": -3, "train/rewards/chosen": 7}),
            (300, {"eval/loss": 1e10}), (70000, {"eval/rewards/margins": 0.1})]
    events = [Event(wall_time=1700000000.5, file_version="brain.Event:2")]
    for step, v in rows:
        values = [Summary.Value(tag=k, simple_value=x) for k, x in v.items()]
        events.append(Event(wall_time=1700000000.5, step=step, summary=Summary(value=values)))
    with open(path, "wb") as f:
        for e in events:
            RecordWriter(f).write(e.SerializeToString())


def check(path):
    want = {}
    for line in open(os.path.join(path, "metrics.jsonl")):
        row = json.loads(line)
        for k, v in row.items():
            if k != "step" and isinstance(v, (int, float)):
                tag = "eval/" + k[5:] if k.startswith("eval_") else "train/" + k
                want.setdefault(tag, []).append((row["step"], float(np.float32(v))))
    got = scalars(os.path.join(path, "runs"))
    assert got == want, f"{path}: {set(got) ^ set(want) or 'other numbers'}"
    print(path, len(got), "tags", sum(map(len, got.values())), "numbers: as in metrics.jsonl")


if sys.argv[1] == "golden":
    golden(sys.argv[2])
else:
    for path in sys.argv[1:]:
        check(path)
