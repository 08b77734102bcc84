"""The classifier that looks at images."""

import torch

from saiki.models.image_judge import ImageJudge


def test_it_tells_classes_apart_and_is_always_the_same():
    labels = torch.arange(64) % 2
    pixels = torch.randint(0, 60, (64, 3, 9, 7), dtype=torch.uint8)
    pixels[labels == 1, :, :, :3] += 150
    before = torch.get_rng_state()
    with torch.no_grad():  # as it is used
        judge = ImageJudge.fitted(pixels, labels, 2, 40)
    assert torch.equal(torch.get_rng_state(), before)
    features = judge.features(pixels / 255)
    assert features.shape == (64, 64)
    assert torch.equal(judge.classifier(pixels / 255).argmax(1), labels)
    repeated = ImageJudge.fitted(pixels, labels, 2, 40)
    assert torch.equal(repeated.features(pixels / 255), features)
