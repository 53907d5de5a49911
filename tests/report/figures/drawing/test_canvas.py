from rnnbench.report.figures.drawing.canvas import legible, short


def test_numbers_below_an_axis_keep_both_ends_and_do_not_touch() -> None:
    assert legible([1, 32], 10) == [1, 32]
    assert legible([8], 10) == [8]
    kept = legible([1, 2, 4, 8, 16, 32, 64, 100, 128, 256, 512, 1000], 10)
    assert (kept[0], kept[-1]) == (1, 1000)
    assert not {100, 512} & set(kept)


def test_numbers_below_an_axis_that_goes_beyond_them_have_less_room() -> None:
    assert legible([187, 375, 750, 1500], 10) == [187, 375, 750, 1500]
    assert legible([187, 375, 750, 1500], 10, ends=(0.5, 3000)) == [187, 1500]


def test_a_long_name_keeps_both_ends() -> None:
    assert short("lstm loop") == "lstm loop"
    assert short(f"package.{'x' * 200}.cells:MyLSTM loop", 30) == "package.xx…x.cells:MyLSTM loop"
