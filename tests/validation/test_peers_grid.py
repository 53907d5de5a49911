"""The program that times ONNX Runtime and OpenVINO beside torch.nn's layers, at small sizes."""

import pytest

from tests.speedup.peers.test_sessions import skip_without
from tests.validation import peers_grid
from tests.validation.fastest_grid import Place

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_place_of_the_grid_of_peers_is_clocked_and_compared() -> None:
    skip_without("onnx", "onnxruntime", "openvino")
    places = [Place(kind, 4, 2, 3, 1, "inference") for kind in ("LSTM", "GRU")]
    table = peers_grid.peers(1.0, places, blocks=2)
    assert (table["openvino, error"] < 1e-5).all()
    assert (table[["onnxruntime", "openvino, minimum"]] > 0).all(axis=None)
    assert list(peers_grid.summary(table)["module"]) == ["LSTM", "GRU"]
    assert len(peers_grid.PLACES) == 108
