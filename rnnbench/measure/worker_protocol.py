"""The version of the requests and replies that `rnnbench.measure.worker` documents."""

PROTOCOL_VERSION = 2
