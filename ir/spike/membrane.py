"""What all neurons with a float or 24-bit state have in common: a loop over timesteps.

A neuron model is one class: its fields, and `step`, which advances its state by one timestep.
Shapes, the loop and the rules of firing and reset are here.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, TypeVar

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.ir.op import Op, Tensor, fields_of, require

T = TypeVar("T")

MOST_SPIKES = 127  # of a neuron in a timestep: a train is i8

# what each named rule may be; an attribute of another name is a number
WORDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "method": ("euler", "zoh", "exponential"),
        "reset": ("to_zero", "to_value", "subtract"),
        "reset_time": ("same", "next", "held"),
        "compare": ("gt", "ge"),
        "spikes": ("one", "many"),
    }
)


class Membrane(Op):
    """A neuron with a state: the loop over timesteps.

    Constraints:
        C1: the current is [T, ...] with an axis behind T, in the type of the signature.
        C2: start is of the state's type and broadcasts to [states, ...].
        C3: parameters are of the state's type (a Loihi neuron's: i32) and broadcast to [...].
        C4: attributes that are words are one of the words above.
        C5: v_reset is there exactly where reset is to_value; many spikes, and a reset_time of
            held, need reset subtract; many needs the reset_time same.
    """

    if TYPE_CHECKING:  # an annotation that the bindings see would be a field
        # (state [states, ...] written in place, current [...], fields by name) -> spikes
        step: ClassVar[Callable[..., Array]]
        states: ClassVar[int]  # numbers that a neuron remembers; the first one is v
        types: ClassVar[tuple[str, str, str]]  # of the current, the state, the parameters
        words: ClassVar[Mapping[str, tuple[str, ...]]]
    else:
        states = 1
        types = ("f32", "f32", "f32")
        words = WORDS

    @classmethod
    def infer(
        cls, current: Tensor, start: Tensor, *given: Tensor, **attributes: int | str
    ) -> tuple[Tensor, Tensor, Tensor]:
        kind = cls.OPERATION_NAME
        states, (arriving, held, own) = cls.signed(
            not current.dtype.startswith("f"), **attributes
        )
        require(
            current.dtype == arriving and current.rank >= 2,
            f"{kind} C1: the current must be {arriving} [T, ...] with an axis behind T, "
            f"not {current}",
        )
        state = Tensor((states, *current.shape[1:]), held)
        require(
            start.dtype == held and _fits(state, start),
            f"{kind} C2: start must be {held} and broadcast to {state}, not {start}",
        )
        frame = Tensor(current.shape[1:], own)
        for name, each in cls._named(given).items():
            require(
                each.dtype == own and _fits(frame, each),
                f"{kind} C3: {name} must be {own} and broadcast to {frame}, not {each}",
            )
        for name, known in cls.words.items():
            word = attributes.get(name)
            require(
                word is None or word in known,
                f"{kind} C4: {name} must be one of {', '.join(known)}, not {word!r}",
            )
        _check_reset(kind, "v_reset" in cls._named(given), attributes)
        return Tensor(current.shape, "i8"), Tensor(current.shape, held), state

    @classmethod
    def evaluate(
        cls, current: Array, start: Array, *given: Array, **attributes: int | str
    ) -> tuple[Array, Array, Array]:
        own = cls._named(given)
        states, _ = cls.signed(current.dtype.kind == "i", **attributes)
        final = np.broadcast_to(start, (states, *current.shape[1:])).copy()
        train = np.empty(current.shape, np.int8)
        v = np.empty(current.shape, start.dtype)
        with np.errstate(all="ignore"):  # infinity and NaN are values
            for t, arriving in enumerate(current):
                train[t] = cls.step(final, arriving, **own, **attributes)
                v[t] = final[0]
        return train, v, final

    @classmethod
    def signed(cls, whole: bool, **attributes: int | str) -> tuple[int, tuple[str, str, str]]:
        """How many states there are, and the types: of most neurons the class's.

        Args:
            whole: whether the current is of integers.
            attributes: the operator's.
        """
        del whole, attributes
        return cls.states, cls.types

    @classmethod
    def _named(cls, given: tuple[T, ...]) -> dict[str, T]:
        """The parameters by name; they stand behind current and start."""
        fields = [f.name for f in fields_of(cls) if type(f).__name__ == "OperandDef"]
        return dict(zip(fields[2:], given, strict=False))  # the last one may be absent


def fire(
    v: Array,
    new: Array,
    threshold: Array,
    v_reset: Array | None,
    *,
    reset: str,
    reset_time: str,
    compare: str,
    spikes: str,
) -> Array:
    """Decide who fires, write the voltages `v`, return the spikes.

    Args:
        v: voltages of the step before, written.
        new: of this step, before any reset.
        threshold: broadcasts to `v`.
        v_reset: what reset to_value makes of a voltage.
        reset: to_zero, to_value, or subtract: the threshold is taken off.
        reset_time: same: in the step of the spike. next: the step after it resets what it has
            computed. held: as same, but who stayed above the threshold fires above twice that.
        compare: fires where ``v > threshold`` (gt) or ``v >= threshold`` (ge).
        spikes: one a step, or many: as many thresholds as the voltage holds.
    """
    above = np.greater if compare == "gt" else np.greater_equal
    value = 0 if v_reset is None else v_reset

    def after(fired: Array) -> Array:
        left = new - fired * threshold if reset == "subtract" else value
        return np.where(fired > 0, left, new)

    if reset_time == "next":
        v[...] = after(above(v, threshold))
        return np.asarray(above(v, threshold))
    tested = np.where(above(v, threshold), new - threshold, new)
    fired: Array = above(tested if reset_time == "held" else new, threshold)
    if spikes == "many":
        fired = np.where(fired, np.clip(np.floor(new / threshold), 1, MOST_SPIKES), 0)
    v[...] = after(fired)
    return fired


def _fits(frame: Tensor, part: Tensor) -> bool:
    """Whether `part` broadcasts to the frame's shape."""
    ends = zip(reversed(frame.shape), reversed(part.shape), strict=False)
    return part.rank <= frame.rank and all(own in (1, size) for size, own in ends)


def _check_reset(kind: str, given: bool, attributes: Mapping[str, int | str]) -> None:
    if "reset" not in attributes:
        return
    reset, time = attributes["reset"], attributes.get("reset_time", "same")
    many = attributes.get("spikes") == "many"
    require(
        given == (reset == "to_value"),
        f"{kind} C5: v_reset must be given exactly with reset to_value, not "
        f"{'given' if given else 'absent'} with {reset}",
    )
    require(
        reset == "subtract" or not (many or time == "held"),
        f"{kind} C5: many spikes and reset_time held need reset subtract, not {reset}",
    )
    require(
        not many or time == "same",
        f"{kind} C5: many spikes need reset_time same, not {time}",
    )
