"""The scene task: mirrored features, processes that find what carries the targets, honest intervals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from affectus.metrics import pcc
from affectus.nn.efficientnet import EfficientNetLite, LiteConfig
from affectus.nn.phase import Phase
from affectus.training.embedded.scene import SceneData, SceneFeatures, SceneNet, SceneTask
from affectus.training.embedded.scene_run import NORMAL_95, ShippedScene, cross_validate, score
from affectus.training.loop import fit
from affectus.training.recipe import Recipe

PHASE = Phase("hyper-parameters", 25, 0.1, 1, weight_decay=0.0, clip=0.0)


def planted(count: int = 150, seed: int = 0, noise: float = 0.1) -> SceneData:
    """Valence follows block 0, arousal block 2; block 1 means nothing. Ten themes."""
    random = np.random.default_rng(seed)
    blocks = tuple(random.normal(3, 2, (count, d)).astype(np.float32) for d in (3, 5, 2))
    valence = 0.15 * (blocks[0][:, 0] - 3) + noise * random.normal(size=count)
    arousal = 0.3 * np.sin(blocks[2][:, 1]) + noise * random.normal(size=count)
    targets = np.stack([valence, arousal], 1).astype(np.float32)
    return SceneData(blocks, targets, np.array([f"theme {i % 10}" for i in range(count)]))


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> SceneTask:
    task = SceneTask(planted(), planted(200, 1))
    fit(task, [PHASE], tmp_path_factory.mktemp("scene"))
    return task


def test_learning_beats_features_without_meaning(learned: SceneTask, tmp_path: Path) -> None:
    metrics = learned.validate(learned.model)
    known = learned.net, planted()
    order = np.random.default_rng(0).permutation(150)
    blind = SceneTask(SceneData(known[1].blocks, known[1].targets[order], known[1].theme), learned.validation)
    fit(blind, [PHASE], tmp_path)
    shuffled = blind.validate(blind.model)
    for name in ("pcc_valence", "pcc_arousal"):
        assert metrics[name] > 0.85
        assert metrics[name] > shuffled[name] + 0.5


def test_intervals_of_new_pictures_hold_their_share(learned: SceneTask) -> None:
    new = learned.validation
    with torch.no_grad():
        found = learned.net.solve()(torch.from_numpy(new.matrix())).numpy()
    inside = np.abs(found[:, :, 0] - new.targets) < NORMAL_95 * found[:, :, 1]
    assert found.shape == (200, 2, 2)
    assert (found[:, :, 1] > 0.05).all()
    assert 0.88 <= inside.mean() <= 0.99


def test_scale_and_offset_of_features_do_not_matter() -> None:
    data, new = planted(40), planted(5, 1)
    moved = [SceneData(tuple(10 * b - 7 for b in d.blocks), d.targets, d.theme) for d in (data, new)]
    with torch.no_grad():
        first = SceneNet(data).solve()(torch.from_numpy(new.matrix()))
        second = SceneNet(moved[0]).solve()(torch.from_numpy(moved[1].matrix()))
    torch.testing.assert_close(first, second, atol=2e-3, rtol=1e-2)


def test_a_target_that_never_changes_is_no_trouble() -> None:
    data = planted(30)
    data.targets[:, 1] = 0.25
    with torch.no_grad():
        found = SceneNet(data).solve()(torch.from_numpy(data.matrix()))
    assert torch.isfinite(found).all()
    torch.testing.assert_close(found[:, 1, 0], torch.full((30,), 0.25), atol=1e-3, rtol=0)


def test_without_validation_pictures_nothing_is_validated() -> None:
    data = planted(30)
    task = SceneTask(data, data[np.arange(0)])
    assert task.validate(task.model) == {}


@pytest.fixture(scope="module")
def features() -> SceneFeatures:
    torch.manual_seed(0)
    return SceneFeatures(EfficientNetLite(LiteConfig.tiny(), drop_path=0.0), (1, 3)).eval()


def test_features_do_not_see_left_and_right(features: SceneFeatures) -> None:
    pixels, large = torch.rand(2, 3, 32, 32) * 255, torch.rand(2, 3, 48, 48) * 255
    with torch.no_grad():
        last, earlier = features(pixels, large)
        mirrored = features(pixels.flip(3), large.flip(3))
    assert last.shape == (2, 32)
    assert earlier.shape == (2, 16 + 24 + 2 * 32)
    torch.testing.assert_close(last, mirrored[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(earlier, mirrored[1], atol=1e-5, rtol=1e-4)
    with torch.no_grad():
        alone = features(pixels[1:], large[1:])
    torch.testing.assert_close(alone[1][0], earlier[1], atol=1e-5, rtol=1e-4)


def test_the_shipped_form_is_features_then_processes(features: SceneFeatures) -> None:
    random = np.random.default_rng(0)
    pixels, colours = torch.rand(12, 3, 32, 32) * 255, torch.from_numpy(random.random((12, 4), np.float32))
    large, faces = torch.rand(12, 3, 48, 48) * 255, torch.from_numpy(random.random((12, 5), np.float32))
    with torch.no_grad():
        last, earlier = features(pixels, large)
    blocks = tuple(part.numpy() for part in (last, earlier, colours, faces))
    data = SceneData(blocks, planted(12).targets, planted(12).theme)
    net = SceneNet(data).solve()
    with torch.no_grad():
        found = ShippedScene(features, net)(pixels[:3], large[:3], colours[:3], faces[:3])
        wanted = net(torch.from_numpy(data.matrix()[:3]))
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-3)


def recipe(**options: object) -> Recipe:
    phase = Phase("hyper-parameters", 4, 0.1, 1, weight_decay=0.0, clip=0.0)
    return Recipe(model="scene", title="t", corpora={"oasis": "all"}, phases=[phase], options=options)


def test_themes_are_predicted_by_processes_that_did_not_see_them(tmp_path: Path) -> None:
    """Each theme has its own constant, so only a process that saw the theme could know it."""
    data = planted(60)
    own = dict(zip(np.unique(data.theme), np.random.default_rng(5).uniform(-1, 1, 10), strict=True))
    flags = np.stack([(data.theme == name).astype(np.float32) for name in own], 1)
    targets = np.stack([[own[name] for name in data.theme]] * 2, 1).astype(np.float32)
    secret = SceneData((flags, data.blocks[0]), targets, data.theme)
    outputs = cross_validate(recipe(folds=5), secret, tmp_path)
    assert pcc(targets[:, 0], outputs[:, 0, 0]) < 0.3
    assert len(list(tmp_path.glob("fold*"))) == 5


def test_there_are_no_more_folds_than_themes(tmp_path: Path) -> None:
    data = planted(30)
    few = SceneData(data.blocks, data.targets, np.array([f"theme {i % 3}" for i in range(30)]))
    outputs = cross_validate(recipe(folds=10), few, tmp_path)
    assert len(list(tmp_path.glob("fold*"))) == 3
    assert (outputs[:, :, 1] > 0).all()


def test_the_interval_factor_holds_95_percent() -> None:
    data = planted(400)
    random = np.random.default_rng(0)
    deviation = np.full((400, 2), 0.05)
    # Errors are twice as wide as the deviations say.
    outputs = np.stack([data.targets + 2 * deviation * random.normal(size=(400, 2)), deviation], 2)
    fields = score(data, outputs)
    assert fields["calibration"]["interval_factor"] == pytest.approx(2 * NORMAL_95, rel=0.1)
    assert fields["calibration"]["coverage_normal_valence"] == pytest.approx(0.67, abs=0.06)
    error = np.abs(outputs[:, :, 0] - data.targets) / deviation
    assert (error <= fields["calibration"]["interval_factor"]).mean() == pytest.approx(0.95, abs=0.002)
    assert fields["n"] == 400
    assert fields["baselines"]["mean_mae_valence"] > fields["metrics"]["mae_valence"]["value"]
