import numpy as np
import pytest
import torch

from saiki.plots.latent import Plane, draw_course, draw_plane


@pytest.mark.parametrize("prior", [True, False])
@pytest.mark.parametrize("classes", [1, 3, 40])
def test_codes_and_what_is_decoded_share_their_coordinates(tmp_path, figures, prior, classes):
    at = ([-2.0, 0.0, 2.0], [10.0, 11.0, 12.0])
    codes = np.array([[1.0, 10.5]] * classes)
    names = [f"class {i}" for i in range(classes)]
    plane = Plane(codes, np.arange(classes), names, (0, 4), torch.rand(9, 1, 5, 5), at, prior)
    draw_plane(tmp_path / "plane.png", plane, "title")
    [figure] = figures
    left, right = figure.axes
    assert right.images[0].get_extent() == [-3.0, 3.0, 9.5, 12.5]  # 0 lies in a middle
    assert (left.get_xlabel(), left.get_ylabel()) == ("unit 1", "unit 5")
    assert len(left.lines) == 1 + 2 * prior
    assert len(figure.legends) == (1 < classes <= 20)


@pytest.mark.parametrize("classes", [10, 11, 20])
def test_classes_of_the_legend_have_colours_of_their_own(tmp_path, figures, classes):
    codes, names = np.zeros((classes, 2)), [f"class {i}" for i in range(classes)]
    at = ([-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0])
    plane = Plane(codes, np.arange(classes), names, (0, 1), torch.rand(9, 1, 5, 5), at, False)
    draw_plane(tmp_path / "plane.png", plane)
    clouds = figures[0].axes[0].collections
    assert len({tuple(cloud.get_facecolor()[0]) for cloud in clouds}) == classes


def test_the_course_shows_both_parts_of_the_loss_and_the_units(tmp_path, figures):
    points = [
        {"step": i, "reconstruction": 9.0 - i, "validation_reconstruction": 9.5 - i,
         "kl": float(i), "validation_kl": i + 0.5, "active_units": 2.0}
        for i in (1, 2, 3)
    ]  # fmt: skip
    draw_course(tmp_path / "course.png", points, [0.1, 2.0, 1.0])
    upper_left, upper_right, below, units = figures[0].axes
    assert [line.get_ydata()[-1] for line in upper_left.lines] == [6.0, 6.5]
    assert [line.get_ydata()[-1] for line in upper_right.lines] == [3.0, 3.5]
    assert list(below.lines[0].get_xdata()) == [1, 2, 3]
    assert [bar.get_height() for bar in units.patches] == [2.0, 1.0, 0.1]


def test_a_course_of_one_point_is_drawn(tmp_path):
    path = draw_course(tmp_path / "course.png", [{"step": 1, "kl": 1.0}], [1.0])
    assert path.read_bytes()[:4] == b"\x89PNG"
