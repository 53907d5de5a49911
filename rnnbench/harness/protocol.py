"""What the coordinator and its workers have to agree on, beside what `rnnbench.harness.worker.loop` documents."""

PROTOCOL_VERSION = 5
NO_RANDOMIZATION = 0x0040000  # ADDR_NO_RANDOMIZE of personality(2), for pairs of workers
