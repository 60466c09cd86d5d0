from collections import OrderedDict
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from automm.building import build_solver, fit_preprocessors, incompatible
from automm.data.split import take
from automm.errors import OutOfRange, TrialFailed
from automm.tasks.regression import Regression
from automm.testing.onnx_parity import require_same_in_onnx
from automm.training import checkpoint, closed_form, head_rows, kernel_head, ridge
from automm.training.closed_form import ClosedForm
from automm.training.evaluate import fused_blocks, scores
from automm.training.kernel_head import KernelHead

METHODS = ("ridge", "kernel_ridge", "nearest_class_mean")


def fused(model, part):
    """What the head reads of every row, in the table's order."""
    blocks = list(fused_blocks(model, part, batch_size=16))
    order = np.argsort(np.concatenate([at for at, _ in blocks]))
    return np.concatenate([x for _, x in blocks])[order]


@pytest.mark.parametrize("method", METHODS)
def test_what_is_solved_is_a_model_like_any_other(bench, candidate, save_to, method):
    options = {"method": method, "solver": "closed_form", "supports": 100}
    result, model, reports = bench.fit(candidate(**options), save_to=save_to)
    assert result.finished
    assert (result.epochs, result.best_epoch) == (1, 1)
    assert reports == [(1, result.values)]
    assert result.values["loss"] <= np.log(2) + 0.1  # scores are calibrated: never much worse than knowing nothing
    again, same, _ = bench.fit(candidate(**options))
    assert again.values == result.values
    job = bench.job(candidate(**options))
    checkpoint.load_weights(job.model, checkpoint.weights(model))
    left = scores(job.model, bench.task, job.valid, batch_size=7)
    assert np.array_equal(left, scores(same, bench.task, job.valid, batch_size=7))


def test_the_kernel_machine_finds_what_needs_both_fields(bench, candidate):
    kernel, _, _ = bench.fit(candidate(solver="closed_form", method="kernel_ridge", l2=1e-4))
    assert kernel.values["accuracy"] > 0.8


@pytest.mark.parametrize("scaling", ["unit", "standard"])
def test_the_head_is_the_ridge_of_scikit_learn(gappy, candidate, monkeypatch, scaling):
    monkeypatch.setattr(closed_form, "_calibrated", lambda *_: (2.0, np.array([0.0, 0.5])))
    chosen = candidate(solver="closed_form", method="ridge", l2=0.1, scaling=scaling)
    _, model, _ = gappy.fit(chosen)
    x_ND = fused(model, gappy.job(chosen).train)
    y_NC = gappy.task.perfect(gappy.train)
    alpha = 0.1 * len(x_ND) * x_ND.var(0).sum()
    expected_NC = Ridge(alpha=alpha).fit(x_ND, y_NC).predict(x_ND)
    logits_NC = model.heads[0](torch.from_numpy(x_ND)).detach().numpy()
    np.testing.assert_allclose(logits_NC, 2 * expected_NC + [0.0, 0.5], atol=4e-3)


@pytest.mark.parametrize("scaling", ["unit", "standard"])
def test_fields_are_centred_on_rows_that_have_them_and_weighed(gappy, candidate, scaling):
    chosen = candidate(solver="closed_form", scaling=scaling, image_weight=2.0)
    _, model, _ = gappy.fit(chosen)
    x_ND = fused(model, gappy.job(chosen).train)
    for field, part, weight in (("image", slice(0, 8), 2.0), ("question", slice(8, 16), 1.0)):
        has = gappy.train.columns[field].index >= 0
        np.testing.assert_allclose(x_ND[~has, part], 0.0, atol=1e-5)
        lengths = np.linalg.norm(x_ND[has, part], axis=1)
        if scaling == "unit":
            np.testing.assert_allclose(lengths, weight, rtol=1e-4)
        else:
            np.testing.assert_allclose(x_ND[has, part].mean(0), 0.0, atol=1e-4)
            np.testing.assert_allclose((lengths**2).mean(), weight**2, rtol=1e-3)


def test_a_modality_of_weight_zero_is_left_out(bench, candidate):
    _, model, _ = bench.fit(candidate(solver="closed_form", image_weight=0.0))
    job = bench.job(candidate(solver="closed_form"))
    found = scores(model, bench.task, job.valid, batch_size=16)
    questions = bench.valid.columns["question"].index
    for question in range(3):
        rows = found[questions == question]
        np.testing.assert_allclose(rows, np.broadcast_to(rows[0], rows.shape), atol=1e-5)
    with pytest.raises(TrialFailed, match="nothing is left"):
        bench.fit(candidate(solver="closed_form", image_weight=0.0, text_weight=0.0))
    for image, text in ((0.0, 0.0), (0.0, 0.5), (1.0, 0.0)):
        chosen = candidate(solver="closed_form", image_weight=image, text_weight=text)
        assert (build_solver(chosen).refuses(chosen) is None) is bool(image or text)


@pytest.mark.parametrize("l2", [0.05, 1e-8])  # with the least a fit goes through its rows
def test_with_all_rows_as_supports_the_kernel_machine_is_exact(l2):
    rng = np.random.default_rng(0)
    x_ND, y_NC, weight_N = rng.normal(size=(14, 3)), rng.normal(size=(14, 2)), rng.uniform(1, 2, 14)
    kernel_NN = ridge.gaussian(x_ND, x_ND, 0.3)
    solved = ridge.solve_kernel(kernel_NN.copy(), y_NC, weight_N, l2)
    penalty_NN = np.diag(l2 * weight_N.sum() / weight_N)
    np.testing.assert_allclose((kernel_NN + penalty_NN) @ solved.weight_NC + solved.bias_C, y_NC, atol=1e-6)
    np.testing.assert_allclose(solved.weight_NC.sum(0), 0.0, atol=1e-6 * np.abs(solved.weight_NC).max())
    for row in (0, 9):
        rest = np.arange(14) != row
        same = l2 * weight_N.sum() / weight_N[rest].sum()  # as penalty of each row that is left
        without = ridge.solve_kernel(kernel_NN[np.ix_(rest, rest)], y_NC[rest], weight_N[rest], same)
        expected = kernel_NN[row, rest] @ without.weight_NC + without.bias_C
        np.testing.assert_allclose(solved.left_out_NC[row], expected, rtol=1e-4)


@pytest.mark.parametrize("options", [
    {"method": "ridge", "scaling": "standard"},
    {"method": "kernel_ridge", "supports": 20, "balanced": True},  # fewer than there are rows
    {"method": "kernel_ridge"},
    {"method": "nearest_class_mean"},
], ids=lambda options: "-".join(map(str, options.values())))  # fmt: skip
def test_rows_that_do_not_fit_into_memory_are_kept_in_a_file_or_read_again(
    gappy, candidate, monkeypatch, tmp_path, options
):
    chosen = candidate(solver="closed_form", **options)
    passes, read = [], head_rows.fused_blocks

    def found(save_to):
        passes.clear()
        _, model, _ = gappy.fit(chosen, save_to=save_to)
        return scores(model, gappy.task, gappy.job(chosen).valid, batch_size=16)

    monkeypatch.setattr(head_rows, "fused_blocks", lambda *a, **more: passes.append(1) or read(*a, **more))
    monkeypatch.setattr(head_rows, "_ENCODED", 16)
    kept = found(None)
    monkeypatch.setattr(head_rows, "IN_MEMORY", 0)
    again = found(None)
    assert len(passes) > 1
    filed = found(tmp_path / "state.safetensors")
    assert len(passes) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["state.safetensors"]
    monkeypatch.setattr(head_rows, "_FREE", 1 << 60)  # no disk has as much
    full = found(tmp_path / "state.safetensors")
    assert len(passes) > 1
    for other in (again, filed, full):
        np.testing.assert_allclose(other, kept, atol=1e-4)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
def test_where_the_disk_is_full_after_all_rows_are_read_again(gappy, candidate, monkeypatch, tmp_path):
    chosen = candidate(solver="closed_form", method="ridge")
    _, model, _ = gappy.fit(chosen)
    kept = scores(model, gappy.task, gappy.job(chosen).valid, batch_size=16)
    monkeypatch.setattr(head_rows, "IN_MEMORY", 0)
    monkeypatch.setattr(head_rows, "unnamed_file", lambda *_, **__: Path("/dev/full").open("r+b", buffering=0))  # noqa: SIM115
    _, model, _ = gappy.fit(chosen, save_to=tmp_path / "state.safetensors")
    np.testing.assert_allclose(scores(model, gappy.task, gappy.job(chosen).valid, batch_size=16), kept, atol=1e-4)


@pytest.mark.parametrize(("few", "among"), [(True, True), (True, False), (False, True)])
def test_few_rows_of_many_features_stay_in_memory(bench, candidate, monkeypatch, tmp_path, few, among):
    job = bench.job(candidate(solver="closed_form", method="ridge"))
    model, table = job.model, take(bench.train, np.arange(16 if few else 17))
    assert sum(model.fusion.parts) == 16
    monkeypatch.setattr(head_rows, "IN_MEMORY", 4 * 16 * 8)
    part = bench.part(table, fit_preprocessors(candidate(), table.schema, table))
    with closing(head_rows.HeadRows(model, part, standard=False, folder=tmp_path, among=among)) as rows:
        assert (rows.kept_TD is not None) == (few and among)


def prices(table):
    """A number that the image's colour decides, far from zero."""
    price = {"red": 10_000.0, "green": 10_100.0, "blue": 10_300.0}
    return replace(table, targets=[price[colour] for colour in table.groups["colour"]])


@pytest.mark.parametrize("method", ["ridge", "kernel_ridge"])
def test_numbers_are_regressed_in_their_own_unit(bench, candidate, method):
    numbers = type(bench)(prices(bench.train), prices(bench.valid), Regression())
    result, _, _ = numbers.fit(candidate(solver="closed_form", method=method, l2=1e-3))
    mean = numbers.task.metrics(numbers.task.majority(numbers.train, len(numbers.valid)), numbers.valid)
    assert result.values["rmse"] < 0.5 * mean["rmse"]
    balanced, _, _ = numbers.fit(candidate(solver="closed_form", method=method, l2=1e-3, balanced=True))
    assert balanced.values == result.values  # there are no classes to balance


def test_numbers_have_no_class_means(bench, candidate):
    numbers = type(bench)(prices(bench.train), prices(bench.valid), Regression())
    with pytest.raises(TrialFailed, match="nearest_class_mean needs classes"):
        numbers.fit(candidate(solver="closed_form", method="nearest_class_mean"))


def test_left_out_predictions_are_those_of_fits_without_the_row():
    rng = np.random.default_rng(0)
    x_ND, y_NC, weight_N = rng.normal(size=(12, 3)), rng.normal(size=(12, 2)), rng.uniform(1, 2, 12)
    halves = [(x_ND[part], y_NC[part], weight_N[part]) for part in (slice(0, 7), slice(7, 12))]
    solved = ridge.solve(np.asarray, halves, 0.3)
    total = weight_N.sum()
    for row in (0, 5):
        rest = np.arange(12) != row
        less = weight_N[rest].sum()
        without = ridge.solve(np.asarray, [(x_ND[rest], y_NC[rest], weight_N[rest])], 0.3 * total / less)
        left_out = solved.left_out(y_NC, weight_N, *solved.errors(x_ND, y_NC))[row]
        np.testing.assert_allclose(left_out, x_ND[row] @ without.weight_PC + without.bias_C, rtol=1e-6)


@pytest.mark.parametrize("supports", [1, 7, 8, 20])
def test_a_kernel_machine_reads_its_supports_some_at_a_time(monkeypatch, supports):
    monkeypatch.setattr(kernel_head, "_AT_ONCE", 7)
    torch.manual_seed(0)
    head = KernelHead(3, 2, supports=supports)
    head.supports_SD.normal_()
    head.weight_SC.normal_()
    x_ND = torch.randn(5, 3)
    kernel_NS = ridge.gaussian(x_ND.numpy(), head.supports_SD.numpy(), 1.0)
    np.testing.assert_allclose(head(x_ND).numpy(), kernel_NS @ head.weight_SC.numpy(), atol=1e-6)


def test_products_of_nystroem_features_are_the_kernel():
    rng = np.random.default_rng(0)
    x_ND = rng.normal(size=(40, 3))
    supports_SD = np.concatenate([x_ND, x_ND[:2]])  # two of which are there twice
    features = ridge.Nystroem(supports_SD, ridge.gaussian(supports_SD, supports_SD, 0.3), 0.3)
    kernel_NN = ridge.gaussian(x_ND, x_ND, 0.3)
    np.testing.assert_allclose(features(x_ND) @ features(x_ND).T, kernel_NN, atol=1e-6)
    weight_SC = rng.normal(size=(42, 2))
    expected = ridge.gaussian(x_ND, supports_SD, 0.3) @ features.on_kernel(weight_SC)
    np.testing.assert_allclose(features(x_ND) @ weight_SC, expected, rtol=1e-6)
    y_NC, weight_N = rng.normal(size=(40, 2)), rng.uniform(1, 2, 40)
    solved = ridge.solve(features, [(x_ND[:30], y_NC[:30], weight_N[:30]), (x_ND[30:], y_NC[30:], weight_N[30:])], 0.1)
    exact = ridge.solve_kernel(kernel_NN.copy(), y_NC, weight_N, 0.1)
    fitted = features(x_ND) @ solved.weight_PC + solved.bias_C
    np.testing.assert_allclose(fitted, kernel_NN @ exact.weight_NC + exact.bias_C, atol=1e-5)
    np.testing.assert_allclose(
        solved.left_out(y_NC, weight_N, *solved.errors(x_ND, y_NC)), exact.left_out_NC, atol=1e-5
    )


def test_few_rows_of_many_features_have_the_same_ridge():
    rng = np.random.default_rng(0)
    x_ND, y_NC, weight_N = rng.normal(2, 1, size=(12, 30)), rng.normal(size=(12, 2)), rng.uniform(1, 2, 12)
    expected = ridge.solve(np.asarray, [(x_ND, y_NC, weight_N)], 0.3)
    solved = ridge.solve_kernel(x_ND @ x_ND.T, y_NC, weight_N, 0.3)
    np.testing.assert_allclose(x_ND.T @ solved.weight_NC, expected.weight_PC, atol=1e-12)
    np.testing.assert_allclose(solved.bias_C, expected.bias_C, atol=1e-12)
    np.testing.assert_allclose(
        solved.left_out_NC, expected.left_out(y_NC, weight_N, *expected.errors(x_ND, y_NC)), atol=1e-10
    )


def test_a_penalty_too_small_for_the_rows_fails_the_trial():
    same_NN = np.ones((4, 4))
    with pytest.raises(TrialFailed, match=r"training\.l2 is too small"):
        ridge.solve_kernel(same_NN, np.eye(4), np.ones(4), 0.0)


def test_products_of_rows_are_those_of_what_the_head_reads(gappy, candidate, monkeypatch):
    remembered = OrderedDict()
    monkeypatch.setattr(head_rows, "_remembered", remembered)

    def read(weight, *, standard=False):
        job = gappy.job(candidate(solver="closed_form", image_weight=weight))
        rows = head_rows.HeadRows(job.model, job.train, standard=standard)
        expected = rows.kept_TD.astype(np.float64) @ rows.kept_TD.astype(np.float64).T
        np.testing.assert_allclose(rows.products(), expected, atol=1e-5)
        return {id(each) for each in remembered.values()}

    once = read(1.0)
    first = list(remembered.values())  # held, so that no other array gets their places
    assert len(once) == 2, "one a field"
    assert read(0.25) == read(0.0) == read(1.0) == once, "computed once, whatever a field counts"
    monkeypatch.setattr(head_rows, "_REMEMBERED", first[0].nbytes)
    assert len(read(1.0, standard=True) - once) == 1, "the bound holds one, and the last used stays"
    monkeypatch.setattr(head_rows, "_REMEMBERED", 0)
    remembered.clear()
    assert read(1.0) == set()


def test_a_kernel_machine_keeps_no_more_supports_than_it_has_rows(bench, candidate, save_to):
    chosen = candidate(solver="closed_form", method="kernel_ridge")
    _, model, _ = bench.fit(chosen, save_to=save_to)
    assert len(model.heads[0].supports_SD) == len(bench.train)
    again = bench.job(chosen)
    checkpoint.load_weights(again.model, checkpoint.read(save_to).tensors["model"])
    left, right = (scores(m, bench.task, again.valid, batch_size=16) for m in (model, again.model))
    assert np.array_equal(left, right)


def test_balanced_ridge_does_not_forget_a_rare_class(bench, candidate):
    bench.train.targets[:] = ["yes"] * 44 + ["no"] * 4
    options = {"solver": "closed_form", "method": "ridge", "l2": 10.0}
    task, job = bench.task, bench.job(candidate(**options))
    _, plain, _ = bench.fit(candidate(**options))
    _, balanced, _ = bench.fit(candidate(**options, balanced=True))
    rare = task.labels.index("no")
    plain_B, balanced_B = (scores(m, task, job.valid, batch_size=16)[:, rare] for m in (plain, balanced))
    assert (balanced_B > 0.5).sum() > (plain_B > 0.5).sum()


def test_the_kernel_head_is_its_formula():
    head = KernelHead(3, 2, supports=4)
    with torch.no_grad():
        for buffer in head.buffers():
            buffer.copy_(torch.rand(buffer.shape) + 0.5)
    x_BD = torch.randn(5, 3)
    kernel_BS = torch.exp(-head.gamma * torch.cdist(x_BD.double(), head.supports_SD.double()) ** 2)
    torch.testing.assert_close(head(x_BD), (kernel_BS @ head.weight_SC + head.bias_C).float())


def test_the_kernel_head_is_the_same_function_in_onnx():
    head = KernelHead(3, 2, supports=4)
    with torch.no_grad():
        for buffer in head.buffers():
            buffer.copy_(torch.rand(buffer.shape) + 0.5)
    example, others = {"x": torch.randn(2, 3)}, [{"x": torch.randn(rows, 3)} for rows in (1, 7)]
    require_same_in_onnx(head, example, {"x": {0: "batch"}}, others)


def test_only_a_concatenation_goes_with_it(bench, candidate):
    chosen = {**candidate(solver="closed_form"), "fusion.name": "film"}
    del chosen["fusion.options.concat.hidden"]
    specs = [encoder.spec for encoder in bench.job(candidate(solver="closed_form")).model.encoders]
    reason = incompatible(chosen, specs)
    assert reason == "closed_form trains no fusion, and fusion.name=film must be trained; it goes with concat."
    assert incompatible(candidate(solver="closed_form"), specs) is None


def test_features_that_are_no_numbers_fail_the_trial(bench, candidate):
    chosen = candidate(solver="closed_form")
    job = bench.job(chosen)
    with torch.no_grad():
        job.model.encoders[0].project.weight.fill_(float("nan"))
    with pytest.raises(TrialFailed, match="not finite"):
        build_solver(chosen).fit(job, lambda *_: None)


def test_options_are_checked():
    with pytest.raises(OutOfRange, match="kernel_ridge"):
        ClosedForm(method="svm")
    with pytest.raises(OutOfRange, match="supports=0"):
        ClosedForm(supports=0)
