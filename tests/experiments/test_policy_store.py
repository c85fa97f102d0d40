"""Policies on disk: whole or not there, read without running code, and refused in one sentence."""

import dataclasses
import re

import jax
import numpy as np
import pytest

from dsegym.agents.policies.evaluation import evaluate
from dsegym.costmodels.errors import CorruptResultError, DsegymError
from dsegym.envs.core.collections import Collection
from dsegym.experiments.policy_store import (
    CARD,
    NETWORK,
    WEIGHTS,
    bytes_of,
    load_policy,
    named_leaves,
    policy_digest,
    save_policy,
)

CASCADE = "dsegym/ReasoningCascade-v0"
COLLECTION = Collection(
    "mine", CASCADE, "", lambda: [{"budget": 2}, {"budget": 8}], lambda: [{"budget": 4}], lambda: [{"budget": 5}]
)


@pytest.fixture(scope="module")
def policy(untrained):
    """One that is not trained."""
    hyperparameters = {"units": 8, "learning_rate": 1e-3, "architecture": 'a "quoted"\\\n\x7f text é'}
    return untrained(COLLECTION, hyperparameters=hyperparameters, versions={"jax": "0.10.2"})


@pytest.fixture
def saved(policy, tmp_path):
    save_policy(policy, tmp_path / "policy", curve={"steps": [1, 2], "reward": [0.5, 1.5]})
    return tmp_path / "policy"


def rewrite(saved, **changes):
    """Edits the weights as somebody would who keeps the card's hash right."""
    import hashlib

    leaves = {**named_leaves(load_policy(saved).variables), **changes}
    content = bytes_of({name: leaf for name, leaf in leaves.items() if leaf is not None})
    old = hashlib.sha256((saved / WEIGHTS).read_bytes()).hexdigest()
    (saved / WEIGHTS).write_bytes(content)
    text = (saved / CARD).read_text().replace(old, hashlib.sha256(content).hexdigest())
    (saved / CARD).write_text(text)


def test_a_policy_comes_back_as_it_was(policy, saved):
    found = load_policy(saved)
    assert found.card == policy.card
    assert dict(found.configuration) == dict(policy.configuration)
    jax.tree.map(np.testing.assert_array_equal, found.variables, policy.variables)
    assert policy_digest(found) == policy_digest(policy)
    assert sorted(each.name for each in saved.iterdir()) == [CARD, "curve.csv", NETWORK, WEIGHTS]
    assert (saved / "curve.csv").read_text() == "steps,reward\n1,0.5\n2,1.5\n"
    assert [each.name for each in saved.parent.iterdir()] == ["policy"]


def test_the_same_policy_gives_the_same_bytes(policy, saved, tmp_path):
    save_policy(policy, tmp_path / "again")
    for name in (CARD, NETWORK, WEIGHTS):
        assert (tmp_path / "again" / name).read_bytes() == (saved / name).read_bytes()


def test_a_policy_plays_the_same_from_disk(policy, saved):
    own = evaluate(policy, COLLECTION, "test", mode="sampled", samples=2)
    other = evaluate(load_policy(saved), COLLECTION, "test", mode="sampled", samples=2)
    np.testing.assert_array_equal(other.objective, own.objective)


def test_a_policy_is_not_tested_on_what_it_was_trained_on(policy):
    with pytest.raises(DsegymError, match=r"on 2 of the 2 instances of train in the collection 'mine' \(budget=2"):
        evaluate(policy, COLLECTION, "train")
    assert evaluate(policy, COLLECTION, "train", trained_on=True).trained_on.tolist() == [True, True]
    spelled = dataclasses.replace(COLLECTION, test=lambda: [{"budget": "8.0"}])
    with pytest.raises(DsegymError, match="trained on 1 of the 1 instances of test"):
        evaluate(policy, spelled, "test")


def test_another_scenario_form_or_shape_is_refused(policy):
    other = Collection("other", "dsegym/MemoryAllocation-v0", "", list, list, lambda: [{}])
    with pytest.raises(DsegymError, match="plays dsegym/ReasoningCascade-v0 in the form decisions; given: dsegym/Mem"):
        evaluate(policy, other, "test")
    with pytest.raises(DsegymError, match="given: dsegym/ReasoningCascade-v0 in the form parametric"):
        evaluate(policy, dataclasses.replace(COLLECTION, form="parametric"), "test")
    features = dict(policy.card.features)
    name = next(iter(features))
    changed = dataclasses.replace(policy.card, features={**features, name: (77,)})
    with pytest.raises(DsegymError, match=rf"The policy observes .*{name}\[77\].*; instances here show"):
        evaluate(dataclasses.replace(policy, card=changed), COLLECTION, "test")
    changed = dataclasses.replace(policy.card, action_space="Discrete(99)")
    with pytest.raises(DsegymError, match=r"The policy acts in Discrete\(99\); instances here take"):
        evaluate(dataclasses.replace(policy, card=changed), COLLECTION, "test")
    changed = {**policy.configuration, "units": 16}
    with pytest.raises(DsegymError, match="The weights do not fit the network"):
        evaluate(dataclasses.replace(policy, configuration=changed), COLLECTION, "test")


@pytest.mark.parametrize("name", [CARD, NETWORK, WEIGHTS])
def test_a_file_that_is_missing_is_named(saved, name):
    (saved / name).unlink()
    with pytest.raises(CorruptResultError, match=re.escape(name)):
        load_policy(saved)


@pytest.mark.parametrize("name", [NETWORK, WEIGHTS])
def test_a_file_that_was_altered_is_named(saved, name):
    content = bytearray((saved / name).read_bytes())
    content[-2] ^= 1
    (saved / name).write_bytes(bytes(content))
    with pytest.raises(CorruptResultError, match=rf"{name}: it is not the file of the card"):
        load_policy(saved)


@pytest.mark.parametrize("name", [CARD, NETWORK, WEIGHTS])
def test_a_link_that_leads_out_is_refused(saved, name, tmp_path):
    (saved / name).rename(tmp_path / name)
    (saved / name).symlink_to(tmp_path / name)
    with pytest.raises(CorruptResultError, match="leads out"):
        load_policy(saved)


def first_weight(saved):
    return min(named_leaves(load_policy(saved).variables).items())


def test_weights_that_do_not_fit_the_card_are_named(saved):
    name, leaf = first_weight(saved)
    for changes, wanted in (
        ({name: np.zeros((*leaf.shape, 2), np.float32)}, rf"of {name} they have float32\[.*2\], and it says float32"),
        ({name: leaf.astype(np.float64)}, rf"of {name} they have float64"),
        ({name: None}, rf"of {name} they have nothing"),
        ({name: leaf, "more": leaf}, "of more they have float32.*it says nothing"),
    ):
        before = {each: (saved / each).read_bytes() for each in (CARD, WEIGHTS)}
        rewrite(saved, **changes)
        with pytest.raises(CorruptResultError, match=f"the weights do not fit the card: {wanted}"):
            load_policy(saved)
        for each, content in before.items():
            (saved / each).write_bytes(content)


def test_a_weight_that_lies_in_another_is_refused(saved):
    name, leaf = first_weight(saved)
    signature = f"{leaf.dtype}{list(leaf.shape)}"
    folder = name.rpartition("/")[0]
    rewrite(saved, **{folder: leaf})
    (saved / CARD).write_text((saved / CARD).read_text() + f'"{folder}" = "{signature}"\n')
    with pytest.raises(CorruptResultError, match="lies in another weight"):
        load_policy(saved)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused(saved, policy, value, tmp_path):
    name, leaf = first_weight(saved)
    bad = leaf.copy()
    bad.flat[0] = value
    rewrite(saved, **{name: bad})
    with pytest.raises(CorruptResultError, match=f"the weight {name} holds NaN or infinity"):
        load_policy(saved)
    wrong = jax.tree.map(lambda array: np.full_like(array, value), policy.variables)
    with pytest.raises(DsegymError, match="holds NaN or infinity"):
        save_policy(dataclasses.replace(policy, variables=wrong), tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("pattern", "text", "wanted"),
    [
        (r"^format = 1", "format = 2", "format 2 where this version reads 1"),
        (r"^seed = .*", "", "'seed' is missing or of the wrong type"),
        (r"^seed = .*", "seed = -1", "'seed' is missing or of the wrong type"),
        (r"^training_s = .*", "training_s = nan", "'training_s' is missing or of the wrong type"),
        (r"^scenario = .*", "scenario = 3", "'scenario' is missing or of the wrong type"),
        (r"^scenario = .*", "scenario = ", "not readable as TOML"),
        (r"^\[sizes\]", "[sizes]\ntasks = 1_000_000_000_000", "'sizes.tasks' is missing or of the wrong type"),
        (r'^"network.json" = .*', '"network.json" = "../x"', "'files.network.json' is missing or of the wrong type"),
    ],
)
def test_a_card_that_lacks_something_is_refused(saved, pattern, text, wanted):
    card = (saved / CARD).read_text()
    changed = re.sub(pattern, text, card, count=1, flags=re.MULTILINE)
    assert changed != card
    (saved / CARD).write_text(changed)
    with pytest.raises(CorruptResultError, match=wanted):
        load_policy(saved)


def test_weights_that_are_a_pickle_are_not_read(saved, monkeypatch):
    import hashlib

    old = hashlib.sha256((saved / WEIGHTS).read_bytes()).hexdigest()
    content = b"\x80\x04cos\nsystem\n"
    (saved / WEIGHTS).write_bytes(content)
    (saved / CARD).write_text((saved / CARD).read_text().replace(old, hashlib.sha256(content).hexdigest()))
    with pytest.raises(CorruptResultError, match="not readable as safetensors"):
        load_policy(saved)


def test_what_is_no_policy_is_said(tmp_path):
    with pytest.raises(CorruptResultError, match="no policy: there is no such directory"):
        load_policy(tmp_path / "none")
    with pytest.raises(CorruptResultError, match=f"no policy: there is no {CARD} in it"):
        load_policy(tmp_path)


def test_a_policy_replaces_nothing(policy, saved):
    with pytest.raises(DsegymError, match="is there already"):
        save_policy(policy, saved)


def test_a_full_disk_leaves_nothing_behind(policy, tmp_path, monkeypatch):
    def full(self, content):
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        save_policy(policy, tmp_path / "policy")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(("sizes", "wanted"), [({}, "pads nothing"), ({"buffers": 2**19}, "pads buffers")])
def test_sizes_that_hold_no_instance_are_refused(policy, sizes, wanted):
    mapping = Collection("programs", "dsegym/MemoryMapping-v0", "", list, list, lambda: [{"program": "mlp_tiny"}])
    form = next(iter(mapping.problems("test")[0].forms))
    card = dataclasses.replace(policy.card, scenario=mapping.scenario, form=form, sizes=sizes)
    with pytest.raises(DsegymError, match=wanted):
        evaluate(dataclasses.replace(policy, card=card), mapping, "test")
