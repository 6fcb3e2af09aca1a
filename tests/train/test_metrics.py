"""Metrics are what a later run, or TensorBoard, reads."""

import json
import struct

import numpy as np
from tensorboardX.proto.event_pb2 import Event

from lowdiff_jax.train.writer import MetricWriter


def test_lines_after_the_resumed_step_are_dropped(tmp_path):
  writer = MetricWriter(tmp_path)
  for step in (10, 20, 30):
    writer.write_scalars(step, {"loss": step / 10})
  writer.close()
  with (tmp_path / "metrics.jsonl").open("a") as file:
    file.write('{"step": 40, "lo')  # As a kill leaves it.
  writer = MetricWriter(tmp_path, start_step=20)
  writer.write_scalars(30, {"loss": 0.5})
  writer.close()
  lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
  assert [json.loads(line) for line in lines] == [
    {"step": 10, "loss": 1.0},
    {"step": 20, "loss": 2.0},
    {"step": 30, "loss": 0.5},
  ]


def test_tensorboard_events(tmp_path):
  writer = MetricWriter(tmp_path)
  writer.write_scalars(5, {"loss/8x8": 0.25})
  writer.write_image(5, "samples", np.zeros((4, 4, 3), np.uint8))
  writer.close()
  (file,) = (tmp_path / "tensorboard").iterdir()
  data, values = file.read_bytes(), {}
  while data:
    # A record: length, checksum, the event, checksum.
    (length,) = struct.unpack("<Q", data[:8])
    event = Event.FromString(data[12 : 12 + length])
    values.update({v.tag: (event.step, v) for v in event.summary.value})
    data = data[length + 16 :]
  step, loss = values["loss/8x8"]
  assert (step, loss.simple_value) == (5, 0.25)
  assert values["samples"][1].image.height == 4
