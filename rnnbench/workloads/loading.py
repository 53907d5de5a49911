"""The phase `loading`: one call draws an epoch from a data set, and there is no model.

With `workers`, other processes load, each on a core of its own if there are enough. More processes than cores share
all cores, also that of the timed process.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from rnnbench.store.metrics import OBSERVED
from rnnbench.store.readings import Readings
from rnnbench.store.records import Case, Measurement
from rnnbench.workloads import calls
from rnnbench.workloads.data import Epochs, Samples, make
from rnnbench.workloads.phases import TimedCall
from rnnbench.workloads.prepare import torch_dtype
from rnnbench.workloads.referee import ParityError

# Why the metrics of a probe are missing: for every case, and for cases where other processes load.
MODEL_MISSING = {
    **dict.fromkeys(("model", "summary"), "loading has no model"),
    "saved": "loading trains nothing",
}
OTHERS_MISSING = dict.fromkeys(("calls", "device"), "other processes load")


@dataclass(frozen=True)
class Loading:
    """A data set from which a timed call is made."""

    case: Case
    dataset: Samples

    def timed_call(self) -> TimedCall:
        """The call for an epoch that reads every input."""
        epochs = Epochs(self.dataset, self.case.implementation, self.case.workload)

        def call() -> None:
            for inputs, _ in epochs:
                inputs.sum()  # otherwise, data in memory shared with other processes would not be fetched

        return TimedCall(call, torch.enable_grad, epochs.close)

    def observe(self, of_device: Callable[[TimedCall], Readings] = lambda _: Readings()) -> Measurement:
        """Check that the batches equal those loaded item by item, and count what a call does in this process.

        `of_device` observes what only the device's class can tell. Raises ParityError if a batch differs, and whatever
        the call raises.
        """
        work, parity = self.case.workload, "is the reference"
        if not self.case.is_reference:
            plain = Epochs(self.dataset, "per_item", replace(work, workers=0))
            mine = Epochs(self.dataset, self.case.implementation, work)
            for number, (batch, expected) in enumerate(zip(mine, plain, strict=True)):
                if not all(map(torch.equal, batch, expected)):
                    raise ParityError(f"batch {number} is not the one that comes item by item")
            parity = "agrees"
        readings, why = Readings(), MODEL_MISSING
        if work.workers:
            why = MODEL_MISSING | OTHERS_MISSING
        else:
            timed = self.timed_call()
            timed.call()  # the first call sets up much
            counts = calls.count(timed, torch.device(work.device))
            values = {name: counts[name] for name in ("operators", "allocations", "peak_bytes")}
            readings = Readings(values, {"macs": "loading multiplies nothing"}) | of_device(timed)
        missing = {metric.name: why[metric.probe] for metric in OBSERVED if metric.probe in why}
        missing = {name: reason for name, reason in missing.items() if name not in readings.values} | readings.missing
        return Measurement(self.case, "pending", parity=parity, metrics=readings.values, missing=missing)


def build(case: Case) -> Loading:
    """The data set that the case names."""
    name: Any = case.workload.reference  # a data set, as the suite has checked
    return Loading(case, make(name, case.workload, torch_dtype(case.workload.dtype)))
