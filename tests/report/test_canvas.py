from rnnbench.report.canvas import legible


def test_numbers_below_an_axis_keep_both_ends_and_do_not_touch() -> None:
    assert legible([1, 32], 10) == [1, 32]
    assert legible([8], 10) == [8]
    kept = legible([1, 2, 4, 8, 16, 32, 64, 100, 128, 256, 512, 1000], 10)
    assert (kept[0], kept[-1]) == (1, 1000)
    assert not {100, 512} & set(kept)
