import matplotlib.image
import numpy as np
import pytest
import torch

from saiki.plots.images import draw_rows, draw_sheet, tiled


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_laid_side_by_side_with_white_between_and_after_them(channels):
    images = torch.rand(5, channels, 4, 3)
    sheet = tiled(images, 2)
    assert sheet.shape == (3 * 4 + 2, 2 * 3 + 1, 3)
    fourth = images[3].expand(3, -1, -1).movedim(0, 2)
    np.testing.assert_array_equal(sheet[5:9, 4:7], fourth)
    assert (sheet[4] == 1).all()
    assert (sheet[:, 3] == 1).all()
    assert (sheet[10:, 4:] == 1).all()


def test_values_beyond_white_are_white():
    assert tiled(torch.full((1, 1, 2, 2), 7.0), 1).max() == 1


def test_rows_of_different_lengths_and_sheets_are_drawn(tmp_path):
    rows = {"few": torch.zeros(2, 3, 9, 7), "of another name": torch.rand(5, 3, 9, 7)}
    for path in (
        draw_rows(tmp_path / "rows.png", rows, "title"),
        draw_sheet(tmp_path / "sheet.png", torch.rand(5, 1, 2, 30), 2),
    ):
        picture = matplotlib.image.imread(path)[..., :3]
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 10
