"""A map of words shows what it was given, and no label lies on another."""

import itertools
import sys
import warnings

import numpy as np
import pytest
from matplotlib.text import Annotation

from saiki.errors import InputError
from saiki.plots.words import draw_words, plane

WORDS = [*(f"word{i}" for i in range(60)), "日本", "東京", "猫", "$x_1$", "\x07", "ก็"]


def drawn_matrix(rows=66, size=5):
    return np.random.default_rng(0).normal(size=(rows, size)).astype(np.float32)


def labels(figure):
    return [each for each in figure.axes[0].texts if isinstance(each, Annotation)]


def overlap(a, b):
    return min(a.x1, b.x1) > max(a.x0, b.x0) and min(a.y1, b.y1) > max(a.y0, b.y0)


@pytest.mark.parametrize(("crowd", "least", "most"), [(1.0, 60, 66), (0.02, 5, 20)])
def test_labels_lie_beside_their_dots_and_on_nothing_else(figures, tmp_path, crowd, least, most):
    matrix = drawn_matrix()
    matrix[3:] = matrix[3] + crowd * matrix[3:]
    draw_words(tmp_path / "x.png", WORDS, matrix)
    (figure,) = figures
    figure.set_dpi(120)  # as it is saved
    figure.draw_without_rendering()
    axes = figure.axes[0]
    dots = axes.transData.transform(axes.collections[0].get_offsets())
    boxes = {label.get_text(): label.get_window_extent() for label in labels(figure)}
    assert "word0" in boxes
    assert least <= len(boxes) <= most
    for one, other in itertools.combinations(boxes.values(), 2):
        assert not overlap(one, other)
    for label in labels(figure):
        box = label.get_window_extent()
        assert axes.get_window_extent().count_contains([box.min, box.max]) == 2
        assert not box.count_contains(dots)
        near = np.clip(axes.transData.transform(label.xy), box.min, box.max)
        assert np.linalg.norm(axes.transData.transform(label.xy) - near) < 10


def test_the_first_words_are_labelled_before_others(figures, tmp_path):
    draw_words(tmp_path / "x.png", ["first", "second", "third"] * 20, np.ones((60, 3)))
    shown = [label.get_text() for label in labels(figures[0])]
    assert shown == ["first", "second", "third", "first"][: len(shown)]
    assert len(shown) < 10
    colours = figures[0].axes[0].collections[0].get_facecolors()
    assert len(np.unique(colours, axis=0)) == 2


def test_the_same_words_make_the_same_picture(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a glyph that is missing would be a warning
        one, two = (
            draw_words(tmp_path / f"{i}.png", WORDS, drawn_matrix(), title="words").read_bytes()
            for i in range(2)
        )
    assert one == two
    assert len(one) > 10_000


def test_principal_components_are_those_of_scikit_learn():
    from sklearn.decomposition import PCA

    matrix = drawn_matrix()
    model = PCA(2)
    unit = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    wanted = model.fit_transform(unit)
    points, names = plane(matrix)
    signs = np.sign((points * wanted).sum(0))
    np.testing.assert_allclose(points, wanted * signs, atol=1e-5)
    for name, share in zip(names, model.explained_variance_ratio_, strict=True):
        assert name.endswith(f", {share:.0%} of the variance")
    assert all(points[np.abs(points).argmax(0), range(2)] > 0)


def test_few_words_or_numbers_have_a_place_too(figures, tmp_path):
    for rows, size in ((1, 3), (2, 1), (3, 1), (1, 1)):
        draw_words(tmp_path / "x.png", WORDS[:rows], np.ones((rows, size)))
    assert np.isfinite(plane(np.zeros((4, 3)))[0]).all()


def test_neighbours_stay_together_in_the_map_tsne():
    matrix = np.eye(3, 8)[np.arange(30) % 3] + 0.05 * drawn_matrix(30, 8)
    points, _ = plane(matrix, "tsne")
    distances = np.linalg.norm(points[:, None] - points, axis=2) + 1e9 * np.eye(30)
    assert (distances.argmin(1) % 3 == np.arange(30) % 3).all()
    np.testing.assert_array_equal(points, plane(matrix, "tsne")[0])


def test_what_cannot_be_drawn_is_told(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"^the maps of words are pca and tsne, got 'umap'$"):
        plane(drawn_matrix(), "umap")
    with pytest.raises(InputError, match="needs 5 words at least, got 4"):
        plane(drawn_matrix(4), "tsne")
    with pytest.raises(InputError, match="needs a word at least"):
        draw_words(tmp_path / "x.png", [], np.zeros((0, 3)))
    with pytest.raises(InputError, match="2 words need as many vectors, got 3"):
        draw_words(tmp_path / "x.png", ["a", "b"], np.zeros((3, 3)))
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    with pytest.raises(InputError, match=r"needs scikit-learn: pip install 'saiki\[maps\]'"):
        plane(drawn_matrix(), "tsne")
