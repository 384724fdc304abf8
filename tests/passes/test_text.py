"""Pipelines as text: the round trip, and every mistake in one sentence."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrapla.ir.errors import RegistryError, SpecError, TetraplaError
from tetrapla.ir.module import Module
from tetrapla.passes.eliminate_common import EliminateCommon
from tetrapla.passes.eliminate_dead_code import EliminateDeadCode
from tetrapla.passes.fold_constants import FoldConstants
from tetrapla.passes.fuse_epilogue import FuseEpilogue
from tetrapla.passes.pass_ import Pass, passes
from tetrapla.passes.pipeline_ import CANONICAL, PIPELINES
from tetrapla.passes.quantize import Quantize
from tetrapla.passes.text_ import options, parse, text


@dataclass(frozen=True)
class Planted(Pass):
    """An option of every type, and data."""

    count: int = 3
    share_frac: float = 0.5
    deep: bool = False
    method: str = "minmax"
    data: tuple[int, ...] = ()

    def __call__(self, module: Module) -> Module:
        return module


# a pass is named by its file, this one
KNOWN: dict[str, type[Pass]] = {
    "test-text": Planted,
    "fold-constants": FoldConstants,
    "eliminate-common": EliminateCommon,
}
NAMED: dict[str, tuple[Pass, ...]] = {"twice": (FoldConstants(), Planted(count=2))}
STRINGS = st.text(max_size=8) | st.sampled_from(["minmax", "a-b", "8", "true", '"', "a,b}", ""])
PLANTED = st.builds(
    Planted,
    count=st.integers(),
    share_frac=st.floats(allow_nan=False),
    deep=st.booleans(),
    method=STRINGS,
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(pipeline=st.lists(PLANTED | st.just(FoldConstants()), max_size=4))
def test_a_printed_pipeline_reads_as_itself(pipeline: list[Pass]) -> None:
    assert parse(text(pipeline), KNOWN) == tuple(pipeline)


@pytest.mark.parametrize("name", sorted(passes()))
def test_every_pass_reads_as_itself_at_its_defaults(name: str) -> None:
    pass_ = passes()[name]()
    assert text([pass_]) == name
    assert parse(name) == (pass_,)


@pytest.mark.parametrize("name", sorted(passes()))
def test_every_option_of_every_pass_can_be_spelled(name: str) -> None:
    pass_ = passes()[name]
    for key in options(pass_):
        usual = getattr(pass_, key)
        spelled = json.dumps(usual) if isinstance(usual, str) else str(usual).lower()
        assert parse(f"{name}{{{key}={spelled}}}") == (pass_(),)


def test_the_text_of_the_guide_is_read() -> None:
    expected = (FoldConstants(), FuseEpilogue(), Quantize(bits=8))
    assert parse("fold-constants,fuse-epilogue,quantize{bits=8}") == expected


def test_a_pipeline_s_name_stands_for_its_passes() -> None:
    assert parse("canonical,quantize,clean") == PIPELINES["int8"]
    assert parse("int8") == (*CANONICAL, Quantize(), *parse("clean"))
    assert parse("test-text,twice", KNOWN, NAMED) == (Planted(), *NAMED["twice"])


def test_no_pipeline_has_the_name_of_a_pass() -> None:
    assert not PIPELINES.keys() & passes().keys()


def test_white_space_means_nothing() -> None:
    spaced = " fold-constants ,\n quantize { bits = 8 , method = percentile } "
    assert parse(spaced) == (FoldConstants(), Quantize(method="percentile"))


def test_nothing_is_the_empty_pipeline() -> None:
    assert parse("  ") == ()
    assert text(()) == ""


def test_only_what_differs_from_the_defaults_is_printed() -> None:
    assert text(CANONICAL) == (
        "fold-constants,eliminate-dead-code,canonicalize,eliminate-common,fuse-epilogue,"
        "fold-batch-norm,fuse-epilogue"
    )
    pipeline = [EliminateDeadCode(), Quantize(method="percentile", percentile_pct=99.0)]
    assert text(pipeline) == (
        "eliminate-dead-code,quantize{method=percentile,percentile_pct=99.0}"
    )
    assert text([Planted(deep=True, method="a b")]) == 'test-text{deep=true,method="a b"}'


FORM = "write it like fold-constants,quantize{bits=8}"


@pytest.mark.parametrize(
    ("wrong", "kind", "message"),
    [
        (
            "fold-constant",
            RegistryError,
            "no pass 'fold-constant'; did you mean 'fold-constants'?; there are: test-text, "
            "fold-constants, eliminate-common, twice",
        ),
        (
            "twiec",
            RegistryError,
            "no pass 'twiec'; did you mean 'twice'?; there are: test-text, fold-constants, "
            "eliminate-common, twice",
        ),
        (
            "twice{count=1}",
            SpecError,
            "twice is a pipeline and must have no options, not '{'; write its passes instead: "
            "fold-constants,test-text{count=2}",
        ),
        (
            "test-text{cuont=1}",
            RegistryError,
            "no option 'cuont' of test-text; did you mean 'count'?; there are: count, "
            "share_frac, deep, method",
        ),
        (
            "test-text{data=1}",
            RegistryError,
            "no option 'data' of test-text; there are: count, share_frac, deep, method",
        ),
        (
            "eliminate-common{bits=8}",
            RegistryError,
            "no option 'bits' of eliminate-common; it has none",
        ),
        (
            "test-text{count=1.5}",
            SpecError,
            "test-text: count must be an integer, not 1.5; write count=3 for the default",
        ),
        (
            "test-text{share_frac=nan}",
            SpecError,
            "test-text: share_frac must be a number, not nan; write share_frac=0.5 for the "
            "default",
        ),
        (
            "test-text{deep=1}",
            SpecError,
            "test-text: deep must be true or false, not 1; write deep=false for the default",
        ),
        (
            "test-text{method=@}",
            SpecError,
            "test-text: method must be a string, not @; write method=minmax for the default",
        ),
        (
            "test-text{count=1,count=1}",
            SpecError,
            "test-text: count must be given once, not twice; drop one",
        ),
        (
            "test-text{count=1",
            SpecError,
            "a pipeline's text must have ',' or '}' after test-text's count at column 18, "
            f"not the end; {FORM}",
        ),
        (
            "test-text{count 1}",
            SpecError,
            f"a pipeline's text must have '=' after test-text's count at column 17, not '1'; "
            f"{FORM}",
        ),
        (
            "test-text{}",
            SpecError,
            "a pipeline's text must have an option of test-text at column 11, not '}'; " + FORM,
        ),
        (
            "test-text{count=}",
            SpecError,
            "a pipeline's text must have a value at column 17, not '}'; " + FORM,
        ),
        (
            "fold-constants,",
            SpecError,
            f"a pipeline's text must have a pass at column 16, not the end; {FORM}",
        ),
        (
            "fold-constants test-text",
            SpecError,
            "a pipeline's text must have ',' or the end after a pass at column 16, not "
            f"'test-text'; {FORM}",
        ),
    ],
)
def test_a_mistake_is_refused(wrong: str, kind: type[TetraplaError], message: str) -> None:
    with pytest.raises(kind) as caught:
        parse(wrong, KNOWN, NAMED)
    assert type(caught.value) is kind
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            "quantize{bits=3}",
            "quantize: bits must be 8 or 16, not 3; weights of fewer are weights=i4",
        ),
        (
            "quantize{method=minmix}",
            "quantize: no calibration method 'minmix'; did you mean 'minmax'?; there are: "
            "minmax, percentile, entropy, mse",
        ),
    ],
)
def test_a_value_that_the_pass_refuses_is_refused_with_its_name(
    wrong: str, message: str
) -> None:
    with pytest.raises(TetraplaError) as caught:
        parse(wrong)
    assert str(caught.value) == message


@settings(max_examples=200, deadline=None, derandomize=True)
@given(wrong=st.text(alphabet='abt-ex{}=,"\\1 \n', max_size=20))
def test_any_text_is_read_or_refused(wrong: str) -> None:
    try:
        parse(wrong, KNOWN, NAMED)
    except TetraplaError:
        pass
